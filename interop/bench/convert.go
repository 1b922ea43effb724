package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// converting is the time of storing a model in fewer bits, from start to end of the
// program: as a folder against mlx-lm, as GGUF files against llama.cpp.
func (h *harness) converting(shape string) []work {
	seconds := func(what string, sides ...side) work {
		return work{name: what + ", " + shape, unit: "s", lower: true, goal: "1.0 x the other", sides: sides}
	}
	all := []work{seconds("bfloat16 folder to 4 bits",
		side{"lentil", func(ctx context.Context) (float64, error) {
			return h.convert(ctx, shape, false, func(from, to string) []string {
				return []string{h.program(), "convert", "--model", from, "--mlx-path", to, "-q"}
			})
		}},
		side{"mlx-lm", func(ctx context.Context) (float64, error) {
			if h.peers["mlx-lm"] == "" {
				return 0, errAbsent
			}
			return h.convert(ctx, shape, false, func(from, to string) []string {
				return []string{h.peers["mlx-lm"], "-m", "mlx_lm", "convert", "--hf-path", from, "--mlx-path", to, "-q"}
			})
		}})}
	for _, kind := range []string{"Q8_0", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K"} {
		all = append(all, seconds("F16 GGUF file to "+kind,
			side{"lentil", func(ctx context.Context) (float64, error) {
				return h.convert(ctx, shape, true, func(from, to string) []string {
					return []string{h.program(), "convert", "--model", from, "--mlx-path", to, "--gguf", kind}
				})
			}},
			side{"llama.cpp", func(ctx context.Context) (float64, error) {
				if h.peers["llama.cpp"] == "" {
					return 0, errAbsent
				}
				return h.convert(ctx, shape, true, func(from, to string) []string {
					return []string{h.peers["llama.cpp"], filepath.Join("interop", "peer", "bench_quantize.py"), from, to, kind, fmt.Sprint(h.threads)}
				})
			}}))
	}
	return all
}

// convert times a command that makes to of the dense weights of a shape, which are a
// folder, or a GGUF file in half precision.
func (h *harness) convert(ctx context.Context, shape string, gguf bool, command func(from, to string) []string) (float64, error) {
	from, err := h.dense(shape)
	to := filepath.Join(h.work, "converted")
	if gguf && err == nil {
		to += ".gguf"
		from, err = h.gguf(shape, "F16")
	}
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(to)
	args := command(from, to)
	began := time.Now()
	_, err = h.output(ctx, args[0], args[1:]...)
	return time.Since(began).Seconds(), err
}

// dense makes a bfloat16 folder of the weights of a shape once.
func (h *harness) dense(shape string) (dir string, err error) {
	return h.converted(shape, shape+".bf16", export.ConvertOptions{Dequantize: true, DType: quant.BF16})
}

// converted makes a folder of the weights of a shape once.
func (h *harness) converted(shape, name string, o export.ConvertOptions) (dir string, err error) {
	dir = filepath.Join(h.work, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	src, tok, err := h.source(shape)
	if err != nil {
		return "", err
	}
	defer src.Close()
	o.SavePath = dir
	_, err = export.Convert(src, tok, o)
	return dir, err
}

// source opens the weights of a shape, with a tokenizer that nothing asks.
func (h *harness) source(shape string) (weights.Source, *tokenizer.Tokenizer, error) {
	text := strings.Repeat("Lentils, beans and peas are pulses. ", 50)
	tok, err := tokenizer.Train(slices.Values([]string{text}), tokenizer.TrainOptions{VocabSize: 300, SpecialTokens: []string{"<|end|>"}, EOS: "<|end|>", PAD: "<|end|>"})
	if err != nil {
		return nil, nil, err
	}
	dir, err := h.model(shape)
	if err != nil {
		return nil, nil, err
	}
	src, err := weights.Open(dir)
	return src, tok, err
}
