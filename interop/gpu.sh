#!/usr/bin/env bash
# Tests and measures the device of NVIDIA cards in one call of at most ten minutes, on a computer that has one, and ends with a
# table of figures beside what is asked of an H200: interop/gpu.sh [folder for logs]
# Without Go there, build before: go build -o DIR/lentil ./cmd/lentil; for p in compute/cuda model train generate; do
# go test -c -ldflags '-s -w' -o DIR/ ./$p; done; LENTIL_BIN=DIR interop/gpu.sh (those of model, train and generate may be left out)
# Peers run where python3 has torch, transformers and peft. SMOLLM2 names SmolLM2, else the demo's model stands in.
# LENTIL_PARTS="train answers" does these parts alone: see the end. LENTIL_DEVICE=cpu, LENTIL_SHAPE=smollm2-135m (or a model's
# folder with its tokenizer), LENTIL_LAYERS=4, which are trained, LENTIL_SHORT=16, which divides lengths, and
# LENTIL_PATIENCE=9, which makes time limits longer, try the script itself.
set -uo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8
repo=$PWD
logs=$(realpath -m "${1:-/tmp/lentil-gpu}")
bin=${LENTIL_BIN:-$logs/bin}
shape=${LENTIL_SHAPE:-ministral-8b}
device=${LENTIL_DEVICE:-cuda}
short=${LENTIL_SHORT:-1}
patience=${LENTIL_PATIENCE:-1}
layers=${LENTIL_LAYERS:-16}
mkdir -p "$logs"
if [ -z "${LENTIL_BIN:-}" ]; then
	CGO_ENABLED=0 go build -o "$bin/lentil" ./cmd/lentil
	for p in compute/cuda model train generate; do CGO_ENABLED=0 go test -c -ldflags '-s -w' -o "$bin/" ./$p; done
fi
bin=$(realpath "$bin")
[ "$device" = cuda ] && export LENTIL_TEST_CUDA=1
begin=$(date +%s)
limit() { timeout $(($1 * patience)) "${@:2}"; }
spent() { echo $(($(date +%s) - begin)); }
did() { echo "== $1 ($(spent) s)"; }
: >"$logs/table"

keep=$(mktemp -d /dev/shm/lentil.XXXXXX)
trap 'rm -rf "$keep"' EXIT
if [ -d "$shape" ]; then
	model=$(realpath "$shape")
	source=(--model "$model")
else
	model=$keep/$shape
	source=(--shape "$shape" --save-path "$model")
fi

# Figures and the table.
row() { printf '%-56s %s\n' "$1" "${2:-none: see the logs}" | tee -a "$logs/table"; }
figure() { grep -oE "$2" "$logs/$1.log" 2>/dev/null | tail -1 | grep -oE '[0-9.]+' | tail -1; } # log, pattern that ends with it
asked() { # figure, least or most, what is asked, unit
	awk -v f="$1" -v how="$2" -v a="$3" -v u="${4:-}" 'BEGIN {
		if (f == "") {
			printf "none: see the logs"
			exit
		}
		met = how == "least" ? f + 0 >= a : f + 0 <= a
		printf "%s%s (asked: at %s %s%s: %s)", f, u, how, a, u, met ? "met" : "missed"
	}'
}
calc() { awk -v a="${2:-}" -v b="${3:-}" "BEGIN {if (a != \"\" && b != \"\" && b + 0 != 0) printf(\"$1)}"; } # format with what it shows of a and b
whole() { [ -n "$1" ] && printf '%.0f' "$1"; }
tps() { whole "$(figure "$1" 'train_tps[=: ]*[0-9.]+')"; }
gib() { calc '%.1f", a / 1.073741824' "$(figure "$1" 'peak_memory[=: ]*[0-9.]+')" 1; }

# name, most seconds, arguments
measure() {
	local name=$1 most=$2
	shift 2
	limit "$most" "$bin/lentil" benchmark "${source[@]}" --device "$device" -n 3 "$@" >"$logs/$name.log" 2>&1 || tail -3 "$logs/$name.log"
	did "$name"
}
step() { measure "$1" 60 --train --batch-size 4 --seq-length $(($2 / short)) --num-layers "${3:-$layers}" "${@:4}"; }
divided() { for n in "$@"; do echo -n "$((n / short > 2 ? n / short : 2)),"; done | sed 's/,$//'; }

