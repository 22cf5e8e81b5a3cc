#!/usr/bin/env bash
# The main job, for real: two backtests and two bots go from a message in RabbitMQ through containers
# to result events and stored logs. Sets up what is missing, and leaves nothing of its own running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then BOLD=$'\e[1m' DIM=$'\e[2m' PLAIN=$'\e[0m'; else BOLD='' DIM='' PLAIN=''; fi
began=$SECONDS
chapter() { printf '\n%s%s%s %s(%d s so far)%s\n' "$BOLD" "$1" "$PLAIN" "$DIM" $((SECONDS - began)) "$PLAIN"; }
# The watcher shows every event; what --wait would say about the same events is left out.
show() {
    printf '%s$ longshore %s%s\n' "$DIM" "$*" "$PLAIN"
    { longshore "$@" 2>&1 >&3 | { grep -v '^longshore: 20' || true; } >&2; } 3>&1
}

running() { docker compose ps --quiet --status running "$1" 2>/dev/null | grep -q .; }

# What was here before stays. Known once the engine answers; until then nothing of ours is there.
had_services=yes had_worker=yes had_data=yes
look_around() {
    running rabbitmq || had_services=no
    running worker || had_worker=no
    docker volume ls --quiet --filter label=com.docker.compose.project=longshore | grep -q . || had_data=no
}

# The client of the very version that the workers have, out of their image; where it does not run on this
# host, for its libc is older, cargo makes one.
client() {
    local bin=$PWD/target/demo/bin container
    mkdir -p "$bin"
    container=$(docker create "${WORKER_IMAGE:-longshore:local}")
    docker cp "$container:/usr/local/bin/longshore" "$bin/longshore" >/dev/null
    docker rm "$container" >/dev/null
    if ! "$bin/longshore" --version >/dev/null 2>&1; then
        cargo build --release --locked --bin longshore
        install "${CARGO_TARGET_DIR:-target}/release/longshore" "$bin/longshore"
    fi
    PATH=$bin:$PATH
}

watcher=
clean_up() {
    local code=$?
    if [[ -n $watcher ]] && kill -0 "$watcher" 2>/dev/null; then kill "$watcher" 2>/dev/null || true; fi
    if [[ $had_services == no ]]; then
        chapter "Cleaning up: stopping what this demo started (KEEP=1 leaves it running)"
        local data=--volumes
        [[ $had_data == no ]] || data=
        if [[ -z ${KEEP:-} ]]; then scripts/stack.sh down $data; fi
    elif [[ $had_worker == no && -z ${KEEP:-} ]]; then
        chapter "Cleaning up: stopping the worker; the services were here before"
        docker compose rm --stop --force worker >/dev/null 2>&1 || true
    fi
    if ((code == 0)); then
        printf '\n%sDone in %d s.%s\n' "$BOLD" $((SECONDS - began)) "$PLAIN"
    else
        printf '\nThe demo failed after %d s; the line above says where. scripts/stack.sh status shows the stack.\n' $((SECONDS - began)) >&2
    fi
}
trap clean_up EXIT

chapter "1. Setting up: tools, engine, images, RabbitMQ, an S3 store, a worker"
scripts/tools.sh
scripts/stack.sh up --only engine --yes
look_around
scripts/stack.sh up --only services --yes
scripts/stack.sh worker-image
scripts/stack.sh up --yes
client

export AMQP_URL=${AMQP_URL:-amqp://longshore:longshore@127.0.0.1:${RABBITMQ_PORT:-5672}/%2f}
export MINIO_ENDPOINT=${MINIO_ENDPOINT:-127.0.0.1:${S3_PORT:-8333}}
export MINIO_ACCESS_KEY=${MINIO_ACCESS_KEY:-longshore} MINIO_SECRET_KEY=${MINIO_SECRET_KEY:-longshore-secret}
stamp=$(date +%H%M%S)

chapter "2. Every event of every job, as it comes"
longshore watch &
watcher=$!
sleep 1

chapter "3. Two backtests: published to RabbitMQ, waited for"
show start examples/ma-crossover/start.json --id "crossover-$stamp" --upload examples/ma-crossover --wait
show start examples/mean-reversion-js/start.json --id "reversion-$stamp" --upload examples/mean-reversion-js --wait

chapter "4. Two bots: they run until a message stops them"
show start examples/ticker-bot/start.json --id "ticker-$stamp" --upload examples/ticker-bot
show start examples/heartbeat-bot-js/start.json --id "heartbeat-$stamp" --upload examples/heartbeat-bot-js
sleep 6
show ps
show stop "ticker-$stamp" --reason "the demo has seen enough" --wait
show stop "heartbeat-$stamp" --reason "the demo has seen enough" --wait

chapter "5. The logs, as they stand in the store"
show logs "ticker-$stamp"
show logs "reversion-$stamp" --tail 5
