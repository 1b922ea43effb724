#!/usr/bin/env bash
# Puts the clients of the APIs that lentil serve answers into .interop: those in Python (clients), frameworks over them
# (frameworks, which want an older one of OpenAI's), and OpenAI's for JavaScript (openai-js). Does nothing where they are
# there already. PYTHON names another interpreter (3.10 or newer).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$here/../.interop"

environment() { # NAME MODULES
	local requirements=$here/requirements-$1.txt target=$here/../.interop/$1
	local stamp
	stamp=$(cksum <"$requirements")
	if [ "$(cat "$target/stamp" 2>/dev/null)" = "$stamp" ]; then
		echo "peers are in place: .interop/$1"
		return
	fi
	rm -rf "$target"
	"${PYTHON:-python3}" -m venv "$target"
	"$target/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
	"$target/bin/python" -c "import $2" >/dev/null
	echo "$stamp" >"$target/stamp"
	echo "made .interop/$1"
}

environment clients "anthropic, ollama, openai"
environment frameworks "langchain_openai, llama_index.llms.openai_like"

js=$here/../.interop/openai-js
if cmp -s "$here/openai-js/package.json" "$js/package.json" && [ -d "$js/node_modules/openai" ]; then
	echo "peers are in place: .interop/openai-js"
else
	rm -rf "$js"
	mkdir -p "$js"
	cp "$here/openai-js/package.json" "$js/"
	npm install --prefix "$js" --silent --no-audit --no-fund
	echo "made .interop/openai-js"
fi
