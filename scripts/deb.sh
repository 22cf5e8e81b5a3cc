#!/usr/bin/env bash
# Builds the Debian package into target/debian, with manual pages and completions made by the program itself.
#
#   scripts/deb.sh                                      builds the release, then the package
#   WORKER_BINARY=target/debug/longshore scripts/deb.sh    packs a binary that is there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

place=target/deb
rm -rf "$place" target/debian
mkdir -p "$place/man" "$place/completions"
if [[ -z ${WORKER_BINARY:-} ]]; then
    cargo build --locked --release --bin longshore
    WORKER_BINARY=target/release/longshore
fi
# Symbols help nobody on the host where it runs; `make release` keeps them beside the package.
strip -o "$place/longshore" "$WORKER_BINARY"
"$place/longshore" completions --man-pages "$place/man"
gzip -9 --no-name "$place"/man/*.1
"$place/longshore" completions bash >"$place/completions/longshore.bash"
"$place/longshore" completions zsh >"$place/completions/_longshore"
"$place/longshore" completions fish >"$place/completions/longshore.fish"

tools=$(scripts/cargo-tool.sh cargo-deb)
PATH=$tools:$PATH cargo deb --quiet --no-build --no-strip --locked
package=$(echo target/debian/*.deb)
dpkg-deb --info "$package" >/dev/null
echo "$package"
