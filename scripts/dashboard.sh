#!/usr/bin/env bash
# A page with everything that runs on the local stack, and a bot whose live log it shows. Uses what `make demo` made,
# and makes it first if it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BINARY=target/debug/longshore
[[ -x target/demo/bin/longshore ]] && BINARY=target/demo/bin/longshore
if [[ ! -x $BINARY ]] || ! docker compose ps --quiet --status running worker 2>/dev/null | grep -q .; then
    scripts/demo.sh
    [[ -x target/demo/bin/longshore ]] && BINARY=target/demo/bin/longshore
fi

export AMQP_URL=${AMQP_URL:-amqp://longshore:longshore@127.0.0.1:${RABBITMQ_PORT:-5672}/%2f}
export MINIO_ENDPOINT=${MINIO_ENDPOINT:-127.0.0.1:${S3_PORT:-8333}}
export MINIO_ACCESS_KEY=${MINIO_ACCESS_KEY:-longshore} MINIO_SECRET_KEY=${MINIO_SECRET_KEY:-longshore-secret}

"$BINARY" start examples/ticker-bot --id dashboard-ticker
echo "The bot dashboard-ticker is on the page. To end it: the button Stop there."
exec "$BINARY" dashboard "$@"
