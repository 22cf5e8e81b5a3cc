# shellcheck shell=bash
# The worker: its image, its directory, its containers.

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
            step "Built the worker's binary with cargo" "Fix the cargo errors above." build_binary
        elif [[ ! -x $ROOT/target/release/longshore ]]; then
            die "No registry answers (for the Rust image) and cargo is missing. Install Rust, or put a binary at target/release/longshore."
        fi
    fi
    BINARY_FROM=$source step "Built $WORKER_IMAGE ($source)" "Fix the build errors above." compose build worker
    step "The worker's binary runs in its image" \
        "It was built against a newer libc than Debian 12 has. Build it on Debian 12, or where a registry answers." \
        docker run --rm --network none "$WORKER_IMAGE" --version
}

build_binary() {
    cd "$ROOT" || exit
    cargo build --release --locked
    local built="${CARGO_TARGET_DIR:-$ROOT/target}/release/longshore"
    [[ $built -ef $ROOT/target/release/longshore ]] || install -D "$built" "$ROOT/target/release/longshore"
}

# in_worker_image USER OPTIONS...: a container sees the paths and owners that the engine sees, wherever it runs.
in_worker_image() {
    local user=$1
    shift
    docker run --rm --network none --read-only --cap-drop ALL --user "$user" "$@"
}

# The worker is not root. It must own the directory of the jobs, and be in the group of the engine's socket.
# Plain Compose reads that group from .env.
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
        found "$WORKER_IMAGE is there (scripts/stack.sh worker-image builds it again)"
    else
        build_worker_image
    fi
    prepare_worker
    step "Workers ready: $count" "See: docker compose logs worker" \
        compose up -d --wait --no-build --no-deps --scale "worker=$count" worker
}
