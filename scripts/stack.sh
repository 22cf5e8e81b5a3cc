#!/usr/bin/env bash
# Brings up what Longshore runs on: a Docker engine, images, RabbitMQ, an S3 store, and the worker.
# Uses what is there already, so a second run takes a second. docs/local-stack.md says more.
# This file has the verbs; each trade has a file of its own in scripts/stack/.
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE=${STACK_DIR:-$ROOT/.stack}
ASSUME_YES=no
QUIET=no

PYTHON_IMAGE=${PYTHON_IMAGE:-python:3.11-slim}
NODE_IMAGE=${NODE_IMAGE:-node:20-alpine}
RABBITMQ_IMAGE=${RABBITMQ_IMAGE:-rabbitmq:4-management}
SEAWEEDFS_VERSION=${SEAWEEDFS_VERSION:-4.48}
SEAWEEDFS_IMAGE=${SEAWEEDFS_IMAGE:-chrislusf/seaweedfs:$SEAWEEDFS_VERSION}
WORKER_IMAGE=${WORKER_IMAGE:-longshore:local}
# Those of the other built-in runtimes (docs/settings.md).
RUNTIME_IMAGES=(python:3.12-slim python:3.13-slim node:22-alpine node:24-alpine debian:trixie-slim)
export PYTHON_IMAGE NODE_IMAGE RABBITMQ_IMAGE SEAWEEDFS_IMAGE WORKER_IMAGE

# shellcheck source=scripts/stack/output.sh
source "$ROOT/scripts/stack/output.sh"
# shellcheck source=scripts/stack/packages.sh
source "$ROOT/scripts/stack/packages.sh"
# shellcheck source=scripts/stack/engine.sh
source "$ROOT/scripts/stack/engine.sh"
# shellcheck source=scripts/stack/compose.sh
source "$ROOT/scripts/stack/compose.sh"
# shellcheck source=scripts/stack/images.sh
source "$ROOT/scripts/stack/images.sh"
# shellcheck source=scripts/stack/broker.sh
source "$ROOT/scripts/stack/broker.sh"
# shellcheck source=scripts/stack/store.sh
source "$ROOT/scripts/stack/store.sh"
# shellcheck source=scripts/stack/worker.sh
source "$ROOT/scripts/stack/worker.sh"

usage() {
    cat <<'HELP'
Usage: scripts/stack.sh VERB [OPTIONS]

  up                     bring up the engine, the images, RabbitMQ, SeaweedFS and the worker
      --only PART        stop after this part: engine, images, services (broker and store) or all
      --workers N        how many workers (1)
      --yes              install packages without asking
      --quiet            say only what was done, not what was there
  down                   remove the containers; data stays in its volumes
      --volumes          remove the data too
      --engine           also stop an engine that this script started
  status                 what runs, and where it answers
  images                 make the images: pull them, or build them where no registry answers
      --rebuild          also those that are there
      --runtimes         also the images of the other built-in runtimes, as far as they can be made
  worker-image           build the worker's image again
      --quiet            say only what was done, not what was there
  registry-package       provide the docker-registry binary for tests, and print its path
  prometheus-package     provide prometheus and promtool for tests, and print promtool's path
  collector-package      provide a collector of traces for tests, and print its path
  chromium-package       provide Chromium and its driver for tests, and print the driver's path
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

# A container that runs is used as it is, even if docker-compose.yml has changed: other programs and checkouts on
# this machine may be using it. `down` and then `up` apply a change.
up_services() {
    ensure_compose
    choose_network
    refuse_taken_ports
    step "RabbitMQ and SeaweedFS answer" "See: scripts/stack.sh status, docker compose logs" \
        compose up -d --wait --no-build --no-recreate rabbitmq seaweedfs
    step "Users of RabbitMQ: worker, publisher, subscriber" "See: docker compose logs rabbitmq" make_users
}

endpoints() {
    cat <<END

      RabbitMQ     amqp://${RABBITMQ_USER:-longshore}:${RABBITMQ_PASSWORD:-longshore}@127.0.0.1:${RABBITMQ_PORT:-5672}/%2f
      its users    longshore-worker, longshore-publisher, longshore-subscriber: the password is the name
      management   http://127.0.0.1:${RABBITMQ_MANAGEMENT_PORT:-15672}   ${RABBITMQ_USER:-longshore} / ${RABBITMQ_PASSWORD:-longshore}
      S3           http://127.0.0.1:${S3_PORT:-8333}   ${MINIO_ACCESS_KEY:-longshore} / ${MINIO_SECRET_KEY:-longshore-secret}
END
}

verb_up() {
    local only=all workers=1
    while (($# > 0)); do
        case $1 in
        --only) only=${2:-} && shift ;;
        --workers) workers=${2:-} && shift ;;
        --yes) ASSUME_YES=yes ;;
        --quiet) QUIET=yes ;;
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
    [[ $QUIET == yes ]] || endpoints
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
    local rebuild=no runtimes=no
    while (($# > 0)); do
        case $1 in
        --rebuild) rebuild=yes ;;
        --runtimes) runtimes=yes ;;
        *) die "images does not know $1. See: scripts/stack.sh help" ;;
        esac
        shift
    done
    ensure_engine
    ensure_images "$rebuild"
    [[ $runtimes == no ]] || ensure_runtime_images "$rebuild"
}

verb_worker_image() {
    case ${1:-} in
    --quiet) QUIET=yes ;;
    '') ;;
    *) die "worker-image does not know $1. See: scripts/stack.sh help" ;;
    esac
    ensure_engine
    ensure_compose
    build_worker_image
}

verb_registry_package() {
    provide_binaries docker-registry docker-registry
}

verb_prometheus_package() {
    provide_binaries prometheus prometheus promtool
}

# Rotel, a collector for OpenTelemetry, which PyPI has as a binary.
verb_collector_package() {
    local place=$STATE/bin/rotel-agent
    [[ -x $place ]] || step "Rotel fetched" "Check that PyPI can be reached with pip." \
        "$ROOT/scripts/wheel.sh" rotel 0.0.1a15 rotel-agent "$place" >&2
    echo "$place"
}

# The tests of the dashboard need a real browser. Its package starts no service, so it is installed whole.
verb_chromium_package() {
    provide chromedriver chromium-driver chromium >&2
    command -v chromedriver
}

main() {
    local verb=${1:-help}
    shift || true
    case $verb in
    help | --help | -h)
        usage
        return
        ;;
    up | down | images | worker-image | registry-package | prometheus-package | collector-package | chromium-package) ;;
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
    # One run at a time: a second run waits, and then finds everything there.
    if ! { mkdir -p "$STATE/log" "$STATE/tmp" && touch "$STATE/lock"; } 2>/dev/null; then
        die "$STATE cannot be written to. After a run with sudo it belongs to root: use sudo again, or set STACK_DIR."
    fi
    exec 9>"$STATE/lock"
    flock 9
    "verb_${verb//-/_}" "$@"
}

main "$@"
