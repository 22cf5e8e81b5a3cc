#!/usr/bin/env bash
# Tests the worker as the local stack runs it: three workers in their image, not root, on the Compose network, with
# one real job. Uses the binary that the tests have built and the services that run. Leaves running workers alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for files in "-f docker-compose.yml" "-f docker-compose.yml -f deploy/compose.host-network.yml"; do
    # shellcheck disable=SC2086 # each word is an option
    docker compose $files config --quiet
done
if docker compose ps --quiet worker | grep -q .; then
    echo "The local stack has workers already: they are left alone, and this check does nothing."
    exit 0
fi

# The names are the same each time, so each run replaces what the previous one left.
export AMQP_NAMESPACE=stack-check WORKER_IMAGE=longshore:check WORKER_BINARY=target/debug/longshore
export TEMP_DIR=/tmp/longshore-stack-check
clean_up() { docker compose rm --stop --force worker >/dev/null 2>&1 || true; }
trap clean_up EXIT
cargo build --locked --quiet --bin longshore
scripts/stack.sh worker-image
scripts/stack.sh up --workers 3 --yes

export AMQP_URL=${AMQP_URL:-amqp://longshore:longshore@127.0.0.1:${RABBITMQ_PORT:-5672}/%2f}
export MINIO_ENDPOINT=${MINIO_ENDPOINT:-127.0.0.1:${S3_PORT:-8333}}
export MINIO_ACCESS_KEY=${MINIO_ACCESS_KEY:-longshore} MINIO_SECRET_KEY=${MINIO_SECRET_KEY:-longshore-secret}
held=$("$WORKER_BINARY" segments --output json | python3 -c '
import json, sys
print(sum(segment["state"] == "held" for segment in json.load(sys.stdin)))')
if [[ $held != 3 ]]; then
    echo "three workers hold $held segments" >&2
    exit 1
fi
"$WORKER_BINARY" start examples/ma-crossover --id stack-check --wait
# The local stack has no TLS, of which each worker warns at its start.
if docker compose logs --no-log-prefix worker | grep -E '"level":"(WARN|ERROR)"' | grep -v 'TLS is off'; then
    echo "a worker that should have had nothing to warn of did (above)" >&2
    exit 1
fi
