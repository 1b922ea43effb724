package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/bench"
	"github.com/lentil-lm/lentil/export"
)

// works lists everything there is to measure, the quick ones first.
func (h *harness) works() []work {
	var all []work
	for _, s := range [][3]int{{512, 4096, 4096}, {256, 1024, 4096}} {
		all = append(all, h.gemm(s[0], s[1], s[2])...)
	}
	all = append(all, work{name: "attention of 8,192 tokens, memory beside inputs and outputs", unit: "MB", lower: true, goal: "under 64 MB",
		sides: []side{{"lentil", func(context.Context) (float64, error) { return attentionMemory(8192, h.threads) }}}})
	all = append(all, work{name: "second epoch, 16 of 36 layers trained", unit: "of the first", lower: true, goal: "0.70 of the first",
		sides: []side{{"lentil", h.secondEpoch}}})
	for _, mode := range []string{"fast", "rowwise", "exact"} {
		all = append(all, work{name: "sixteen answers together, smollm2-135m, decoding, " + mode, unit: "times as fast as in turn", goal: map[string]string{"fast": "5 x in turn"}[mode],
			sides: []side{{"lentil", func(ctx context.Context) (float64, error) { return h.together(ctx, mode) }}}})
	}
	for _, shape := range []string{"smollm2-135m", "qwen2.5-0.5b", "llama-3.2-1b", "ministral-8b", "qwen3-30b-a3b-8-layers"} {
		if !h.shapes[shape] {
			continue
		}
		all = append(all, h.answers(shape, 512, 64)...)
		switch shape {
		case "smollm2-135m":
			all = append(all, h.training(shape, 4, 256, -1, true)...)
			for _, n := range []int{256, 1024, 4096} {
				all = append(all, work{name: fmt.Sprintf("prompt of %d tokens, %s", n, shape), unit: "tokens/s", sides: []side{h.answer(shape, "lentil", "prompt_tps", n, 1)}})
			}
			all = append(all, h.packing(shape))
		case "llama-3.2-1b":
			all = append(all, h.training(shape, 2, 512, 8, false)...)
			all = append(all, h.converting(shape)...)
		case "ministral-8b":
			all = append(all, work{name: "decoding, " + shape + ", bytes read of the bandwidth", unit: "of the bandwidth", goal: "0.85",
				sides: []side{h.answer(shape, "lentil", "generation_of_bandwidth", 8, 32)}})
			all = append(all, h.firstToken(shape)...)
		}
	}
	return append(append(all, h.card()...), h.besideMLXLM("smollm2-135m")...)
}

// gemm is the float32 product against OpenBLAS, and the 4-bit linear layer
// against the same float32 product.
func (h *harness) gemm(m, n, k int) []work {
	size := fmt.Sprintf("%dx%dx%d", m, n, k)
	blas := side{"OpenBLAS", func(ctx context.Context) (float64, error) {
		return h.peer(ctx, "numpy", "gflops", "bench_blas.py", fmt.Sprint(m), fmt.Sprint(n), fmt.Sprint(k))
	}}
	mine := func(measure func(m, n, k, threads int) (float64, error)) side {
		return side{"lentil", func(context.Context) (float64, error) { return measure(m, n, k, h.threads) }}
	}
	return []work{
		{name: "float32 gemm " + size, unit: "GFLOP/s", goal: "0.95 x OpenBLAS", sides: []side{mine(gemmRate), blas}},
		{name: "4-bit linear " + size, unit: "GFLOP/s", goal: "0.90 x OpenBLAS float32", sides: []side{mine(linearRate), blas}},
		{name: "4-bit linear " + size + ", input gradient", unit: "GFLOP/s", goal: "0.90 x OpenBLAS float32", sides: []side{mine(gradientRate), blas}},
	}
}

