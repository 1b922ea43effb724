#!/usr/bin/env bash
# Puts TensorBoard, which reads event files, into an environment of its own, .interop/tensorboard: its protobuf is not
# that of the other peers. Does nothing when it is there already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../.interop/tensorboard
want="tensorboard==2.20.0 setuptools==65.5.0"

if [ "$(cat "$target/stamp" 2>/dev/null)" = "$want" ]; then
	echo "peers are in place: .interop/tensorboard"
	exit 0
fi
rm -rf "$target"
mkdir -p "$here/../.interop"
"${PYTHON:-python3}" -m venv "$target"
"$target/bin/pip" install --quiet --disable-pip-version-check $want
"$target/bin/python" -c 'import tensorboard.backend.event_processing.event_accumulator' >/dev/null
echo "$want" >"$target/stamp"
echo "made .interop/tensorboard"
