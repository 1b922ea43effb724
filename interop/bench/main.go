// Bench measures Lentil and what a user would pick instead on the same weights
// and threads, in alternation, and writes docs/benchmarks.md.
//
//	interop/venv.sh && interop/llama.sh      # the peers
//	go run ./interop/bench                   # everything, on a machine with nothing else to do
//	go run ./interop/bench -only gemm -rounds 1 -out -
//
// Peers that are not there are left out by name. PyTorch with PEFT is taken
// from the virtual environment that LENTIL_TORCH names, llama.cpp from the one
// that LENTIL_LLAMA names, with llama-cpp-python built for this processor
// (CMAKE_ARGS=-DGGML_NATIVE=ON). With -device cuda the rows of a GPU are measured
// as well, and PEFT there with the Python that LENTIL_TORCH_GPU names (python3). The weights are random, made once in
// .interop/bench: 4-bit ones that GGUF's Q4_0 and Q4_1 hold exactly.
//
// A computer without Go needs this program built, go.mod and interop/peer beside it, and lentil in the folder that LENTIL_BIN names:
//
//	LENTIL_BIN=DIR DIR/bench -device cuda -only ' on cuda' -out -
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/machine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// harness is what the works share.
type harness struct {
	root     string // of the project
	work     string // folder for weights, and for the program where none is built
	binaries string // folder of the program as it was built before; empty builds it
	threads  int
	limit    time.Duration // of one measurement
	log      io.Writer
	shapes   map[string]bool // to measure
	device   string          // GPU to measure too; empty for none
	peers    map[string]string
	// cardPython is a Python with torch, transformers and peft for the GPU; empty for none.
	cardPython string
	env        []string // of programs, beside this one's
	round      int
	seen       map[string]measured // by round and command
}

// measured is what a command gave: one run may serve several rows of the report.
type measured struct {
	figures map[string]any
	err     error
}

// once runs a measurement that no row of this round has made yet.
func (h *harness) once(run func() (map[string]any, error), command ...string) (map[string]any, error) {
	key := fmt.Sprint(h.round, h.env, command)
	m, ok := h.seen[key]
	if !ok {
		m.figures, m.err = run()
		h.seen[key] = m
	}
	return m.figures, m.err
}

func compare(ctx context.Context, args []string, log io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	pattern := flags.String("only", "", "measure the works whose name matches this `expression`")
	shapes := flags.String("shapes", "smollm2-135m,qwen2.5-0.5b,llama-3.2-1b,ministral-8b", "`names` of shapes to measure")
	rounds := flags.Int("rounds", 5, "`times` that every side is measured, in alternation")
	threads := flags.Int("threads", machine.Cores(), "`threads` of every side")
	out := flags.String("out", "docs/benchmarks.md", "`file` to write; - prints")
	work := flags.String("work", ".interop/bench", "`folder` for weights and programs")
	device := flags.String("device", "", "`name` of a GPU to measure too, as lentil doctor lists it; mlx is measured beside mlx-lm")
	limit := flags.Duration("limit", 20*time.Minute, "`time` after which one measurement is given up")
	if err := flags.Parse(args); err != nil {
		return err
	}
	match, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	h := &harness{threads: *threads, limit: *limit, log: log, shapes: map[string]bool{}, seen: map[string]measured{}, device: *device}
	for name := range strings.SplitSeq(*shapes, ",") {
		h.shapes[name] = true
	}
	if err := h.open(ctx, *work); err != nil {
		return err
	}
	var results []result
	for _, w := range h.works() {
		if !match.MatchString(w.name) {
			continue
		}
		r, err := h.measure(ctx, w, *rounds)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	text := report(h.facts(ctx), append([]string{"go run ./interop/bench"}, args...), results)
	if *out == "-" {
		_, err = io.WriteString(os.Stdout, text)
		return err
	}
	return atomicfile.Write(h.at(*out), []byte(text))
}

// open finds the project and the peers and builds the program.
func (h *harness) open(ctx context.Context, work string) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	for h.root = dir; ; h.root = filepath.Dir(h.root) {
		if _, err := os.Stat(filepath.Join(h.root, "go.mod")); err == nil {
			break
		}
		if h.root == filepath.Dir(h.root) {
			return fmt.Errorf("no go.mod above %s: run this inside the project", dir)
		}
	}
	h.work = h.at(work)
	if err := os.MkdirAll(h.work, 0o755); err != nil {
		return err
	}
	if built := os.Getenv("LENTIL_BIN"); built != "" {
		h.binaries = h.at(built)
	}
	if h.binaries == "" {
		_, err = h.output(ctx, "go", "build", "-o", h.program(), "./cmd/lentil")
	} else if _, err = os.Stat(h.program()); err != nil {
		err = fmt.Errorf("LENTIL_BIN: %w: expected lentil there; leave it unset to build one", err)
	}
	if err != nil {
		return err
	}
	h.peers = map[string]string{}
	venv := filepath.Join(h.root, ".interop", "venv", "bin", "python")
	for name, path := range map[string]string{
		"numpy": venv, "mlx-lm": venv, "llama.cpp": filepath.Join(os.Getenv("LENTIL_LLAMA"), "bin", "python"),
		"PEFT": filepath.Join(os.Getenv("LENTIL_TORCH"), "bin", "python"),
	} {
		if _, err := os.Stat(path); err == nil {
			h.peers[name] = path
		} else {
			fmt.Fprintf(h.log, "%s is not there (%s): left out\n", name, path)
		}
	}
	if h.device != "" && h.device != onMLX {
		python := cmp.Or(os.Getenv("LENTIL_TORCH_GPU"), "python3")
		if _, err := h.output(ctx, python, "-c", "import torch, transformers, peft"); err == nil {
			h.cardPython = python
		} else {
			fmt.Fprintf(h.log, "PEFT on the GPU is left out: %v\n", err)
		}
	}
	return nil
}

