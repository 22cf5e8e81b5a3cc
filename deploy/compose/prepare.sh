#!/usr/bin/env bash
# Makes what deploy/compose/compose.yml needs and should be nobody else's: an authority and certificates, passwords,
# users with least rights on broker and store. Everything is below deploy/compose/secrets; what is there is kept.
#
#   deploy/compose/prepare.sh            then: docker compose -f deploy/compose/compose.yml up -d --wait
#   NAMES=rabbit.example.com,s3.example.com deploy/compose/prepare.sh    names under which others reach this host
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077
mkdir -p secrets/rabbitmq secrets/store
NAMESPACE=${AMQP_NAMESPACE:-longshore}
TEMP_DIR=${TEMP_DIR:-/var/lib/longshore/runtime}
DAYS=${DAYS:-825}

password() { openssl rand -hex 24; }

if [[ ! -f secrets/ca.key ]]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Longshore authority" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout secrets/ca.key -out secrets/ca.pem 2>/dev/null
fi

# certificate SERVICE: for its name in the Compose network, this host, and NAMES.
certificate() {
    local service=$1 names="DNS:$1,DNS:localhost,IP:127.0.0.1" name
    [[ ! -f secrets/$service/server.pem ]] || return 0
    for name in ${NAMES//,/ }; do names+=",DNS:$name"; done
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$service" \
        -keyout "secrets/$service/server.key" -out "secrets/$service/server.csr" 2>/dev/null
    openssl x509 -req -in "secrets/$service/server.csr" -CA secrets/ca.pem -CAkey secrets/ca.key -CAcreateserial \
        -days "$DAYS" -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$names") \
        -out "secrets/$service/server.pem" 2>/dev/null
    rm "secrets/$service/server.csr"
    cp secrets/ca.pem "secrets/$service/ca.pem"
}
NAMES=${NAMES:-}
certificate rabbitmq
certificate store

if [[ ! -f secrets/worker.env ]]; then
    worker=$(password) publisher=$(password) subscriber=$(password) operator=$(password)
    worker_key=$(password) client_key=$(password)
    NAMESPACE=$NAMESPACE python3 - "$worker" "$publisher" "$subscriber" "$operator" "$worker_key" "$client_key" <<'PYTHON'
import base64, hashlib, json, os, sys

worker, publisher, subscriber, operator, worker_key, client_key = sys.argv[1:]
namespace, own = os.environ["NAMESPACE"], r"amq\.gen-.*"


def user(name, password, tags=()):
    salt = os.urandom(4)
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {"name": name, "password_hash": digest, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": list(tags)}


def rights(name, configure, write, read):
    return {"user": name, "vhost": "/", "configure": configure, "write": write, "read": read}


# docs/security.md says why each of them has these rights.
definitions = {
    "vhosts": [{"name": "/"}],
    "users": [
        user("longshore-worker", worker),
        user("longshore-publisher", publisher),
        user("longshore-subscriber", subscriber),
        user("operator", operator, ["administrator"]),
    ],
    "permissions": [
        rights("longshore-worker", rf"^({namespace}\..*|{own})$", rf"^({namespace}\..*|{own}|amq\.default)$",
               rf"^({namespace}\..*|{own})$"),
        # Publishes and waits for results: the publisher's and the subscriber's rights.
        rights("longshore-publisher", f"^{own}$", rf"^({namespace}\.jobs|{own})$",
               rf"^({own}|{namespace}\.(status|results))$"),
        rights("longshore-subscriber", f"^{own}$", f"^{own}$", rf"^({own}|{namespace}\.(status|results))$"),
        rights("operator", ".*", ".*", ".*"),
    ],
}
buckets = ["custom-bots", "test-results", "bot-logs", "longshore-state"]
store = {
    "identities": [
        {
            "name": "worker",
            "credentials": [{"accessKey": "longshore-worker", "secretKey": worker_key}],
            # Who stores data sets makes their bucket.
            "actions": [f"{action}:{bucket}" for bucket in buckets for action in ["Admin", "Read", "Write", "List"]]
                       + ["Read:inputs", "List:inputs"],
        },
        {
            "name": "client",
            "credentials": [{"accessKey": "longshore-client", "secretKey": client_key}],
            "actions": ["Read:custom-bots", "Write:custom-bots", "List:custom-bots", "Admin:inputs", "Read:inputs",
                        "Write:inputs", "List:inputs", "Read:test-results", "List:test-results", "Read:bot-logs", "List:bot-logs"],
        },
    ]
}


def write(path, text):
    with open(f"secrets/{path}", "w") as file:
        file.write(text)


write("definitions.json", json.dumps(definitions, indent=2) + "\n")
write("s3.json", json.dumps(store, indent=2) + "\n")
write("client.env", f"""AMQP_URL=amqps://longshore-publisher:{publisher}@localhost:5671/%2f
AMQP_CA_FILE={os.getcwd()}/secrets/ca.pem
MINIO_ENDPOINT=https://localhost:8334
MINIO_CA_FILE={os.getcwd()}/secrets/ca.pem
MINIO_ACCESS_KEY=longshore-client
MINIO_SECRET_KEY={client_key}
AMQP_NAMESPACE={namespace}
""")
write("passwords", f"longshore-subscriber {subscriber}\noperator {operator}\n")
write("worker.env", f"""AMQP_URL=amqps://longshore-worker:{worker}@rabbitmq:5671/%2f
MINIO_ACCESS_KEY=longshore-worker
MINIO_SECRET_KEY={worker_key}
AMQP_NAMESPACE={namespace}
HTTP_TOKEN={os.urandom(24).hex()}
""")
PYTHON
fi

# Containers' users read what is mounted into them; on the host, the directory above keeps others out.
chmod 0755 secrets/rabbitmq secrets/store
chmod 0644 secrets/ca.pem secrets/definitions.json secrets/s3.json secrets/{rabbitmq,store}/*
install -d -m 755 "$TEMP_DIR"
chown 10001:10001 "$TEMP_DIR"
printf 'DOCKER_GID=%s\nTEMP_DIR=%s\n' "$(stat -c %g "${DOCKER_SOCKET:-/var/run/docker.sock}")" "$TEMP_DIR" >.env
echo "ok    deploy/compose/secrets: worker.env, client.env (for longshore start and its like), passwords, ca.pem"
