# shellcheck shell=bash
# Compiles the worker beside everything else, and says how far it is. Sourced by demo.sh.
#
# The dev profile compiles several times faster than the release profile, and `make test` uses what it leaves.

COMPILE_LOG=target/demo-compile.log
COMPILE_PID=''
TICKER_PID=''
BINARY=target/debug/longshore
# A pipe or a file gets a line now and then. A terminal gets one line that counts, which other lines write over.
if [[ -t 1 ]]; then TICK_SECONDS=1 ERASE=$'\r\e[K'; else TICK_SECONDS=10 ERASE=''; fi

start_compiling() {
    mkdir -p target
    # A group of its own: cargo and its compilers can be ended together, and Ctrl-C reaches this script alone.
    set -m
    CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=120 \
        cargo build --locked --bin longshore >"$COMPILE_LOG" 2>&1 </dev/null &
    COMPILE_PID=$!
    set +m
    tell_compiling "$SECONDS" &
    TICKER_PID=$!
}

# tell_compiling BEGAN: how far cargo is, until it has ended.
tell_compiling() {
    local next=$(($1 + TICK_SECONDS))
    while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null && kill -0 "$COMPILE_PID" 2>/dev/null; do
        if ((SECONDS < next)); then continue; fi
        next=$((SECONDS + TICK_SECONDS))
        printf '%s..    %s (%d s)%s' "$ERASE" "$(compiled_so_far)" $((SECONDS - $1)) "${ERASE:+$'\r'}"
        [[ -n $ERASE ]] || echo
    done
    if grep -q ' Finished ' "$COMPILE_LOG"; then
        printf '%sok    Compiled the worker (%d s)\n' "$ERASE" $((SECONDS - $1))
    fi
}

# "compiling 212 of 388", from cargo's progress bar; before that, what cargo last said.
compiled_so_far() {
    local counts
    counts=$(tail -c 2000 "$COMPILE_LOG" | tr '\r' '\n' | grep -oE '\] [0-9]+/[0-9]+' | tail -n 1 || true)
    if [[ -n $counts ]]; then
        echo "compiling ${counts#] }" | sed 's|/| of |'
    else
        echo "fetching the crates to compile"
    fi
}

# whole_lines COMMAND...: its output, each line on a line of its own beside the counting one.
whole_lines() {
    if [[ -t 1 ]]; then
        local line
        CLICOLOR_FORCE=1 "$@" 2>&1 | while IFS= read -r line; do printf '%s%s\n' "$ERASE" "$line"; done
    else
        "$@"
    fi
}

finish_compiling() {
    local rc=0 built=${CARGO_TARGET_DIR:-target}/debug/longshore
    wait "$COMPILE_PID" || rc=$?
    COMPILE_PID=''
    wait "$TICKER_PID" || true
    TICKER_PID=''
    if ((rc != 0)); then
        tr '\r' '\n' <"$COMPILE_LOG" | grep -v '^ *Building' | tail -n 20 >&2
        echo "error the worker does not compile. The full output is in $COMPILE_LOG." >&2
        exit 1
    fi
    [[ $built -ef $BINARY ]] || install -D "$built" "$BINARY"
}

stop_compiling() {
    if [[ -n $TICKER_PID ]]; then
        kill "$TICKER_PID" 2>/dev/null || true
        wait "$TICKER_PID" 2>/dev/null || true
        printf '%s' "$ERASE"
    fi
    if [[ -n $COMPILE_PID ]]; then kill -- "-$COMPILE_PID" 2>/dev/null || true; fi
    TICKER_PID='' COMPILE_PID=''
}

# Whether a program that is compiled on this machine runs in the worker's image, which is Debian 12.
fits_the_image() {
    local libc
    [[ $(uname -s) == Linux ]] && libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || return 1
    [[ $(printf '%s\n2.36\n' "${libc#glibc }" | sort -V | tail -n 1) == 2.36 ]]
}

# Takes the client out of the worker's image. Fails if it does not run on this machine.
client_from_image() {
    local container
    BINARY=target/demo/bin/longshore
    mkdir -p "${BINARY%/*}"
    container=$(docker create "${WORKER_IMAGE:-longshore:local}")
    docker cp "$container:/usr/local/bin/longshore" "$BINARY" >/dev/null
    docker rm "$container" >/dev/null
    "$BINARY" --version >/dev/null 2>&1 && return
    BINARY=target/debug/longshore
    return 1
}
