#!/usr/bin/env bash
# Tests and measures the device of NVIDIA cards, on a computer that has one: interop/gpu.sh [folder for logs]
# Without Go there, build before: go build -o DIR/lentil ./cmd/lentil; go test -c -o DIR/cuda.test ./compute/cuda; LENTIL_BIN=DIR interop/gpu.sh
set -uo pipefail
cd "$(dirname "$0")/.."
logs=$(realpath -m "${1:-/tmp/lentil-gpu}")
bin=${LENTIL_BIN:-$logs/bin}
mkdir -p "$logs"
if [ -z "${LENTIL_BIN:-}" ]; then
	CGO_ENABLED=0 go build -o "$bin/lentil" ./cmd/lentil
	CGO_ENABLED=0 go test -c -o "$bin/cuda.test" ./compute/cuda
fi
bin=$(realpath "$bin")
export LENTIL_TEST_CUDA=1
begin=$(date +%s)
did() { echo "== $1 ($(($(date +%s) - begin)) s)"; }

"$bin/lentil" doctor 2>&1 | grep -E '^(device|GPUs)'
did doctor
cd compute/cuda
"$bin/cuda.test" -test.v -test.timeout 300s >"$logs/tests.log" 2>&1
for kind in PASS FAIL SKIP; do echo "$kind $(grep -cE "^ *--- $kind" "$logs/tests.log")"; done
grep -E '^ *--- FAIL' "$logs/tests.log" | head -40
did tests
"$bin/cuda.test" -test.run NONE -test.bench Step -test.benchtime 3x 2>&1 | tee "$logs/kernels.log"
did kernels
cd "$logs"
keep=$(mktemp -d /dev/shm/lentil.XXXXXX)
trap 'rm -rf "$keep"' EXIT
run() { # name, shape, arguments
	local name=$1 shape=$2
	shift 2
	timeout 120 "$bin/lentil" benchmark --shape "$shape" --save-path "$keep/$shape" --device cuda -n 3 "$@" 2>&1 | tee "$logs/$name.log"
	did "$name"
}
run smollm2-train smollm2-135m --train --batch-size 4 --seq-length 256 --num-layers -1
run smollm2-answers smollm2-135m -p 512 -g 128
run ministral-train ministral-8b --train --batch-size 4 --seq-length 512
run ministral-train-profile ministral-8b --train --batch-size 4 --seq-length 512 --profile
run ministral-train-long ministral-8b --train --batch-size 4 --seq-length 2048
run ministral-train-all ministral-8b --train --batch-size 4 --seq-length 512 --num-layers -1
run ministral-answers ministral-8b -p 512 -g 512
run ministral-prompt ministral-8b -p 4096 -g 2
