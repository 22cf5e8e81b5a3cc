# shellcheck shell=bash
# Debian packages: installed with the system's own apt, or unpacked from another suite.

DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
DEBIAN_SECURITY_MIRROR=${DEBIAN_SECURITY_MIRROR-http://deb.debian.org/debian-security}
DEBIAN_KEYRING=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

need_apt() {
    command -v apt-get >/dev/null ||
        die "This system has no apt-get. Install $1 with its own packages, then run this again."
    ((EUID == 0)) || die "Installing $1 needs root. Run this with sudo, or install it yourself."
}

# consent WHAT: asks on a terminal. Without a terminal it goes ahead and says so.
consent() {
    if [[ -t 0 && -t 1 && $ASSUME_YES == no ]]; then
        local answer
        read -r -p "      $1 Go ahead? [Y/n] " answer
        [[ -z $answer || $answer == [yY]* ]] || die "Nothing was changed."
    else
        note "$1"
    fi
}

apt_refresh() {
    # One unreachable source is no reason to stop. If it matters, the install that follows fails.
    apt-get update || true
}

apt_install() {
    # RUNLEVEL=1 keeps packages from starting services: this script starts what it needs.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "$@"
}

# provide COMMAND PACKAGE...: installs the packages if the command is missing.
provide() {
    local command=$1
    shift
    ! command -v "$command" >/dev/null || return 0
    need_apt "$1"
    step "Packages: $*" "Check the system's package sources." apt_refresh_install "$@"
}

apt_refresh_install() {
    apt_refresh
    apt_install "$@"
}

# download_package SUITE PACKAGE DIRECTORY: unpacks one Debian package. The suite need not be among the
# system's own sources, and those sources and their lists are not changed.
download_package() {
    local suite=$1 package=$2 directory=$3 work
    work=$(mktemp -d "$STATE/tmp/apt.XXXXXX")
    mkdir -p "$work/lists/partial" "$work/archives/partial" "$directory"
    echo "deb [signed-by=$DEBIAN_KEYRING] $DEBIAN_MIRROR $suite main" >"$work/sources.list"
    local options=(
        -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache::archives=$work/archives"
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
        -o Acquire::Languages=none -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success::=
    )
    (
        cd "$work" || exit
        apt-get "${options[@]}" update
        apt-get "${options[@]}" download "$package"
        dpkg -x ./*.deb "$directory"
    )
    rm -rf "$work"
}

# provide_binaries PACKAGE BINARY...: takes the binaries alone, because the package would also install a system
# service that starts by itself. Prints the path of the last one.
provide_binaries() {
    local package=$1 unpacked="$STATE/tmp/$1" directory=/usr/local/bin binary
    shift
    if command -v "${@: -1}"; then return; fi
    ((EUID == 0)) || directory=$STATE/bin
    if [[ ! -x $directory/${*: -1} ]]; then
        command -v apt-get >/dev/null || die "This system has no apt-get. Install these binaries by hand: $*"
        step "$package fetched" "Check that $DEBIAN_MIRROR can be reached." \
            download_package bookworm "$package" "$unpacked" >&2
        for binary; do
            install -D -m 755 "$unpacked/usr/bin/$binary" "$directory/$binary"
        done
        rm -rf "$unpacked"
    fi
    echo "$directory/${*: -1}"
}
