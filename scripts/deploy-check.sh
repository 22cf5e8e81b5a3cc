#!/usr/bin/env bash
# Tries what docs/deploy.md describes, for real where this machine can:
#
#   scripts/deploy-check.sh deb           the package in a Debian container with systemd: install, start, upgrade, purge
#   scripts/deploy-check.sh compose       TLS, users with least rights, two workers, a job of each client
#   scripts/deploy-check.sh kubernetes    the manifests against the schemas of Kubernetes
#   scripts/deploy-check.sh               all of them
#
# Needs Docker and the images of the local stack. WORKER_BINARY (target/debug/longshore) is what is packed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export WORKER_BINARY=${WORKER_BINARY:-target/debug/longshore}
NAME=longshore-deploy-check-$$
K8S=1.31

say() { printf 'ok    %s\n' "$*"; }

in_deb() { docker exec -i "$NAME" "$@"; }

# until_true SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || { echo "error not within its time: $*" >&2; return 1; }
        sleep 1
    done
}

check_deb() {
    local package
    package=$(scripts/deb.sh | tail -n 1)
    # The servers of the local stack are on the host's loopback, and so is the engine's socket.
    docker run --detach --name "$NAME" --network host --tmpfs /run --tmpfs /tmp \
        --volume /var/run/docker.sock:/engine/docker.sock --volume "/var/lib/$NAME:/var/lib/$NAME" \
        debian:bookworm-slim sleep infinity >/dev/null
    trap 'docker rm --force "$NAME" >/dev/null; rm -rf "/var/lib/$NAME"' EXIT
    in_deb sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd systemd-sysv man-db >/dev/null'
    # The image leaves manual pages out.
    in_deb sh -c 'rm -f /etc/dpkg/dpkg.cfg.d/*'
    in_deb sh -c "groupadd --gid $(stat -c %g /var/run/docker.sock) --non-unique docker"
    docker cp --quiet "$package" "$NAME:/root/longshore.deb" 2>/dev/null || docker cp "$package" "$NAME:/root/longshore.deb"

    in_deb apt-get install -y -qq --no-install-recommends /root/longshore.deb | tail -n 3
    [[ $(in_deb stat -c '%U:%G %a' /etc/longshore/longshore.env) == 'root:longshore 640' ]]
    in_deb id longshore | grep -q docker
    in_deb longshore --version
    in_deb sh -c 'zcat /usr/share/man/man1/longshore-start.1.gz | head -c 200 | grep -q TH'
    in_deb sh -c 'test -s /usr/share/bash-completion/completions/longshore'
    in_deb systemd-analyze verify --man=no /usr/lib/systemd/system/longshore.service
    say "the package is installed: user, settings, manual pages, completions, unit"
    check_service
    in_deb sh -c 'echo "# mine" >>/etc/longshore/longshore.env'
    in_deb apt-get install -y -qq --reinstall /root/longshore.deb >/dev/null
    in_deb grep -q '# mine' /etc/longshore/longshore.env
    say "an upgrade keeps the settings"
    in_deb apt-get purge -y -qq longshore >/dev/null
    # shellcheck disable=SC2016 # the container expands it
    in_deb sh -c 'test -z "$(getent passwd longshore; ls -d /var/lib/longshore /etc/longshore /usr/bin/longshore 2>/dev/null)"'
    say "a purge leaves nothing"
    docker rm --force "$NAME" >/dev/null
    rm -rf "/var/lib/$NAME"
    trap - EXIT
}

