# shellcheck shell=bash
# Named steps: each prints its name and its time. At the end, also when a step fails, a table lists all times.
# Sourced by test.sh and check.sh.

STEP=''
STEP_BEGAN=0
STEP_TIMES=()

# step WHAT COMMAND...
step() {
    STEP=$1 STEP_BEGAN=$SECONDS
    shift
    printf '\n== %s\n' "$STEP"
    "$@"
    local took=$((SECONDS - STEP_BEGAN))
    printf -- '-- %s: %d s\n' "$STEP" "$took"
    STEP_TIMES+=("$(printf '%5d s  %s' "$took" "$STEP")")
    STEP=''
}

# Runs at exit, so it must be set as a trap by whoever sources this file: trap step_table EXIT
step_table() {
    local code=$?
    printf '\n== times\n'
    if ((${#STEP_TIMES[@]})); then printf '%s\n' "${STEP_TIMES[@]}"; fi
    if [[ -n $STEP ]]; then printf '%5d s  %s: FAILED\n' $((SECONDS - STEP_BEGAN)) "$STEP"; fi
    if ((code == 0)); then
        printf '\nEvery check passed in %d s.\n' "$SECONDS"
    else
        printf '\nFailed after %d s: %s\n' "$SECONDS" "${STEP:-the last command above}" >&2
    fi
}
