#!/usr/bin/env bash
# Fuzzes the code that strangers' bytes reach first: archives, start messages, results, properties of messages. All
# targets run at once, each for FUZZ_SECONDS. Inputs that find something new stay in fuzz/work, failing ones in
# fuzz/artifacts.
#
#   scripts/fuzz.sh                              an hour each
#   FUZZ_SECONDS=60 FUZZ_TARGETS=archive scripts/fuzz.sh
#   scripts/fuzz.sh minimise                     copies the fewest finds that cover everything into fuzz/corpus
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${FUZZ_SECONDS:-3600}
read -r -a targets <<<"${FUZZ_TARGETS:-archive start_message result_json amqp_content}"
sanitizer=${FUZZ_SANITIZER:-address}
triple=$(rustc -vV | sed -n 's/^host: //p')

tools=$(scripts/cargo-tool.sh cargo-fuzz)
PATH=$tools:$PATH
# A stable compiler has the sanitizer and the coverage counters, but only with this variable.
export RUSTC_BOOTSTRAP=1

# A long run is worth the minutes that this takes to compile.
if ((seconds >= 600)); then export CARGO_PROFILE_RELEASE_OPT_LEVEL=3; fi

build() {
    local began=$SECONDS target
    for target in "${targets[@]}"; do
        cargo fuzz build --sanitizer "$sanitizer" ${FUZZ_FEATURES:+--features "$FUZZ_FEATURES"} "$target"
    done
    echo "ok    built with sanitizer $sanitizer ($((SECONDS - began)) s)"
}

# dictionary TARGET: writes the words that the fuzzer puts into its inputs to fuzz/work/TARGET.dict.
dictionary() {
    local target=$1
    cp "fuzz/dictionaries/$target.dict" "fuzz/work/$target.dict"
    [[ $target == start_message ]] || return 0
    python3 - schemas/start.schema.json schemas/stop.schema.json >>"fuzz/work/$target.dict" <<'PYTHON'
import json, sys

def words(schema):
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        if isinstance(schema.get("const"), str):
            yield schema["const"]
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from words(inner)

found = {word for path in sys.argv[1:] for word in words(json.load(open(path)))}
print("\n".join(json.dumps(json.dumps(word)) for word in sorted(found)))
PYTHON
}

# fuzz TARGET: runs it; its log goes to fuzz/work/TARGET.log.
fuzz() {
    local target=$1
    mkdir -p "fuzz/work/$target" "fuzz/artifacts/$target"
    dictionary "$target"
    # max_len leaves out the seeds of large archives and messages: small inputs are mutated faster.
    "fuzz/target/$triple/release/$target" "fuzz/work/$target" "fuzz/corpus/$target" \
        -dict="fuzz/work/$target.dict" -artifact_prefix="fuzz/artifacts/$target/" \
        -max_total_time="$seconds" -max_len=8192 -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 \
        >"fuzz/work/$target.log" 2>&1
}

verb_run() {
    local target failed=0 pids=()
    build
    for target in "${targets[@]}"; do
        fuzz "$target" &
        pids+=($!)
    done
    for target in "${targets[@]}"; do
        if wait "${pids[0]}"; then
            echo "ok    $target: $(grep -E '^#[0-9]+.*(DONE|pulse|cov:)' "fuzz/work/$target.log" | tail -n 1)"
        else
            tail -n 30 "fuzz/work/$target.log" >&2
            echo "error $target failed; the input is in fuzz/artifacts/$target, the log is fuzz/work/$target.log" >&2
            failed=1
        fi
        pids=("${pids[@]:1}")
    done
    return "$failed"
}

# Keeps the inputs that cover most of what the seeds do not: few enough for a repository.
verb_minimise() {
    local target work
    build
    for target in "${targets[@]}"; do
        mkdir -p "fuzz/work/$target"
        work=$(mktemp -d)
        mkdir "$work/merged"
        "fuzz/target/$triple/release/$target" -merge=1 -max_len=2048 -merge_control_file="$work/control" \
            "$work/merged" "fuzz/corpus/$target" "fuzz/work/$target" >"$work/log" 2>&1
        python3 - "$work/control" "fuzz/corpus/$target" "${FUZZ_KEEP:-60}" <<'PYTHON'
import pathlib, shutil, sys

control, corpus, keep = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
lines = open(control).read().splitlines()
count = int(lines[0])
paths = [pathlib.Path(line) for line in lines[2 : 2 + count]]
covered = {}
for line in lines[2 + count :]:
    kind, number, *edges = line.split()
    if kind == "COV":
        covered[paths[int(number)]] = set(edges)
is_seed = lambda path: path.name.startswith("seed-")
known = set().union(*(edges for path, edges in covered.items() if is_seed(path)))
finds = {path: edges for path, edges in covered.items() if not is_seed(path)}
chosen = []
while finds and len(chosen) < keep:
    best = max(finds, key=lambda path: (len(finds[path] - known), -path.stat().st_size, path.name))
    if not finds[best] - known:
        break
    known |= finds.pop(best)
    chosen.append((best.name, best.read_bytes()))
for path in corpus.iterdir():
    if not is_seed(path):
        path.unlink()
for name, content in chosen:
    (corpus / name).write_bytes(content)
print(f"ok    {corpus}: {len(chosen)} finds beside the seeds")
PYTHON
        rm -rf "$work"
    done
}

case ${1:-run} in
run) verb_run ;;
minimise) verb_minimise ;;
*)
    echo "error scripts/fuzz.sh knows run and minimise" >&2
    exit 1
    ;;
esac