// answers is reading a prompt and decoding.
func (h *harness) answers(shape string, prompt, generated int) []work {
	row := func(name, key, goal string) work {
		w := work{name: name + ", " + shape, unit: "tokens/s", goal: goal}
		for _, s := range []string{"lentil", "llama.cpp Q4_0", "llama.cpp Q4_1", "mlx-lm"} {
			if s == "mlx-lm" && shape != "smollm2-135m" || s == "llama.cpp Q4_1" && (shape == "ministral-8b" || strings.HasPrefix(shape, "qwen3")) {
				continue // hours on mlx-lm's CPU build; gigabytes more on the disk
			}
			w.sides = append(w.sides, h.answer(shape, s, key, prompt, generated))
		}
		return w
	}
	return []work{
		row("prompt of "+fmt.Sprint(prompt)+" tokens", "prompt_tps", "1.0 x llama.cpp"),
		row("decoding "+fmt.Sprint(generated)+" tokens after it", "generation_tps", "1.1 x llama.cpp"),
	}
}

// answer is one side's figure of an answer.
func (h *harness) answer(shape, name, key string, prompt, generated int) side {
	p, g := fmt.Sprint(prompt), fmt.Sprint(generated)
	return side{name, func(ctx context.Context) (float64, error) {
		dir, err := h.model(shape)
		if err != nil {
			return 0, err
		}
		if name == "lentil" {
			return number(key)(h.lentil(ctx, "--model", dir, "-p", p, "-g", g))
		}
		if kind, ok := strings.CutPrefix(name, "llama.cpp "); ok {
			return h.llama(ctx, shape, kind, key, p, g)
		}
		return h.peer(ctx, name, key, "bench_mlx.py", dir, "answer", p, g)
	}}
}

// firstToken is the time to the first token after a prompt of 8: of a loaded
// model that has answered before, and from opening the file on, whose pages the
// system has in memory.
func (h *harness) firstToken(shape string) []work {
	const peer = "llama.cpp Q4_0"
	row := func(name string, mine side, key string) work {
		return work{name: name + ", " + shape, unit: "s", lower: true, goal: "1.0 x llama.cpp", sides: []side{mine, h.answer(shape, peer, key, 8, 1)}}
	}
	return []work{
		row("first token after a prompt of 8", h.answer(shape, "lentil", "total_time", 8, 1), "first_token_seconds"),
		row("opening the model and first token after a prompt of 8", side{"lentil", func(ctx context.Context) (float64, error) {
			dir, err := h.model(shape)
			if err != nil {
				return 0, err
			}
			return openingSeconds(ctx, dir, 8, h.threads)
		}}, "opening_seconds"),
	}
}

// training is a LoRA step, and its memory.
func (h *harness) training(shape string, batch, length, layers int, mlx bool) []work {
	what := fmt.Sprintf("LoRA step, %s, batch %d x %d, %s", shape, batch, length, map[bool]string{true: "all layers", false: fmt.Sprintf("last %d layers", layers)}[layers < 0])
	numbers := []string{fmt.Sprint(batch), fmt.Sprint(length), fmt.Sprint(layers)}
	sides := func(key string) []side {
		out := []side{{"lentil", func(ctx context.Context) (float64, error) {
			dir, err := h.model(shape)
			if err != nil {
				return 0, err
			}
			return number(key)(h.lentil(ctx, "--model", dir, "--train", "-b", numbers[0], "--seq-length", numbers[1], "--num-layers", numbers[2]))
		}}, {"PEFT", func(ctx context.Context) (float64, error) {
			dir, err := h.model(shape)
			if err != nil {
				return 0, err
			}
			return h.peer(ctx, "PEFT", key, "bench_peft.py", append([]string{dir, fmt.Sprint(h.threads)}, numbers...)...)
		}}}
		if mlx {
			out = append(out, side{"mlx-lm", func(ctx context.Context) (float64, error) {
				dir, err := h.model(shape)
				if err != nil {
					return 0, err
				}
				return h.peer(ctx, "mlx-lm", key, "bench_mlx.py", append([]string{dir, "train"}, numbers...)...)
			}})
		}
		return out
	}
	goal := "1.5 x PEFT"
	if mlx {
		goal += ", 5 x mlx-lm"
	}
	return []work{
		{name: what, unit: "tokens/s", goal: goal, sides: sides("train_tps")},
		{name: what + ", peak memory", unit: "bytes", lower: true, goal: "0.6 x PEFT", sides: sides("peak_bytes")},
	}
}