do_doctor() {
	limit 60 "$bin/lentil" doctor >"$logs/doctor.log" 2>&1
	grep -E '^(device|GPUs)' "$logs/doctor.log"
	nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null
	did doctor
}

do_train() {
	step short 512
	row "LoRA step, 4 rows of 512" "$(asked "$(tps short)" least 24000 ' tokens/s'), $(asked "$(gib short)" most 10 ' GiB')"
	row "idle between steps" "$(asked "$(figure short 'Idle between steps: at most [0-9.]+')" most 3 ' %')"
	step long 2048
	row "LoRA step, 4 rows of 2048" "$(asked "$(tps long)" least 24000 ' tokens/s'), $(asked "$(gib long)" most 18 ' GiB')"
	measure mixed 60 --train --rows "$(divided 30 95 160 230 300 350 383 500)" --num-layers "$layers"
	row "rows of 30 to 500, the same total, of full ones" "$(asked "$(calc '%.3f", a / b' "$(tps mixed)" "$(tps short)")" least 0.95), $(tps mixed) tokens/s"
	LENTIL_CUDA=compute_80 step every-card 512
	row "LoRA step with the kernels of every card" "$(asked "$(tps every-card)" least 10000 ' tokens/s')"
	step all 512 -1
}

# The weight products alone, which the step of all layers is measured by.
do_products() {
	(cd compute/cuda && limit 60 "$bin/cuda.test" -test.run NONE -test.bench ProductsAlone -test.benchtime 5x) >"$logs/products.log" 2>&1
	local alone last
	alone=$(whole "$(figure products '36_of_36.* [0-9.e+]+ tokens/s')") last=$(whole "$(figure products '16_of_36.* [0-9.e+]+ tokens/s')")
	row "all layers trained, of their products alone" "$(asked "$(calc '%.3f", a / b' "$(tps all)" "$alone")" least 0.85), $(tps all) of $alone tokens/s, $(gib all) GiB"
	row "the last 16 trained, of their products alone" "$(calc '%.3f", a / b' "$(tps short)" "$last"), of $last tokens/s"
	did products
}

do_answers() {
	local one together share
	measure answer 60 -p $((512 / short)) -g $((512 / short))
	one=$(figure answer 'Averages: .*generation_tps[=: ]*[0-9.]+')
	share=$(calc '%.0f", 100 * a / b' "$(figure answer 'Achieved, generation: .* [0-9.]+ GB')" "$(figure answer 'Measured peak: .* GFLOP/s, [0-9.]+ GB')")
	row "512 tokens behind a prompt of 512" "$one tokens/s, $(asked "$share" least 60 ' % of bytes over bandwidth')"
	measure answers-32 60 -b 32 -p $((512 / short)) -g $((128 / short))
	together=$(figure answers-32 'Averages: .*generation_tps[=: ]*[0-9.]+')
	row "32 answers together, of one's speed" "$(asked "$(calc '%.1f", a / b' "$together" "$one")" least 12 ' times'), $together tokens/s"
	measure prompt 60 -p $((4096 / short)) -g 2
	row "prompt of 4096" "$(asked "$(whole "$(figure prompt 'Averages: prompt_tps[=: ]*[0-9.]+')")" least 30000 ' tokens/s')"
}

