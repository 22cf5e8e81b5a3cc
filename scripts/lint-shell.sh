#!/usr/bin/env bash
# Checks every shell script: shellcheck finds nothing, and no script is longer than 250 lines.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
MOST_LINES=250

if ! command -v shellcheck >/dev/null; then
    echo "error shellcheck is missing: run scripts/tools.sh, or install it with your system's packages" >&2
    exit 1
fi
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' .ci)
shellcheck "${scripts[@]}"
for script in "${scripts[@]}"; do
    lines=$(wc -l <"$script")
    if ((lines > MOST_LINES)); then
        echo "error $script has $lines lines, more than $MOST_LINES: move a part into a file of its own" >&2
        exit 1
    fi
done
echo "ok    ${#scripts[@]} shell scripts"
