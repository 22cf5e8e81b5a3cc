#!/usr/bin/env bash
# Builds all that a release consists of, in target/release-files: the Debian package, a static tarball, the client
# packages, bills of materials, checksums.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/toolchain.sh

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
host=$(rustc -vV | sed -n 's/^host: //p')
out=target/release-files
rm -rf "$out"
mkdir -p "$out"

for there in clients/python/pyproject.toml clients/typescript/package.json; do
    grep -Eq "^ *\"?version\"? ?[:=] ?\"$version\"" "$there" || { echo "error $there has another version than $version" >&2; exit 1; }
done
grep -q "^## \[$version\] - " CHANGELOG.md || { echo "error CHANGELOG.md has no section for $version" >&2; exit 1; }

echo "..    the program, linked statically"
RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --bin longshore --target "$host"
static=target/$host/release/longshore
if ldd "$static" 2>/dev/null | grep -q '=>'; then
    echo "error $static needs libraries of the system" >&2
    exit 1
fi

WORKER_BINARY=$static scripts/deb.sh
cp target/debian/*.deb "$out"

name=longshore-$version-$(uname -m)-linux
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/$name"/{man,completions,systemd}
cp target/deb/longshore README.md CHANGELOG.md LICENSE "$tree/$name"
cp target/deb/man/* "$tree/$name/man"
cp target/deb/completions/* "$tree/$name/completions"
cp deploy/systemd/* "$tree/$name/systemd"
# The same files give the same bytes.
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
    --directory "$tree" "$name" | gzip -9 --no-name >"$out/$name.tar.gz"

echo "..    client packages"
python3 -m venv "$tree/venv"
"$tree/venv/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$out" clients/python
cp -r clients/typescript "$tree/typescript"
(cd "$tree/typescript" && npm ci --silent --no-audit --no-fund && npm pack --silent) >/dev/null
cp "$tree/typescript"/*.tgz "$out/longshore-client-$version.tgz"

scripts/supply.sh sbom
cp target/sbom/*.json "$out"
(cd "$out" && sha256sum -- * >SHA256SUMS)
ls -l "$out"