# The start and the second epoch: the shape's weights with the demo's tokenizer.
do_start() {
	if [ ! -d "$shape" ]; then
		[ -d "$model" ] || measure weights 120 -p 2 -g 1
		cp "$repo"/demo/model/tokenizer*.json "$model/"
	fi
	mkdir -p "$keep/rows"
	awk -v words=$((700 / short)) 'BEGIN {srand(1); for (i = 0; i < 48; i++) {printf "{\"text\": \""; for (k = 0; k < words; k++) printf "%c%c%c ", 97 + rand() * 26, 97 + rand() * 26, 97 + rand() * 26; print "\"}"}}' >"$keep/rows/train.jsonl"
	tune() { # name, iterations, arguments: the log, and beside it when each line came
		local start=${EPOCHREALTIME/./} line now
		limit 100 "$bin/lentil" lora --model "$model" --data "$keep/rows" --train --iters "$2" --batch-size 4 --num-layers "$layers" --device "$device" \
			--steps-per-report 1 --val-batches 0 --max-seq-length $((512 / short + 1)) --adapter-path "$keep/$1" --overwrite "${@:3}" 2>&1 |
			while IFS= read -r line; do
				now=$((${EPOCHREALTIME/./} - start))
				printf '%d.%03d %s\n' $((now / 1000000)) $((now / 1000 % 1000)) "$line" >&3
				echo "$line"
			done >"$logs/$1.log" 3>"$logs/$1.times"
		did "$1"
	}
	rates() { grep -oE 'Tokens/sec [0-9.]+' "$logs/$1.log" | awk -v from="$2" -v to="$3" 'NR >= from && NR <= to {s += 1 / $2; n++} END {if (n) printf "%.0f", n / s}'; }
	# What clocks the card's power allows beside each step.
	nvidia-smi --query-gpu=timestamp,clocks.sm,power.draw,temperature.gpu --format=csv,noheader -lms 50 >"$logs/clocks.log" 2>/dev/null &
	local clocks=$! run shares=() first second without
	for run in epochs epochs-2 epochs-3; do
		tune $run 24
		first=$(rates $run 3 12) second=$(rates $run 14 24)
		shares+=("$(calc '%.3f", b / a' "$second" "$first")")
	done
	tune no-cache 24 --no-frozen-cache
	kill $clocks 2>/dev/null
	row "start to the first step done" "$(asked "$(grep 'Iter 1: Train' "$logs/epochs.times" | grep -oE '^[0-9.]+')" most 6 ' s')"
	row "second epoch, of the first's time, median of 3 runs" "$(asked "$(printf '%s\n' "${shares[@]}" | sort -n | sed -n 2p)" most 0.70), ${shares[*]}; the last $first and $second tokens/s"
	without=$(rates no-cache 14 24)
	row "second epoch, of its steps' time without the cache" "$(calc '%.3f", b / a' "$second" "$without"), $without tokens/s without"
	row "memory of the plan, of what was taken" "$(awk '/memory, total/ {plan = $3 * ($4 == "MB" ? 0.001 : 1)} {for (i = 1; i < NF; i++) if ($i == "mem") took = $(i + 1)} END {if (plan && took) printf "%.2f (%.2f of %.2f GB)", plan / took, plan, took}' "$logs/epochs.log")"
}

# Losses, held-out perplexity and answers beside the processor's, with a small model.
prepare() {
	[ -d "$keep/dense" ] && return
	"$bin/lentil" convert --model "$repo/demo/model" --mlx-path "$keep/dense" -d --dtype bfloat16 >"$logs/convert.log" 2>&1
	if [ -n "${SMOLLM2:-}" ]; then
		ln -s "$(realpath "$SMOLLM2")" "$keep/small"
	else
		"$bin/lentil" convert --model "$keep/dense" --mlx-path "$keep/small" -q --q-bits 4 >>"$logs/convert.log" 2>&1
	fi
	what=$([ -n "${SMOLLM2:-}" ] && echo SmolLM2 || echo "the demo's model")
	mkdir -p "$keep/pairs" "$keep/held"
	sed -nE 's/.*"user","content":"([^"]*)"\},\{"role":"assistant","content":"([^"]*)".*/{"prompt":"\1","chosen":"\2","rejected":"I do not know."}/p' demo/data/train.jsonl | head -120 >"$keep/pairs/train.jsonl"
	cp demo/data/train.jsonl "$keep/held/"
	head -60 demo/data/test.jsonl >"$keep/held/test.jsonl"
}
tuned() { # name, device, model, data, iterations, arguments
	limit 240 "$bin/lentil" lora --model "$3" --data "$4" --train --iters "$5" --steps-per-report 1 --val-batches 0 --device "$2" \
		--adapter-path "$keep/$1" --overwrite --batch-size 4 --learning-rate 1e-4 "${@:6}" >"$logs/$1.log" 2>&1
}
both() { # name, model, data, iterations, arguments: on the card and, at the same time, on the processor
	tuned "$1-processor" cpu "${@:2}" &
	local other=$!
	tuned "$1" "$device" "${@:2}"
	wait $other
	did "$1"
}
three() { # model, data, iterations, arguments: both with seeds 0, 1 and 2, those of the processor side by side
	local seed
	for seed in 0 1 2; do tuned "lora-$seed-processor" cpu "$@" --seed $seed --threads $((($(nproc) + 2) / 3)) & done
	for seed in 0 1 2; do tuned "lora-$seed" "$device" "$@" --seed $seed; done
	wait
	did "lora, three seeds"
}
above() { # name: how far held-out perplexity is above the processor's, in percent
	calc '%+.2f\n", 100 * (a / b - 1)' "$(figure "$1" 'Test ppl [0-9]+\.[0-9]+')" "$(figure "$1-processor" 'Test ppl [0-9]+\.[0-9]+')"
}
furthest() { # name: how far losses are from the processor's, in percent of them, at most
	for one in "$1" "$1-processor"; do grep -oE 'Train loss [0-9.]+' "$logs/$one.log" | awk '{print $3}' | head -30 >"$keep/$one.losses"; done
	paste "$keep/$1.losses" "$keep/$1-processor.losses" | awk -v pairs="$([ "$1" = pairs ] && echo 1)" '
		NR == 1 {first = $2}
		{d = ($1 - $2) / (pairs ? first : $2); if (d < 0) d = -d; if (!(d <= m)) m = d} # those of pairs go far down: a share of the first
		END {if (NR == 30) printf "%.2f", 100 * m}'
}
do_beside() {
	prepare
	three "$keep/small" "$keep/held" $((200 / short > 30 ? 200 / short : 30)) --test
	row "losses of $what beside the processor's" "$(asked "$(furthest lora-0)" most 2 ' % apart')"
	local each
	each=$(for seed in 0 1 2; do above "lora-$seed"; done)
	row "held-out perplexity after 200 steps, mean of 3 seeds" "$(asked "$(awk 'NF {s += $1; n++} END {m = s / 3; if (n == 3) printf "%.2f", m < 0 ? -m : m}' <<<"$each")" most 1 ' % apart'), above the processor's by $(paste -sd ' ' <<<"$each") %"
	for kind in "dora --fine-tune-type dora" "full --fine-tune-type full --learning-rate 1e-5" \
		"pairs --train-mode dpo --beta 0.1 --learning-rate 1e-5" "accumulated --grad-accumulation-steps 2 --dropout 0.05 --grad-checkpoint --max-grad-norm 1"; do
		read -ra args <<<"$kind"
		local of=$keep/small data=$keep/held
		[ "${args[0]}" = full ] && of=$keep/dense
		[ "${args[0]}" = pairs ] && data=$keep/pairs
		both "${args[@]:0:1}" "$of" "$data" 30 "${args[@]:1}"
		row "losses, ${args[*]:1}" "$(asked "$(furthest "${args[0]}")" most 2 ' % apart')"
	done
}

# Greedy answers of 64 tokens, with keys and values of 16 and of 8 bits, to beginnings of chapters. Where answers part, TestCardGreedy
# tells the lead that the processor's token has.
do_greedy() {
	prepare
	if [ ! -x "$bin/generate.test" ]; then
		row "greedy answers as the processor's" "skipped: generate.test was not built"
		return
	fi
	(cd generate && LENTIL_TEST_MODEL=$(realpath "$keep/small") limit 100 "$bin/generate.test" -test.v -test.run 'TestCardGreedy$') >"$logs/greedy.log" 2>&1
	for bits in 16 8; do
		row "greedy answers of $what, $bits-bit cache" "$(grep -oE "[^0-9]$bits-bit cache: .*" "$logs/greedy.log" | sed -E 's/.*cache: //')"
	done
	did greedy
}

# Exact resume: killed in the middle, the files are those of a run without a stop.
do_resume() {
	prepare
	arguments() {
		echo lora --model "$keep/small" --data "$keep/held" --train --iters 60 --steps-per-report 1 --val-batches 0 --device "$device" \
			--batch-size 4 --learning-rate 1e-4 --save-every 10 --adapter-path "$keep/$1"
	}
	# shellcheck disable=SC2046 # words without spaces
	limit 100 "$bin/lentil" $(arguments whole) >"$logs/whole.log" 2>&1
	# shellcheck disable=SC2046
	"$bin/lentil" $(arguments killed) >"$logs/killed.log" 2>&1 &
	local job=$!
	for _ in $(seq $((2400 * patience))); do
		grep -q '^Iter 25: Train' "$logs/killed.log" && break
		sleep 0.02
	done
	kill -9 $job
	wait $job 2>/dev/null
	# shellcheck disable=SC2046
	limit 100 "$bin/lentil" $(arguments killed) --resume >"$logs/resumed.log" 2>&1
	local steps
	steps=$(grep -c '^Iter .*: Train' "$logs/killed.log")
	row "kill -9 in step $steps of 60, and resume" "$(cmp -s "$keep/whole/adapters.safetensors" "$keep/killed/adapters.safetensors" && echo byte-equal || echo DIFFERS)"
	did resume
}

do_demo() {
	(cd "$keep" && limit 120 "$bin/lentil" demo --device "$device" --dir demo --json "$logs/demo.json") >"$logs/demo.log" 2>&1
	row "lentil demo, right answers of 5" "$(asked "$(grep -oE '"right_answers_tuned": *[0-9]+' "$logs/demo.json" 2>/dev/null | grep -oE '[0-9]+$')" least 5), $(grep -oE 'It took [^a]*' "$logs/demo.log")"
	did demo
}

do_peers() {
	if python3 -c 'import torch, transformers, peft' 2>/dev/null && [ "$(spent)" -lt 370 ]; then
		limit 150 python3 interop/peer/bench_peft_gpu.py "$model" 4 16 512 2048 2>&1 | tee "$logs/peft.log" | grep -E '^(PEFT|torch)'
		grep -E '^PEFT' "$logs/peft.log" | while IFS= read -r line; do row "${line%%:*}" "${line#*: }"; done
	else
		row "PEFT" "skipped: python3 has no torch, transformers and peft, or the time is over"
	fi
	row "PEFT NF4 (measured before)" "11057 tokens/s and 17.2 GiB at 512, 14513 and 51.4 GiB at 2048"
	row "Unsloth 2026.10.9, 4 bits (measured before)" "12878 tokens/s and 12.9 GiB at 512, 16641 and 33.5 GiB at 2048"
	did peers
}

# A test's binary is run in the folder of its package.
suite() { # name, folder, pattern, most seconds
	if [ ! -x "$bin/$1.test" ]; then
		row "tests of $2 on the card" "skipped: $1.test was not built"
		return
	fi
	(cd "$2" && limit "$4" "$bin/$1.test" -test.v -test.run "$3") >"$logs/tests-$1.log" 2>&1
	local status=$?
	row "tests of $2 on the card" "$(for kind in PASS FAIL SKIP; do printf '%s %s ' $kind "$(grep -cE "^ *--- $kind" "$logs/tests-$1.log")"; done)$([ $status = 124 ] && echo "(stopped after $4 s)")"
	grep -E '^ *--- FAIL' "$logs/tests-$1.log" | head -20
	did "tests of $2"
}
do_tests() {
	suite model model 'TestCard' 40
	suite train train 'TestCard' 60
	suite generate generate 'TestCard' 40
	local left=$((540 - $(spent)))
	suite cuda compute/cuda 'Conformance|Products|BatchInvariant' $((left > 200 ? 200 : left > 10 ? left : 10))
}

do_sanitizer() {
	local left=$((560 - $(spent)))
	PATH=$PATH:/usr/local/cuda/bin
	if ! command -v compute-sanitizer >/dev/null || [ $left -lt 15 ]; then
		row "compute-sanitizer" "skipped: it is not there, or the time is over"
		return
	fi
	(cd compute/cuda && LENTIL_TEST_SHARE=50 limit $((left > 60 ? 60 : left)) compute-sanitizer --tool memcheck --report-api-errors no "$bin/cuda.test" -test.v -test.run 'Conformance/kernels_$') >"$logs/sanitizer.log" 2>&1
	row "compute-sanitizer, memcheck" "$(grep -cE '^ *--- PASS' "$logs/sanitizer.log") cases passed, $(grep -cE '^=+ (Invalid|Program hit|Race|Uninit)' "$logs/sanitizer.log") errors; $(grep -oE 'ERROR SUMMARY.*' "$logs/sanitizer.log" || echo 'stopped by the time limit')"
	did sanitizer
}

# The start comes first: the epochs are compared on a card that has rested.
for part in ${LENTIL_PARTS:-doctor start train products answers beside greedy resume demo peers tests sanitizer}; do "do_$part"; done
echo
cat "$logs/table"
echo "all of it took $(spent) s"
