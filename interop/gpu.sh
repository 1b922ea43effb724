#!/usr/bin/env bash
# Tests and measures the device of NVIDIA cards in one call of at most ten minutes, on a computer that has one, and ends with a
# table: interop/gpu.sh [folder for logs]
# Without Go there, build before: go build -o DIR/lentil ./cmd/lentil; go test -c -o DIR/cuda.test ./compute/cuda; LENTIL_BIN=DIR interop/gpu.sh
# Peers run where python3 has torch, transformers and peft. SMOLLM2 names a folder of SmolLM2, else the demo's model stands in.
# LENTIL_SHAPE=smollm2-135m tries the script itself on a small card.
set -uo pipefail
cd "$(dirname "$0")/.."
repo=$PWD
logs=$(realpath -m "${1:-/tmp/lentil-gpu}")
bin=${LENTIL_BIN:-$logs/bin}
shape=${LENTIL_SHAPE:-ministral-8b}
small=$(realpath "${SMOLLM2:-demo/model}")
mkdir -p "$logs"
if [ -z "${LENTIL_BIN:-}" ]; then
	CGO_ENABLED=0 go build -o "$bin/lentil" ./cmd/lentil
	CGO_ENABLED=0 go test -c -o "$bin/cuda.test" ./compute/cuda
fi
bin=$(realpath "$bin")
export LENTIL_TEST_CUDA=1
begin=$(date +%s)
did() { echo "== $1 ($(($(date +%s) - begin)) s)"; }
over() { [ $(($(date +%s) - begin)) -gt "$1" ]; }
: >"$logs/table"
row() { printf '%-58s %s\n' "$1" "${2:-none: see the logs}" >>"$logs/table"; }
figure() { grep -oE "$2" "$logs/$1.log" | tail -1 | grep -oE '[0-9.]+' | tail -1; }

keep=$(mktemp -d /dev/shm/lentil.XXXXXX)
trap 'rm -rf "$keep"' EXIT
model=$keep/$shape

"$bin/lentil" doctor 2>&1 | grep -E '^(device|GPUs)'
did doctor

# name, most seconds, arguments
run() {
	local name=$1 most=$2
	shift 2
	timeout "$most" "$bin/lentil" benchmark --shape "$shape" --save-path "$model" --device cuda -n 3 "$@" >"$logs/$name.log" 2>&1
	tail -3 "$logs/$name.log"
	did "$name"
}
train() { run "$1" "$2" --train --batch-size 4 --seq-length "$3" "${@:4}"; }
train short 120 512
row "LoRA step, 4 rows of 512" "$(figure short 'train_tps[=: ]*[0-9.]+') tokens/s, $(figure short 'peak_memory[=: ]*[0-9.]+') GB"
train long 60 2048
row "LoRA step, 4 rows of 2048" "$(figure long 'train_tps[=: ]*[0-9.]+') tokens/s, $(figure long 'peak_memory[=: ]*[0-9.]+') GB"
train all 60 512 --num-layers -1
row "all layers trained, 4 rows of 512" "$(figure all 'train_tps[=: ]*[0-9.]+') tokens/s, $(figure all 'peak_memory[=: ]*[0-9.]+') GB"
LENTIL_CUDA=compute_80 train every-card 60 512
row "with the kernels of every card" "$(figure every-card 'train_tps[=: ]*[0-9.]+') tokens/s"
run answers 60 -p 512 -g 512
one=$(figure answers 'generation_tps[=: ]*[0-9.]+')
row "answer of 512 behind a prompt of 512" "$one tokens/s"
run answers-32 60 -b 32 -p 512 -g 128
together=$(figure answers-32 'generation_tps[=: ]*[0-9.]+')
row "32 answers together" "$together tokens/s, $(awk -v a="${together:-0}" -v b="${one:-1}" 'BEGIN {printf "%.1f", a / b}') times one's"
run prompt 60 -p 4096 -g 2
row "prompt of 4096" "$(figure prompt 'prompt_tps[=: ]*[0-9.]+') tokens/s"