# Where systemd cannot be process 1 of a container (control groups of version 1, mostly), the worker runs as the unit
# would start it, without the unit's confinement.
check_service() {
    local env=/etc/longshore/longshore.env
    in_deb sh -c "sed -i -e 's|^AMQP_URL=.*|AMQP_URL=${AMQP_URL:-amqp://longshore:longshore@127.0.0.1:5672/%2f}|' \
        -e 's|^MINIO_ENDPOINT=.*|MINIO_ENDPOINT=${MINIO_ENDPOINT:-127.0.0.1:8333}|' \
        -e 's|^MINIO_ACCESS_KEY=.*|MINIO_ACCESS_KEY=${MINIO_ACCESS_KEY:-longshore}|' \
        -e 's|^MINIO_SECRET_KEY=.*|MINIO_SECRET_KEY=${MINIO_SECRET_KEY:-longshore-secret}|' \
        -e 's|^TEMP_DIR=.*|TEMP_DIR=/var/lib/$NAME|' $env && cat >>$env" <<END
AMQP_NAMESPACE=$NAME
DOCKER_HOST=unix:///engine/docker.sock
HTTP_LISTEN=127.0.0.1:18080
WARM_CONTAINERS=0
END
    in_deb chown longshore:longshore "/var/lib/$NAME"
    docker exec --detach "$NAME" sh -c 'set -a; . /etc/longshore/longshore.env
        exec setpriv --reuid longshore --regid longshore --init-groups --no-new-privs --inh-caps=-all \
            /usr/bin/longshore worker >/tmp/worker.log 2>&1'
    until_true 60 curl -fsS http://127.0.0.1:18080/readyz || { in_deb cat /tmp/worker.log >&2; return 1; }
    AMQP_NAMESPACE=$NAME AMQP_URL=${AMQP_URL:-amqp://longshore:longshore@127.0.0.1:5672/%2f} \
        MINIO_ENDPOINT=${MINIO_ENDPOINT:-127.0.0.1:8333} MINIO_ACCESS_KEY=${MINIO_ACCESS_KEY:-longshore} \
        MINIO_SECRET_KEY=${MINIO_SECRET_KEY:-longshore-secret} \
        "$WORKER_BINARY" start examples/ma-crossover/start.json --id "$NAME" --upload examples/ma-crossover --wait |
        grep Sharpe
    # shellcheck disable=SC2016 # the container expands it
    in_deb sh -c 'kill -TERM "$(pidof longshore)"'
    until_true 60 in_deb sh -c '! pidof longshore'
    say "the installed worker ran a backtest as the user longshore, and drained"
}

check_compose() {
    # A copy, because the checkout may have secrets that are in use.
    local place=target/deploy-check-compose
    rm -rf "$place"
    cp -r deploy/compose "$place"
    rm -rf "$place/secrets" "$place/.env"
    local compose=(docker compose -f "$place/compose.yml" -p "$NAME")
    export WORKER_IMAGE=longshore:deploy-check TEMP_DIR=/tmp/$NAME AMQPS_LISTEN=127.0.0.1:25671 STORE_LISTEN=127.0.0.1:28334
    scripts/stack.sh worker-image --quiet
    "$place/prepare.sh"
    trap '"${compose[@]}" down --volumes >/dev/null 2>&1; rm -rf "$TEMP_DIR"' EXIT
    "${compose[@]}" up -d --wait >/dev/null 2>&1 || { "${compose[@]}" logs --tail 20 >&2; return 1; }
    (
        set -a
        # shellcheck disable=SC1091 # prepare.sh writes it
        source "$place/secrets/client.env"
        AMQP_URL=${AMQP_URL/5671/25671} MINIO_ENDPOINT=${MINIO_ENDPOINT/8334/28334}
        "$WORKER_BINARY" start examples/ma-crossover/start.json --id compose --upload examples/ma-crossover --wait |
            grep Sharpe
        if "$WORKER_BINARY" jobs 2>/dev/null; then
            echo "error a client may read the journal" >&2
            exit 1
        fi
    )
    say "a client with least rights ran a backtest over TLS, and cannot read the journal"
    "${compose[@]}" down --volumes >/dev/null 2>&1
    rm -rf "$TEMP_DIR" "$place"
    trap - EXIT
}

check_kubernetes() {
    local place=target/deploy-check-python file
    if [[ ! -x $place/bin/kubernetes-validate ]]; then
        python3 -m venv "$place"
        "$place/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0
    fi
    for file in deploy/kubernetes/*.yaml; do
        case $file in
        */kustomization.yaml | */autoscaling.yaml) ;;
        *) "$place/bin/kubernetes-validate" --strict --quiet -k "$K8S" "$file" ;;
        esac
    done
    say "the manifests fit the schemas of Kubernetes $K8S"
}

case ${1:-all} in
all) check_kubernetes && check_deb && check_compose ;;
deb | compose | kubernetes) "check_$1" ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 1
    ;;
esac
