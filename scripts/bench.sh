#!/usr/bin/env bash
# Measures Longshore beside Celery with docker-py, `docker run` and the engine's bare API: installs what that needs
# below target/bench, runs `cargo bench --bench compare`, and draws target/bench/compare.svg. Needs the local stack.
#
#   scripts/bench.sh     BENCH_ROUNDS (7) and BENCH_ONLY (throughput,latency,stages,pandas,sweeps,bots) say how much
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PLACE=$PWD/target/bench
WANTED=benches/compare/celery/requirements.txt
PANDAS=pandas==2.3.3

pip() { "$PLACE/venv/bin/pip" --quiet --disable-pip-version-check "$@"; }

mkdir -p "$PLACE"
if ! cmp -s "$WANTED" "$PLACE/installed"; then
    rm -rf "$PLACE/venv"
    python3 -m venv "$PLACE/venv"
    pip install --requirement "$WANTED"
    cp "$WANTED" "$PLACE/installed"
fi
# The programs run under Python 3.11, whatever this machine has.
if [[ ! -d $PLACE/pandas/vendor/pandas ]]; then
    rm -rf "$PLACE/pandas"
    pip install --no-warn-conflicts --target "$PLACE/pandas/vendor" --only-binary=:all: --python-version 3.11 "$PANDAS"
fi

cargo bench --locked --bench compare
"$PLACE/venv/bin/python" benches/compare/draw.py "$PLACE/compare.json" "$PLACE/compare.svg"
echo "The picture is in $PLACE/compare.svg"
