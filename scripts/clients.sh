#!/usr/bin/env bash
# Tests the client packages as users get them: built, installed from a file, type-checked, and used against a real
# worker. Also validates schemas/asyncapi.yaml with the official parser. Needs the services of the local stack and a
# built worker (WORKER_BINARY, by default target/debug/longshore).
#
#   scripts/clients.sh          both languages, side by side
#   scripts/clients.sh python | node | asyncapi
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
PLACE=$ROOT/target/client-packages
OLDEST_NODE=20

# changed STAMP FILES...: whether the files are others than at the last call that was followed by `done_with STAMP`.
changed() {
    local stamp=$1 now
    shift
    now=$(cat "$@" | sha256sum)
    printf '%s' "$now" >"$PLACE/$stamp.new"
    ! cmp -s "$PLACE/$stamp.new" "$PLACE/$stamp"
}
done_with() { mv "$PLACE/$1.new" "$PLACE/$1"; }

say() { printf -- '-- %s (%d s so far)\n' "$1" "$SECONDS"; }

# The client's dependencies are installed once, the client itself each time.
install_python() {
    local dist=$PLACE/python-dist venv=$PLACE/python
    if changed python.stamp clients/python/pyproject.toml; then
        rm -rf "$venv"
        python3 -m venv "$venv"
    fi
    rm -rf "$dist"
    "$venv/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$dist" clients/python
    "$venv/bin/pip" install --quiet --disable-pip-version-check --upgrade "$(echo "$dist"/*.whl)[test]"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$dist"/*.whl
    done_with python.stamp
}

test_python() {
    install_python
    say "Python: types and lints"
    local bin=$PLACE/python/bin
    (cd clients/python && "$bin/ruff" check --quiet . && "$bin/ruff" format --quiet --check . &&
        "$bin/mypy" --cache-dir "$PLACE/mypy" src/longshore tests)
    say "Python: against a worker"
    "$bin/python" scripts/beside-worker.py bash -euo pipefail -c "
        cd clients/python && '$bin/pytest' --quiet -p no:cacheprovider
        cd '$ROOT' && JOB_PREFIX=\$AMQP_NAMESPACE '$bin/python' examples/clients/python-longshore/compare.py examples/ma-crossover
        '$bin/python' scripts/tutorial.py"
}

# The AWS SDK needs a newer Node.js than some systems have; npm has one, too.
new_enough_node() {
    if (($(node -p 'process.versions.node.split(".")[0]') < OLDEST_NODE)); then
        [[ -x $PLACE/node/node_modules/.bin/node ]] ||
            npm install --silent --no-audit --no-fund --prefix "$PLACE/node" "node@$OLDEST_NODE"
        PATH=$PLACE/node/node_modules/.bin:$PATH
    fi
}

# Builds in a copy, so that the checkout stays clean.
install_node() {
    local build=$PLACE/typescript-build use=$PLACE/typescript
    mkdir -p "$build" "$use"
    rm -rf "$build/src" "$build/dist" "$use/test" "$use"/*.tgz
    cp -r clients/typescript/{package.json,package-lock.json,tsconfig.json,README.md,src} "$build"
    if changed typescript.stamp clients/typescript/package-lock.json; then
        (cd "$build" && npm ci --silent --no-audit --no-fund)
    fi
    (cd "$build" && npm pack --silent --pack-destination "$use" >/dev/null)
    echo '{ "private": true, "type": "module" }' >"$use/package.json"
    (cd "$use" && npm install --silent --no-audit --no-fund --prefer-offline ./*.tgz)
    cp -r clients/typescript/test "$use"
    cp examples/clients/node-longshore/compare.js "$use/compare.js"
    done_with typescript.stamp
}

test_node() {
    new_enough_node
    install_node
    say "TypeScript: types"
    local build=$PLACE/typescript-build use=$PLACE/typescript
    "$build/node_modules/.bin/tsc" --noEmit --strict --target es2022 --module nodenext --typeRoots "$build/node_modules/@types" \
        --types node "$use/test/types.ts"
    say "TypeScript: against a worker"
    # The servers' side of it is in Python.
    "$PLACE/python/bin/python" scripts/beside-worker.py bash -euo pipefail -c "
        cd '$use' && node --no-warnings --test --test-reporter spec test/*.test.js
        JOB_PREFIX=\$AMQP_NAMESPACE node --no-warnings compare.js '$ROOT/examples/ma-crossover'"
}

test_asyncapi() {
    new_enough_node
    mkdir -p "$PLACE/asyncapi"
    cp scripts/asyncapi/* "$PLACE/asyncapi"
    if changed asyncapi.stamp scripts/asyncapi/package-lock.json; then
        (cd "$PLACE/asyncapi" && npm ci --silent --no-audit --no-fund)
        done_with asyncapi.stamp
    fi
    node "$PLACE/asyncapi/check.js" schemas/asyncapi.yaml
}

test_all() {
    local log=$PLACE/node.log pid
    # Node.js uses the Python of the other half.
    install_python
    (test_asyncapi && test_node) >"$log" 2>&1 &
    pid=$!
    test_python || {
        kill "$pid" 2>/dev/null || true
        return 1
    }
    if ! wait "$pid"; then
        cat "$log"
        return 1
    fi
    grep -E '^(ok  |ℹ (tests|pass|fail)|--)' "$log"
}

mkdir -p "$PLACE"
clients/generate.py --check
case ${1:-all} in
all) test_all ;;
python) test_python ;;
node) install_python && test_node ;;
asyncapi) test_asyncapi ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 1
    ;;
esac
