# shellcheck shell=bash
# The Docker engine: used as it is, or installed and started.

DOCKERD_LOG=${DOCKERD_LOG:-/var/log/longshore-dockerd.log}
ENGINE_WAIT_SECONDS=30

engine_version() { docker version --format '{{.Server.Version}}' 2>/dev/null; }

ensure_engine() {
    local version
    if command -v docker >/dev/null && version=$(engine_version); then
        found "Docker $version runs"
        return
    fi
    [[ -z ${DOCKER_HOST:-} ]] ||
        die "The engine at DOCKER_HOST=$DOCKER_HOST does not answer. Start it, or unset DOCKER_HOST to use an engine on this machine."
    [[ $(uname -s) == Linux ]] ||
        die "No Docker engine answers. Start Docker Desktop or colima, then run this again."
    if command -v docker >/dev/null && [[ $(docker version 2>&1) == *'ermission denied'* ]]; then
        die "This user may not use the Docker engine. Run this with sudo, or add the user to the group docker."
    fi
    if ! command -v dockerd >/dev/null; then
        need_apt Docker
        consent "No Docker engine found: installing docker.io from the system's packages."
        step "Docker installed" "Check the system's package sources, or install Docker by hand." install_engine
    fi
    ((EUID == 0)) || die "Docker is installed but does not run, and starting it needs root. Run this with sudo."
    consent "Docker is installed but does not run: starting it."
    start_engine
    version=$(engine_version) || die "Docker started, then stopped again. Its log is $DOCKERD_LOG."
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
    die "Docker does not start. The lines above are the end of $DOCKERD_LOG. DOCKERD_ARGS passes options to dockerd."
}

# spawn_engine OPTION...: starts dockerd in a session of its own, so that it outlives this shell, and waits
# until it answers.
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

# A killed dockerd leaves its pid file behind, and sometimes its containerd. Either keeps the next dockerd from
# starting. Call this only when no engine answers.
clear_dead_engine() {
    local file=/var/run/docker.pid pid
    if [[ -f $file ]]; then
        pid=$(<"$file")
        if runs "$pid" dockerd; then
            # It may still be starting.
            for _ in {1..50}; do
                ! engine_version >/dev/null || return 0
                sleep 0.2
            done
            end_process "$pid" dockerd
            note "Ended a dockerd that did not answer (process $pid)"
        fi
        rm -f "$file"
    fi
    file=/var/run/docker/containerd/containerd.pid
    [[ -f $file ]] || file=/var/run/docker/containerd/docker-containerd.pid
    if [[ -f $file ]]; then
        pid=$(<"$file")
        if runs "$pid" containerd; then
            end_process "$pid" containerd
            note "Ended a containerd that a dead dockerd left behind (process $pid)"
        fi
        rm -f "$file"
    fi
    rm -f /var/run/docker/containerd/*.sock /var/run/docker/containerd/*.sock.ttrpc
    # dockerd prefers this socket if it exists, even when nobody listens on it.
    if [[ -S /run/containerd/containerd.sock ]] && ! containerd_listens; then
        rm -f /run/containerd/containerd.sock /run/containerd/containerd.sock.ttrpc
    fi
}

# runs PID NAME: whether that process is alive and is that program. A zombie is not alive.
runs() { grep -qE "^[0-9]+ \\($2\\) [^ZX]" "/proc/${1:-none}/stat" 2>/dev/null; }

containerd_listens() {
    local process
    for process in /proc/[0-9]*; do
        if runs "${process#/proc/}" containerd; then return 0; fi
    done
    return 1
}

# end_process PID NAME: asks the process to end, and kills it after ten seconds.
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
        note "This script started no engine: nothing to stop"
        return
    fi
    end_process "$pid" dockerd
    rm -f "$STATE/dockerd.pid"
    say "Docker stopped"
}