// packing compares tokens learnt per second of rows of many lengths, packed, and
// padded to the longest.
func (h *harness) packing(shape string) work {
	lengths := []int{30, 75, 140, 210, 260, 330, 420, 500}
	padded := slices.Repeat([]int{slices.Max(lengths)}, len(lengths))
	run := func(name string, rows []int) side {
		return side{name, func(ctx context.Context) (float64, error) {
			dir, err := h.model(shape)
			if err != nil {
				return 0, err
			}
			seconds, err := stepSeconds(ctx, dir, rows, h.threads)
			tokens := 0
			for _, n := range lengths {
				tokens += n
			}
			return float64(tokens) / seconds, err
		}}
	}
	return work{name: "rows of 30 to 500 tokens, " + shape + ", packed against padded", unit: "tokens/s", goal: "1.25 x padded",
		sides: []side{run("lentil", lengths), run("padded", padded)}}
}

var ofTheFirst = regexp.MustCompile(`([0-9.]+) of_the_first`)

// secondEpoch is the benchmark in package train.
func (h *harness) secondEpoch(ctx context.Context) (float64, error) {
	return h.ratio(ctx, ofTheFirst, "./train", "SecondEpoch")
}

var timesAsFast = regexp.MustCompile(`([0-9.]+) times_as_fast`)

// together is the benchmark in package bench.
func (h *harness) together(ctx context.Context, mode string) (float64, error) {
	return h.ratio(ctx, timesAsFast, "./bench", "Together/"+mode)
}

// ratio is what a Go benchmark reports.
func (h *harness) ratio(ctx context.Context, pattern *regexp.Regexp, pkg, name string) (float64, error) {
	text, err := h.output(ctx, "go", "test", pkg, "-run", "^$", "-bench", name, "-benchtime", "3x")
	if err != nil {
		return 0, err
	}
	found := pattern.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("no ratio in %q", text)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// number picks a number out of figures.
func number(key string) func(map[string]any, error) (float64, error) {
	return func(figures map[string]any, err error) (float64, error) {
		if err != nil {
			return 0, err
		}
		v, ok := figures[key].(float64)
		if !ok {
			return 0, fmt.Errorf("no %s among the figures %v", key, figures)
		}
		return v, nil
	}
}

// peer runs a Python script of a peer.
func (h *harness) peer(ctx context.Context, name, key, script string, args ...string) (float64, error) {
	python, ok := h.peers[name]
	if !ok {
		return 0, errAbsent
	}
	return number(key)(h.figures(ctx, python, append([]string{filepath.Join("interop", "peer", script)}, args...)...))
}

// llama runs llama.cpp on the same weights, stored as a type of GGUF's.
func (h *harness) llama(ctx context.Context, shape, kind, key, prompt, generated string) (float64, error) {
	if h.peers["llama.cpp"] == "" {
		return 0, errAbsent
	}
	path, err := h.gguf(shape, kind)
	if err != nil {
		return 0, err
	}
	return h.peer(ctx, "llama.cpp", key, "bench_llama.py", path, fmt.Sprint(h.threads), prompt, generated)
}

// model makes the random weights of a shape once.
func (h *harness) model(shape string) (dir string, err error) {
	dir = filepath.Join(h.work, shape)
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return dir, nil
	}
	s, err := bench.FindShape(shape)
	if err != nil {
		return "", err
	}
	return dir, s.Write(dir, 4, 64)
}

// gguf writes the same weights as a type of GGUF's, with a tokenizer that nothing asks.
func (h *harness) gguf(shape, name string) (path string, err error) {
	path = filepath.Join(h.work, shape+"."+name+".gguf")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	src, tok, err := h.source(shape)
	if err != nil {
		return "", err
	}
	defer src.Close()
	kind, err := export.ParseGGUFType(name)
	if err != nil {
		return "", err
	}
	_, err = export.GGUF(src, tok, export.GGUFOptions{Path: path, Type: kind})
	return path, err
}
