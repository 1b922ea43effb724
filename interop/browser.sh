#!/usr/bin/env bash
# Puts what opens pages in a browser into .interop/browser: playwright-core and axe-core from npm. Chromium (CHROMIUM, or in
# the path) is Debian's package, installed when it may be: without it the tests of pages are skipped, or fail where peers are
# required, and so does this. Does nothing when all is there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../.interop/browser

if ! command -v "${CHROMIUM:-chromium}" >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null 2>&1; }
	install || { apt-get update -qq >/dev/null && install; } || true
fi
command -v "${CHROMIUM:-chromium}" >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || {
	echo "Chromium is missing and could not be installed: install it, or name it in CHROMIUM" >&2
	exit 1
}

if ! cmp -s "$here/browser/package.json" "$target/package.json" || [ ! -d "$target/node_modules/axe-core" ]; then
	rm -rf "$target"
	mkdir -p "$target"
	cp "$here/browser/package.json" "$target/"
	(cd "$target" && npm install --silent --ignore-scripts --no-audit --no-fund)
fi
echo "peers are in place: .interop/browser"
