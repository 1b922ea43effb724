#!/usr/bin/env bash
# Puts the Python package datasets, through which mlx-lm reads datasets of the hub, into .interop/datasets, beside
# the environment that venv.sh makes. Does nothing when it is there already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../.interop/datasets
stamp=$(cksum <"$here/requirements-datasets.txt")

if [ "$(cat "$target/stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "peers are in place: .interop/datasets"
	exit 0
fi
"$here/venv.sh"
rm -rf "$target"
"$here/../.interop/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$target" -r "$here/requirements-datasets.txt"
PYTHONPATH=$target "$here/../.interop/venv/bin/python" -c 'import datasets, pyarrow' >/dev/null
echo "$stamp" >"$target/stamp"
echo "made .interop/datasets"
