# shellcheck shell=bash
# Images: pulled from a registry, or built from Debian packages where no registry answers.

REGISTRY=${STACK_REGISTRY:-auto} # auto, yes, no
PROBE_SECONDS=8

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# Asks the engine, not the network: the engine has its own mirrors and proxies. Asks once a run.
registry_answers() {
    if [[ $REGISTRY == auto ]]; then
        local start=$EPOCHREALTIME
        if timeout "$PROBE_SECONDS" docker pull -q hello-world >/dev/null 2>&1; then
            REGISTRY=yes
            docker image rm hello-world >/dev/null 2>&1 || true
            note "An image registry answers: pulling ($(seconds_since "$start") s)"
        else
            REGISTRY=no
            note "No image registry answers: building from Debian packages ($(seconds_since "$start") s)"
        fi
    fi
    [[ $REGISTRY == yes ]]
}

ensure_images() {
    local rebuild=$1 image missing=()
    for image in "$PYTHON_IMAGE" "$NODE_IMAGE" "$RABBITMQ_IMAGE" "$SEAWEEDFS_IMAGE"; do
        if [[ $rebuild == yes ]] || ! has_image "$image"; then missing+=("$image"); fi
    done
    if ((${#missing[@]} == 0)); then
        found "Images are there"
        return
    fi
    if registry_answers; then
        local refused=()
        for image in "${missing[@]}"; do
            pull_image "$image" || refused+=("$image")
        done
        missing=("${refused[@]}")
    fi
    ((${#missing[@]} == 0)) || build_images "$rebuild" "${missing[@]}"
}

# The images of the other built-in runtimes, which nothing of the stack and no test needs. Where no registry answers,
# those that Debian has the packages for are built, and the others are named.
ensure_runtime_images() {
    local rebuild=$1 image wanted=() built=() absent=()
    for image in "${RUNTIME_IMAGES[@]}"; do
        if [[ $rebuild == yes ]] || ! has_image "$image"; then wanted+=("$image"); fi
    done
    for image in "${wanted[@]}"; do
        if registry_answers && pull_image "$image"; then continue; fi
        case $image in
        python:3.13-slim | debian:trixie-slim) built+=("$image") ;;
        *) absent+=("$image") ;;
        esac
    done
    ((${#built[@]} == 0)) || ensure_bases no trixie
    if [[ " ${built[*]} " == *" python:3.13-slim "* ]]; then build_image python:3.13-slim "$ROOT/deploy/images/python-3.13"; fi
    for image in "${absent[@]}"; do
        note "$image cannot be made: no registry answers, and Debian has no packages for it. Load it with docker load."
    done
    ((${#wanted[@]} > 0)) || found "Images of the other runtimes are there"
}

pull_image() {
    local start=$EPOCHREALTIME reason
    if reason=$(docker pull -q "$1" 2>&1 >/dev/null); then
        say "Pulled $1 ${DIM}($(seconds_since "$start") s)${PLAIN}"
    else
        note "$1 cannot be pulled: ${reason##*$'\n'}"
        return 1
    fi
}

build_images() {
    local rebuild=$1 image suites=() jobs=()
    shift
    for image in "$@"; do
        case $image in
        python:3.11-slim) suites+=(bookworm) ;;
        node:20-alpine | rabbitmq:4-management | "chrislusf/seaweedfs:$SEAWEEDFS_VERSION") suites+=(trixie) ;;
        *) die "$image is not here, cannot be pulled, and has no recipe in deploy/images. Load it with docker load, or unset its variable." ;;
        esac
    done
    ensure_bases "$rebuild" "${suites[@]}"
    for image in "$@"; do
        case $image in
        python:*) build_image "$image" "$ROOT/deploy/images/python-3.11" & ;;
        node:*) build_image "$image" "$ROOT/deploy/images/node-20" & ;;
        rabbitmq:*) build_image "$image" "$ROOT/deploy/images/rabbitmq-4" & ;;
        chrislusf/*) build_seaweedfs & ;;
        esac
        jobs+=($!)
    done
    together "${jobs[@]}"
}

# With the host's network an engine without a bridge can build, too.
build_image() {
    step "Built $1 from Debian packages" "Check that $DEBIAN_MIRROR can be reached from a container." \
        docker build --network host -q -t "$1" "$2"
}

# ensure_bases REBUILD SUITE...: makes each debian:SUITE-slim that is missing.
ensure_bases() {
    local rebuild=$1 suite wanted=() jobs=()
    shift
    for suite in $(printf '%s\n' "$@" | sort -u); do
        if [[ $rebuild == yes ]] || ! has_image "debian:$suite-slim"; then wanted+=("$suite"); fi
    done
    ((${#wanted[@]} > 0)) || return 0
    provide debootstrap debootstrap debian-archive-keyring
    ((EUID == 0)) || die "Building base images needs root (debootstrap). Run this with sudo."
    for suite in "${wanted[@]}"; do
        step "Built debian:$suite-slim from Debian packages" \
            "Check that $DEBIAN_MIRROR can be reached, or set DEBIAN_MIRROR." build_base "$suite" &
        jobs+=($!)
    done
    together "${jobs[@]}"
}

build_base() {
    local suite=$1 tree
    tree=$(mktemp -d "$STATE/tmp/$suite.XXXXXX")
    # As in Debian's own slim images: no manuals and no translations, now or later. Licences stay.
    mkdir -p "$tree/etc/dpkg/dpkg.cfg.d"
    printf 'path-exclude /usr/share/%s/*\n' doc info locale man groff lintian linda \
        >"$tree/etc/dpkg/dpkg.cfg.d/slim"
    echo 'path-include /usr/share/doc/*/copyright' >>"$tree/etc/dpkg/dpkg.cfg.d/slim"
    # A half-made image is thrown away, so dpkg need not wait for the disk.
    echo force-unsafe-io >"$tree/etc/dpkg/dpkg.cfg.d/unsafe-io"
    debootstrap --variant=minbase --keyring="$DEBIAN_KEYRING" "$suite" "$tree" "$DEBIAN_MIRROR"
    {
        echo "deb $DEBIAN_MIRROR $suite main"
        [[ -z $DEBIAN_SECURITY_MIRROR ]] || echo "deb $DEBIAN_SECURITY_MIRROR $suite-security main"
    } >"$tree/etc/apt/sources.list"
    echo 'Acquire::Languages "none";' >"$tree/etc/apt/apt.conf.d/slim"
    rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/var/log/* "$tree"/var/cache/debconf/*-old \
        "$tree"/usr/share/{info,locale,man,groff,lintian,linda}/* "$tree"/etc/resolv.conf "$tree"/etc/hostname
    find "$tree/usr/share/doc" -mindepth 1 ! -type d ! -name copyright -delete
    tar -C "$tree" -c . | docker import -c 'CMD ["bash"]' - "debian:$suite-slim"
    rm -rf "$tree"
}
