package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// card lists the works on a GPU: LoRA steps beside PEFT and what was measured of Unsloth, and answers.
func (h *harness) card() []work {
	const shape = "ministral-8b"
	if h.device == "" || h.device == onMLX || !h.shapes[shape] {
		return nil
	}
	var all []work
	for _, w := range []struct {
		length, layers int
		goal, room     string
		// Unsloth 2026.10.9, 4 bits, on an H200 in November 2026
		unsloth, gib float64
	}{
		{512, 16, "24000 tokens/s", "10 GiB", 12878, 12.9},
		{2048, 16, "24000 tokens/s", "18 GiB", 16641, 33.5},
		{512, -1, "", "", 0, 0},
	} {
		what := fmt.Sprintf("LoRA step on %s, %s, batch 4 x %d, last %d layers", h.device, shape, w.length, w.layers)
		if w.layers < 0 {
			what = fmt.Sprintf("LoRA step on %s, %s, batch 4 x %d, all layers", h.device, shape, w.length)
		}
		sides := func(key string, unsloth float64) []side {
			list := []side{{"lentil", func(ctx context.Context) (float64, error) {
				return h.onCard(ctx, shape, key, "--train", "-b", "4", "--seq-length", fmt.Sprint(w.length), "--num-layers", fmt.Sprint(w.layers))
			}}}
			for _, kind := range []string{"bf16", "NF4"} {
				list = append(list, side{"PEFT " + kind, func(ctx context.Context) (float64, error) {
					dir, err := h.model(shape)
					if err != nil {
						return 0, err
					}
					if h.cardPython == "" {
						return 0, errAbsent
					}
					script := filepath.Join("interop", "peer", "bench_peft_gpu.py")
					return number(fmt.Sprintf("%s %d %s", kind, w.length, key))(h.figures(ctx, h.cardPython, script, "--json", dir, "4", fmt.Sprint(w.layers), fmt.Sprint(w.length)))
				}})
			}
			if unsloth > 0 {
				list = append(list, side{"Unsloth (measured before)", func(context.Context) (float64, error) { return unsloth, nil }})
			}
			return list
		}
		all = append(all, work{name: what, unit: "tokens/s", goal: w.goal, sides: sides("train_tps", w.unsloth)},
			work{name: what + ", peak memory", unit: "bytes", lower: true, goal: w.room, sides: sides("peak_bytes", w.gib*(1<<30))})
	}
	for _, w := range []struct {
		what, key, goal string
		args            []string
	}{
		{"prompt of 4096 tokens", "prompt_tps", "30000 tokens/s", []string{"-p", "4096", "-g", "2"}},
		{"512 tokens behind a prompt of 512", "generation_tps", "", []string{"-p", "512", "-g", "512"}},
		{"32 answers together", "generation_tps", "12 x one", []string{"-p", "512", "-g", "128", "-b", "32"}},
	} {
		all = append(all, work{name: fmt.Sprintf("%s on %s, %s", w.what, h.device, shape), unit: "tokens/s", goal: w.goal,
			sides: []side{{"lentil", func(ctx context.Context) (float64, error) { return h.onCard(ctx, shape, w.key, w.args...) }}}})
	}
	return all
}

// onCard is a figure of lentil benchmark on the GPU: the mean of three, as the first may still make graphs.
func (h *harness) onCard(ctx context.Context, shape, key string, args ...string) (float64, error) {
	dir, err := h.model(shape)
	if err != nil {
		return 0, err
	}
	return number(key)(h.lentil(ctx, append([]string{"--model", dir, "--device", h.device, "-n", "3"}, args...)...))
}
