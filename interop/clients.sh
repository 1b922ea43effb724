#!/usr/bin/env bash
# Makes .interop/clients with the Python clients of the APIs that lentil serve answers. Does nothing when they are there already.
# PYTHON names another interpreter (3.10 or newer).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/../.interop/clients
stamp=$(cksum <"$here/requirements-clients.txt")

if [ "$(cat "$venv/stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "peers are in place: .interop/clients"
	exit 0
fi
rm -rf "$venv"
mkdir -p "$here/../.interop"
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements-clients.txt"
"$venv/bin/python" -c 'import anthropic, ollama, openai' >/dev/null
echo "$stamp" >"$venv/stamp"
echo "made .interop/clients"
