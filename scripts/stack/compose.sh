# shellcheck shell=bash
# Docker Compose: its plugin, the network that the containers can have, and the ports that they publish.

NETWORK=${STACK_NETWORK:-auto} # auto, bridge, host

ensure_compose() {
    ! docker compose version >/dev/null 2>&1 || return 0
    need_apt "the Compose plugin"
    step "Compose plugin installed" \
        "Install Docker Compose v2 by hand (https://docs.docker.com/compose/install)." install_compose
    docker compose version >/dev/null 2>&1 ||
        die "The Compose plugin was installed, but \`docker compose version\` fails. Install Docker Compose v2 by hand."
}

install_compose() {
    # docker-compose-plugin is Docker's own package and docker-compose-v2 is Ubuntu's. Debian has v2 from 13 on.
    apt_refresh
    local package
    for package in docker-compose-plugin docker-compose-v2 docker-compose; do
        if apt-cache policy "$package" | grep -qE '^  Candidate: (5:)?[2-9]'; then
            apt_install "$package"
            return
        fi
    done
    # Debian 12 has only v1. The plugin of Debian 13 is one binary that runs with the libc of Debian 12.
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

# Bridge networking, unless the engine or the kernel cannot do it. Then everything uses the host's network and
# listens on the loopback address.
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

# Tries a network like the one that Compose makes, and a container on it with a published port.
bridge_works() {
    local name=longshore-probe-$$ works=yes
    docker network create "$name" >/dev/null 2>&1 || return 1
    docker run --rm --network "$name" -p 127.0.0.1::9 "$PYTHON_IMAGE" true >/dev/null 2>&1 || works=no
    docker network rm "$name" >/dev/null 2>&1
    [[ $works == yes ]]
}

refuse_taken_ports() {
    local entry name variable port running
    running=$(docker ps --filter label=com.docker.compose.project=longshore --format '{{.Label "com.docker.compose.service"}}')
    for entry in "rabbitmq RABBITMQ_PORT ${RABBITMQ_PORT:-5672}" \
        "rabbitmq RABBITMQ_MANAGEMENT_PORT ${RABBITMQ_MANAGEMENT_PORT:-15672}" "seaweedfs S3_PORT ${S3_PORT:-8333}"; do
        read -r name variable port <<<"$entry"
        if ! grep -qx "$name" <<<"$running" && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            die "Port $port on 127.0.0.1 is taken by another program. Stop that program, or set $variable to another port."
        fi
    done
}