# The start, the second epoch, and rows of many lengths: the shape's weights with the demo's tokenizer.
cp "$repo"/demo/model/tokenizer*.json "$model/"
rows() { # number, shortest, longest in words
	awk -v n="$1" -v a="$2" -v b="$3" 'BEGIN {srand(1); for (i = 0; i < n; i++) {printf "{\"text\": \""; w = a + int(rand() * (b - a + 1)); for (k = 0; k < w; k++) printf "%c%c%c ", 97 + rand() * 26, 97 + rand() * 26, 97 + rand() * 26; print "\"}"}}'
}
tune() { # name, rows file, iterations, arguments
	mkdir -p "$keep/$1-data"
	cp "$2" "$keep/$1-data/train.jsonl"
	local start=$(date +%s.%N)
	timeout 100 "$bin/lentil" lora --model "$model" --data "$keep/$1-data" --train --iters "$3" --batch-size 4 --device cuda --steps-per-report 1 \
		--val-batches 0 --adapter-path "$keep/$1" --overwrite "${@:4}" 2>&1 |
		awk -v start="$start" '{print} /^Iter 1: Train/ {"date +%s.%N" | getline now; printf "first step done %.2f s after the start\n", now - start; fflush()}' >"$logs/$1.log"
	grep -E '^(Iter|first)' "$logs/$1.log" | tail -3
	did "$1"
}
rates() { grep -oE 'Tokens/sec [0-9.]+' "$logs/$1.log" | awk -v from="$2" -v to="$3" 'NR >= from && NR <= to {s += 1 / $2; n++} END {if (n) printf "%.0f", n / s}'; }
rows 48 700 700 >"$keep/full.jsonl"
tune epochs "$keep/full.jsonl" 24 --max-seq-length 513
row "start to the first step done" "$(grep -oE '[0-9.]+ s after' "$logs/epochs.log" | head -1)"
first=$(rates epochs 3 12) second=$(rates epochs 14 24)
row "second epoch, of the first's time" "$(awk -v a="${first:-0}" -v b="${second:-0}" 'BEGIN {if (b > 0) printf "%.2f (%d and %d tokens/s)", a / b, a, b}')"
rows 160 10 250 >"$keep/mixed.jsonl"
tune packed "$keep/mixed.jsonl" 24 --batch-size 8 --no-frozen-cache
row "rows of 30 to 500 tokens, packed" "$(rates packed 3 24) tokens/s"

# Exact resume: killed in the middle, the files are those of a run without a stop.
demo() { # device, folder: the arguments
	arguments=(lora --model "$small" --data "$repo/demo/data" --train --iters 60 --save-every 10 --steps-per-report 1 --val-batches 0 --device "$1" --adapter-path "$2")
}
demo cuda "$keep/whole"
"$bin/lentil" "${arguments[@]}" >"$logs/whole.log" 2>&1
demo cuda "$keep/killed"
"$bin/lentil" "${arguments[@]}" >"$logs/killed.log" 2>&1 &
job=$!
for _ in $(seq 1200); do
	grep -q '^Iter 25: Train' "$logs/killed.log" && break
	sleep 0.05
done
kill -9 $job
wait $job 2>/dev/null
"$bin/lentil" "${arguments[@]}" --resume >>"$logs/killed.log" 2>&1
row "kill -9 and resume" "$(cmp "$keep/whole/adapters.safetensors" "$keep/killed/adapters.safetensors" >/dev/null && echo byte-equal || echo DIFFERS)"
did resume

# Losses beside the processor's.
demo cpu "$keep/cpu"
"$bin/lentil" "${arguments[@]}" >"$logs/cpu.log" 2>&1
for one in whole cpu; do grep -oE 'Train loss [0-9.]+' "$logs/$one.log" | awk '{print $3}' >"$keep/$one.losses"; done
row "30 losses of $(basename "$small") beside the processor's" "$(paste "$keep/whole.losses" "$keep/cpu.losses" | head -30 | awk '{d = ($1 - $2) / $2; if (d < 0) d = -d; if (d > m) m = d} END {if (NR == 30) printf "furthest by %.2f %%", 100 * m}')"
did losses

if python3 -c 'import torch, transformers, peft' 2>/dev/null && ! over 420; then
	timeout 150 python3 interop/peer/bench_peft_gpu.py "$model" 4 16 512 2048 2>&1 | tee "$logs/peft.log" | grep -E '^(PEFT|torch)'
	grep -E '^PEFT' "$logs/peft.log" | while IFS= read -r line; do row "${line%%:*}" "${line#*: }"; done
	did peers
else
	row "PEFT" "skipped: python3 has no torch, transformers and peft, or the time is over"
fi
row "Unsloth 2026.10.9, 4 bits (measured before)" "12878 tokens/s and 12.9 GiB at 512, 16641 and 33.5 GiB at 2048"

cd compute/cuda
timeout $((580 - $(date +%s) + begin)) "$bin/cuda.test" -test.v -test.run 'Conformance|Products|BatchInvariant' -test.timeout 300s >"$logs/tests.log" 2>&1
row "tests on the card" "$(for kind in PASS FAIL SKIP; do printf '%s %s ' $kind "$(grep -cE "^ *--- $kind" "$logs/tests.log")"; done)"
grep -E '^ *--- FAIL' "$logs/tests.log" | head -20
did tests
if ! over 500; then
	timeout 60 "$bin/cuda.test" -test.run NONE -test.bench Step -test.benchtime 3x >"$logs/kernels.log" 2>&1
	did kernels
fi
echo
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
cat "$logs/table"
