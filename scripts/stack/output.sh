# shellcheck shell=bash
# What a person sees: one line a step.

if [[ (-t 1 || -n ${CLICOLOR_FORCE:-}) && -z ${NO_COLOR:-} ]]; then
    GREEN=$'\e[32m' RED=$'\e[31m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
    GREEN='' RED='' DIM='' PLAIN=''
fi

# say WHAT: a line about something that was done.
say() { printf '%sok%s    %s\n' "$GREEN" "$PLAIN" "$*"; }
# found WHAT: a line about something that was there already. --quiet leaves it out.
found() { [[ $QUIET == yes ]] || say "$@"; }

note() { printf '%s..    %s%s\n' "$DIM" "$*" "$PLAIN"; }

die() {
    printf '%serror%s %s\n' "$RED" "$PLAIN" "$*" >&2
    exit 1
}

# A step that takes longer says so again and again, at this interval.
HEARTBEAT_SECONDS=20

# step WHAT FIX COMMAND...: prints one line with the time it took. If it fails, prints the end of its output
# and how to fix it.
# Do not call it in a condition: that would turn `set -e` off inside the command.
step() {
    local what=$1 fix=$2 log start heart rc=0
    shift 2
    log=$(mktemp "$STATE/log/XXXXXX")
    start=$EPOCHREALTIME
    heartbeat "$what" "$log" 9>&- &
    heart=$!
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1
    rc=$?
    kill "$heart" 2>/dev/null
    wait "$heart" 2>/dev/null
    set -e
    if ((rc != 0)); then
        tail -n 12 "$log" | sed 's/^/      | /' >&2
        die "This step failed: $what. $fix The full output is in $log."
    fi
    rm -f "$log"
    say "$what ${DIM}($(seconds_since "$start") s)${PLAIN}"
}

# heartbeat WHAT LOG: the time so far and the last line of the log, until it is ended.
heartbeat() {
    local start=$EPOCHREALTIME last
    # The last sleep outlives this function: it must not hold the caller's output open.
    while sleep "$HEARTBEAT_SECONDS" >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
        last=$(tail -n 1 "$2" | tr -cd '[:print:]' | cut -c 1-70)
        note "waiting for: $1 ($(seconds_since "$start") s)${last:+ $last}"
    done
}

seconds_since() {
    local micros=$((${EPOCHREALTIME/./} - ${1/./}))
    printf '%d.%d' $((micros / 1000000)) $((micros / 100000 % 10))
}

# together PID...: waits for steps that run in the background, and fails if one of them failed.
together() {
    local pid failed=0
    for pid in "$@"; do
        wait "$pid" || failed=1
    done
    ((failed == 0)) || exit 1
}
