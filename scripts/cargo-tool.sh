#!/usr/bin/env bash
# Sees to one of cargo's tools in the version that is pinned here, and prints the directory it is in.
# It goes below .stack, so that nothing of this machine's own is changed.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

tool=${1:?the name of a tool, such as cargo-fuzz}
case $tool in
cargo-fuzz) version=0.13.2 ;;
cargo-deny) version=0.20.2 ;;
cargo-cyclonedx) version=0.5.9 ;;
*)
    echo "error there is no pinned version of $tool in scripts/cargo-tool.sh" >&2
    exit 1
    ;;
esac

place=${STACK_DIR:-$ROOT/.stack}/cargo/$tool-$version
if [[ ! -x $place/bin/$tool ]]; then
    began=$SECONDS
    echo "..    installing $tool $version" >&2
    cargo install --quiet --locked --root "$place" --version "=$version" "$tool" >&2
    echo "ok    $tool $version ($((SECONDS - began)) s)" >&2
fi
echo "$place/bin"
