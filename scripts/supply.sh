#!/usr/bin/env bash
# Checks and lists the dependencies.
#
#   scripts/supply.sh check    licences, bans and sources of every dependency, by the rules of deny.toml
#   scripts/supply.sh audit    known vulnerabilities, from the RustSec database on GitHub
#   scripts/supply.sh sbom     a bill of materials, CycloneDX in JSON, in target/sbom
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deny() { "$(scripts/cargo-tool.sh cargo-deny)/cargo-deny" --all-features --locked "$@"; }

sbom() {
    local tools name
    tools=$(scripts/cargo-tool.sh cargo-cyclonedx)
    name=longshore-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1).cdx
    mkdir -p target/sbom
    # The tool can write only beside the manifest.
    PATH=$tools:$PATH cargo cyclonedx --quiet --format json --spec-version 1.5 --all-features \
        --target "$(rustc -vV | sed -n 's/^host: //p')" --override-filename "$name"
    mv "$name.json" "target/sbom/$name.json"
    echo "target/sbom/$name.json: $(grep -c '"purl"' "target/sbom/$name.json") packages"
}

case ${1:-} in
check) deny check bans licenses sources ;;
audit) deny check advisories ;;
sbom) sbom ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit 1
    ;;
esac
