#!/usr/bin/env bash
# Makes .interop/venv with the pinned Python peers (mlx-lm on its CPU build).
# Does nothing when the environment already matches requirements.txt.
# PYTHON names another interpreter (3.10 to 3.13).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/../.interop/venv
python=${PYTHON:-python3}
stamp=$(cksum <"$here/requirements.txt")

if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "peers are in place: .interop/venv"
	exit 0
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])'; then
	echo "interop/venv.sh: needs Python 3.10 or newer, found $("$python" --version 2>&1); set PYTHON to one" >&2
	exit 1
fi
rm -rf "$venv"
mkdir -p "$here/../.interop"
"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
"$venv/bin/python" -c 'import mlx.core, mlx_lm, transformers' >/dev/null
echo "$stamp" >"$venv/stamp"
echo "made .interop/venv: $("$venv/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E '^(mlx|mlx-lm|transformers) ' | tr -s ' ' | paste -sd ' ')"
