# shellcheck shell=bash
# Sourced before the first use of cargo. rustup fetches the toolchain of rust-toolchain.toml by itself. Where it
# cannot, this uses the default toolchain; cargo still checks that against rust-version.
if command -v rustup >/dev/null && ! cargo --version >/dev/null; then
    RUSTUP_TOOLCHAIN=$(rustup default | cut -d ' ' -f 1)
    export RUSTUP_TOOLCHAIN
    echo "..    rust-toolchain.toml's toolchain is not to be had: using $RUSTUP_TOOLCHAIN"
fi
