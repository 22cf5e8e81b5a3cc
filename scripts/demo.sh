#!/usr/bin/env bash
# The main job, for real: two backtests and two bots go from a message in RabbitMQ through containers to result
# events and stored logs. Sets up what is missing, and leaves the stack running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/demo/compile.sh
source scripts/demo/compile.sh

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then BOLD=$'\e[1m' DIM=$'\e[2m' PLAIN=$'\e[0m'; else BOLD='' DIM='' PLAIN=''; fi
chapter() { printf '\n%s%s%s %s(%d s so far)%s\n' "$BOLD" "$1" "$PLAIN" "$DIM" "$SECONDS" "$PLAIN"; }

# The watcher prints every event. What --wait would print about the same events is left out.
show() {
    printf '%s$ longshore %s%s\n' "$DIM" "$*" "$PLAIN"
    { longshore "$@" 2>&1 >&3 | { grep -v '^longshore: 20' || true; } >&2; } 3>&1
}

worker_runs() { docker compose ps --quiet --status running worker 2>/dev/null | grep -q .; }

watcher=''
clean_up() {
    local code=$?
    stop_compiling
    if [[ -n $watcher ]]; then kill "$watcher" 2>/dev/null || true; fi
    if ((code != 0)); then
        printf '\nThe demo failed after %d s. The lines above say where; scripts/stack.sh status shows the stack.\n' "$SECONDS" >&2
    fi
}
trap clean_up EXIT

cat <<'PLAN'
Longshore's demo: two backtests, a sweep and two bots, from a message to the stored result.

  On a new machine with two cores it takes several minutes, later less than one:
    compiling the worker                                  most of the time
    Docker, images, RabbitMQ, an S3 store                 meanwhile
    the jobs                                              15 seconds
PLAN

chapter "1. Setting up: compiler, engine, images, RabbitMQ, an S3 store, a worker"
scripts/tools.sh compile
# shellcheck source=scripts/toolchain.sh
source scripts/toolchain.sh
if fits_the_image; then start_compiling; fi
whole_lines scripts/stack.sh up --only services --yes
if [[ -n $COMPILE_PID ]]; then finish_compiling; fi

if worker_runs; then
    echo "ok    Using the worker that runs already. To run this checkout's: make down, then make demo"
elif fits_the_image; then
    WORKER_BINARY=$BINARY scripts/stack.sh worker-image --quiet
    scripts/stack.sh up --yes --quiet
else
    # The worker's image compiles it.
    WORKER_PROFILE=dev scripts/stack.sh worker-image --quiet
    scripts/stack.sh up --yes --quiet
fi
if ! fits_the_image && ! client_from_image; then
    start_compiling
    finish_compiling
fi
PATH=$PWD/${BINARY%/*}:$PATH

export AMQP_URL=${AMQP_URL:-amqp://longshore:longshore@127.0.0.1:${RABBITMQ_PORT:-5672}/%2f}
export MINIO_ENDPOINT=${MINIO_ENDPOINT:-127.0.0.1:${S3_PORT:-8333}}
export MINIO_ACCESS_KEY=${MINIO_ACCESS_KEY:-longshore} MINIO_SECRET_KEY=${MINIO_SECRET_KEY:-longshore-secret}
stamp=$(date +%H%M%S)

chapter "2. Every event of every job, as it arrives"
longshore watch &
watcher=$!
sleep 1

chapter "3. Two backtests: start each with a message, wait for its result"
show start examples/ma-crossover --id "crossover-$stamp" --wait
show start examples/mean-reversion-js --id "reversion-$stamp" --wait

chapter "4. A sweep: one backtest with 15 configs, and the best of them"
show sweep examples/ma-crossover --id "sweep-$stamp" --sweep '{"best": {"by": "sharpe", "keep": 3}}' --grid fast=5:25:5 --grid slow=30,50,100 --queue

chapter "5. Two bots: they run until a message stops them"
show start examples/ticker-bot --id "ticker-$stamp"
show start examples/heartbeat-bot-js --id "heartbeat-$stamp"
sleep 6
show ps
show stop "ticker-$stamp" --reason "the demo has seen enough" --wait
show stop "heartbeat-$stamp" --reason "the demo has seen enough" --wait

chapter "6. The logs, as the store has them"
show logs "ticker-$stamp"
show logs "reversion-$stamp" --tail 5

chapter "Done. The stack stays up; make down stops it"
cat <<NEXT
Try next, in this directory:

  export PATH=\$PWD/${BINARY%/*}:\$PATH AMQP_URL=$AMQP_URL
  export MINIO_ENDPOINT=$MINIO_ENDPOINT MINIO_ACCESS_KEY=$MINIO_ACCESS_KEY MINIO_SECRET_KEY=$MINIO_SECRET_KEY

  longshore start examples/ma-crossover --id mine --wait
  longshore logs ticker-$stamp
  longshore run examples/ma-crossover    # Docker alone: no broker, no store

NEXT
