package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/quant"
)

// onMLX is the device that is measured beside mlx-lm, over the same build of MLX.
const onMLX = "mlx"

// A precision is how the weights of a shape are stored for MLX.
type precision struct {
	name string
	export.ConvertOptions
	env   []string
	steps int // of training
}

// precisions are bf16 and 4 bits. On a processor both sides round as mlx-lm does in bf16, and have 4 bits with scales in
// float32: its products with others take ten times as long, and those still minutes for a few steps.
func (h *harness) precisions() []precision {
	bf16 := precision{name: "bf16", steps: 30, ConvertOptions: export.ConvertOptions{Dequantize: true, DType: quant.BF16}}
	four := precision{name: "4 bits", steps: 30, ConvertOptions: export.ConvertOptions{DType: quant.BF16}}
	if h.built() {
		bf16.env, four.DType = []string{"LENTIL_MLX_ROUND=1"}, quant.F32
		four.steps = 6
	}
	return []precision{bf16, four}
}

// mlxBuild is MLX's build for processors, which interop/mlx.sh makes.
func (h *harness) mlxBuild(path ...string) string {
	return filepath.Join(append([]string{h.root, ".interop", "mlx"}, path...)...)
}

// built reports whether it is there. On a Mac it is not: the peers' MLX and Homebrew's are taken, on the GPU.
func (h *harness) built() bool {
	_, err := os.Stat(h.mlxBuild("lib"))
	return err == nil
}

// over is the harness whose programs compute in a precision, with one build of MLX.
func (h *harness) over(p precision) *harness {
	c := *h
	c.env = append([]string{}, p.env...)
	if h.built() {
		c.env = append(c.env, "LENTIL_MLXC="+h.mlxBuild("lib", "libmlxc.so"), "PYTHONPATH="+h.mlxBuild("python"))
	}
	return &c
}

// besideMLXLM lists the works on MLX: answers, and some steps of training.
func (h *harness) besideMLXLM(shape string) []work {
	if h.device != onMLX || !h.shapes[shape] {
		return nil
	}
	const prompt, generated, goal = "8", "24", "1.0 x mlx-lm"
	var all []work
	for _, p := range h.precisions() {
		of := fmt.Sprintf("%s in %s on MLX", shape, p.name)
		pair := func(name, unit string, lower bool, mine, other func(ctx context.Context, h *harness, dir string) (float64, error)) {
			w := work{name: name + ", " + of, unit: unit, lower: lower, goal: goal}
			for _, s := range []struct {
				name string
				run  func(ctx context.Context, h *harness, dir string) (float64, error)
			}{{"lentil", mine}, {"mlx-lm", other}} {
				w.sides = append(w.sides, side{s.name, func(ctx context.Context) (float64, error) {
					dir, err := h.forMLX(shape, p)
					if err != nil {
						return 0, err
					}
					return s.run(ctx, h.over(p), dir)
				}})
			}
			all = append(all, w)
		}
		pair("decoding "+generated+" tokens behind a prompt of "+prompt, "tokens/s", false,
			func(ctx context.Context, h *harness, dir string) (float64, error) {
				return number("generation_tps")(h.lentil(ctx, "--device", onMLX, "--model", dir, "-p", prompt, "-g", generated))
			},
			func(ctx context.Context, h *harness, dir string) (float64, error) {
				return h.peer(ctx, "mlx-lm", "generation_tps", "bench_mlx.py", dir, "as-is", "answer", prompt, generated)
			})
		for _, figure := range []struct {
			what, key, unit string
			lower           bool
		}{
			{fmt.Sprintf("the last third of %d LoRA steps", p.steps), "train_tps", "tokens/s", false},
			{fmt.Sprintf("processor time of %d LoRA steps, start included", p.steps), "processor_seconds", "s", true},
		} {
			train := func(command func(h *harness) []string) func(ctx context.Context, h *harness, dir string) (float64, error) {
				return func(ctx context.Context, h *harness, dir string) (float64, error) {
					return number(figure.key)(h.trained(ctx, command(h), dir, p.steps))
				}
			}
			pair(figure.what, figure.unit, figure.lower,
				train(func(h *harness) []string { return []string{h.program(), "lora", "--device", onMLX} }),
				train(func(h *harness) []string {
					return []string{h.peers["mlx-lm"], filepath.Join("interop", "peer", "bench_mlx_lora.py")}
				}))
		}
	}
	return all
}

// forMLX makes the weights of a shape in a precision once.
func (h *harness) forMLX(shape string, p precision) (dir string, err error) {
	return h.converted(shape, fmt.Sprintf("%s.mlx.%s.%s", shape, strings.ReplaceAll(p.name, " ", "-"), p.DType), p.ConvertOptions)
}

var learntPerSecond = regexp.MustCompile(`Tokens/sec ([0-9.]+)`)

// trained runs a command of mlx-lm's form, which trains all layers on rows of 32 tokens, one at a time.
func (h *harness) trained(ctx context.Context, command []string, dir string, steps int) (map[string]any, error) {
	if command[0] == "" {
		return nil, errAbsent
	}
	data := filepath.Join(h.work, "rows")
	if err := writeRows(data); err != nil {
		return nil, err
	}
	args := append(command[1:], "--train", "--model", dir, "--data", data, "--iters", fmt.Sprint(steps), "--batch-size", "1",
		"--num-layers", "-1", "--steps-per-report", fmt.Sprint(steps/3), "--steps-per-eval", "1000", "--val-batches", "1")
	return h.once(func() (map[string]any, error) {
		adapter, err := os.MkdirTemp(h.work, "adapter")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(adapter)
		text, spent, err := h.timed(ctx, command[0], append(args, "--adapter-path", adapter)...)
		if err != nil {
			return nil, err
		}
		found := learntPerSecond.FindAllSubmatch(text, -1)
		if len(found) == 0 {
			return nil, fmt.Errorf("no speed in %q", text)
		}
		rate, err := strconv.ParseFloat(string(found[len(found)-1][1]), 64)
		return map[string]any{"train_tps": rate, "processor_seconds": spent.Seconds()}, err
	}, append([]string{command[0]}, args...)...)
}

// writeRows makes a data folder of rows of 32 tokens by the tokenizer of source, to which mlx-lm pads batches.
func writeRows(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var rows bytes.Buffer
	for i := range 40 {
		row, err := json.Marshal(map[string]string{"text": fmt.Sprintf("Lentils, beans and peas are pulses. %02d beans, lentils and peas are %02d pulses. Beans are pulses", i, 40-i)})
		if err != nil {
			return err
		}
		rows.Write(append(row, '\n'))
	}
	for _, name := range []string{"train.jsonl", "valid.jsonl"} {
		if err := os.WriteFile(filepath.Join(dir, name), rows.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
