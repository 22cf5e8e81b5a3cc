#!/usr/bin/env bash
# Sees to the tools that building and testing need: Rust, a C compiler, Python 3.11, Node.js, npm.
# Installs what Debian has; says how to get the rest.
set -euo pipefail

want=()
need() { command -v "$1" >/dev/null || want+=("$2"); }

need cc gcc
need c++ g++
need make make
need curl curl
need python3 python3
need node nodejs
need npm npm
python3 -c 'import ensurepip, venv' 2>/dev/null || want+=(python3-venv)

if ((${#want[@]})); then
    if ! command -v apt-get >/dev/null; then
        echo "error missing: ${want[*]}; install them with your system's packages" >&2
        exit 1
    fi
    as_root=()
    ((EUID == 0)) || as_root=(sudo)
    echo "..    installing ${want[*]}"
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${want[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null; then
    echo "error cargo is missing: install Rust 1.95 or later with rustup (https://rustup.rs)" >&2
    exit 1
fi
for component in rustfmt clippy; do
    cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done
echo "ok    $(cargo --version), $(python3 --version), Node.js $(node --version)"
