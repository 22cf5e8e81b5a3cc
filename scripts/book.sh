#!/usr/bin/env bash
# Builds the documentation as a site in target/book, and checks the links of its pages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/book.py "${WORKER_BINARY:-target/debug/longshore}"
tools=$(scripts/cargo-tool.sh mdbook)
"$tools/mdbook" build 2>target/book.log || { cat target/book.log; exit 1; }
if grep -E 'WARN|ERROR' target/book.log; then exit 1; fi
echo "ok    target/book/index.html: $(find target/book -name '*.html' | wc -l) pages"