// at is a path below the project's root, unless it has a root of its own.
func (h *harness) at(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(h.root, path)
}

func (h *harness) program() string { return filepath.Join(cmp.Or(h.binaries, h.work), "lentil") }

// output runs a command in the project's root and returns what it prints.
func (h *harness) output(ctx context.Context, name string, args ...string) ([]byte, error) {
	text, _, err := h.timed(ctx, name, args...)
	return text, err
}

// timed is output that tells the command's processor time, too.
func (h *harness) timed(ctx context.Context, name string, args ...string) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	n := fmt.Sprint(h.threads)
	cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS="+n, "OMP_NUM_THREADS="+n, "MKL_NUM_THREADS="+n, "HF_HUB_OFFLINE=1")
	cmd.Env = append(cmd.Env, h.env...)
	cmd.Dir = h.root
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // children may hold the pipes
	if err := cmd.Run(); errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, 0, errSlow
	} else if err != nil {
		tail := stderr.Bytes()
		tail = tail[max(0, len(tail)-2000):]
		return nil, 0, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, tail)
	}
	return stdout.Bytes(), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// figures runs a command that prints a JSON object of numbers and texts.
func (h *harness) figures(ctx context.Context, name string, args ...string) (map[string]any, error) {
	return h.once(func() (map[string]any, error) {
		text, err := h.output(ctx, name, args...)
		if err != nil {
			return nil, err
		}
		out := map[string]any{}
		if err := json.Unmarshal(text, &out); err != nil {
			return nil, fmt.Errorf("%s %s: %w in %.200q", filepath.Base(name), strings.Join(args, " "), err, text)
		}
		return out, nil
	}, append([]string{name}, args...)...)
}

// lentil runs `lentil benchmark` and returns the averages of its figures.
func (h *harness) lentil(ctx context.Context, args ...string) (map[string]any, error) {
	return h.once(func() (map[string]any, error) { return h.benchmark(ctx, args...) }, append([]string{"lentil"}, args...)...)
}

func (h *harness) benchmark(ctx context.Context, args ...string) (map[string]any, error) {
	path := filepath.Join(h.work, "figures.json")
	defer os.Remove(path)
	if _, err := h.output(ctx, h.program(), append([]string{"benchmark", "-n", "1", "--threads", fmt.Sprint(h.threads), "--json", path}, args...)...); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var got struct {
		Averages map[string]any `json:"averages"`
		Device   map[string]any `json:"device"`
		Achieved []struct {
			Name      string  `json:"name"`
			Bandwidth float64 `json:"gigabytes_per_second"`
		} `json:"achieved"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return nil, err
	}
	out := got.Averages
	if peak, ok := out["peak_memory"].(float64); ok {
		out["peak_bytes"] = peak * 1e9
	}
	if peak, ok := got.Device["gigabytes_per_second"].(float64); ok && peak > 0 {
		for _, p := range got.Achieved {
			out[p.Name+"_of_bandwidth"] = p.Bandwidth / peak
		}
	}
	return out, nil
}
