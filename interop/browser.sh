#!/usr/bin/env bash
# Puts what opens pages in a browser into .interop/browser: playwright-core and axe-core from npm. Chromium itself has to be
# there (CHROMIUM, or chromium in the path). Does nothing when they are there already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../.interop/browser

if ! cmp -s "$here/browser/package.json" "$target/package.json" || [ ! -d "$target/node_modules/axe-core" ]; then
	rm -rf "$target"
	mkdir -p "$target"
	cp "$here/browser/package.json" "$target/"
	(cd "$target" && npm install --silent --ignore-scripts --no-audit --no-fund)
fi
echo "peers are in place: .interop/browser"
