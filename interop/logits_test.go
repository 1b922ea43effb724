package interop

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

const (
	// Both sides compute in float32 over the same stored weights, with sums of at
	// most 256 terms in another order: 1e-6 of the logits' range is measured.
	tolerance = 1e-5
	// Keys and values rounded to float16 in between: 2^-11 relative a value,
	// which the layers above make two or three times larger.
	halfCacheTolerance = 2e-3
)

func ids(a array) []int32 {
	out := make([]int32, len(a.data)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(a.data[4*i:]))
	}
	return out
}

// forward gives the logits of all tokens at once, without a cache: [T, vocab].
func forward(t *testing.T, m *model.Model, tokens []int32) []float32 {
	t.Helper()
	tape := tensor.NewTape(m.Device())
	tape.Exact = true
	var logits []float32
	tape.Scope(func() *tensor.Tensor {
		x, pass := m.Begin(tape, model.Sequence(tokens, 0), nil)
		x = m.Layers(tape, x, pass, 0, len(m.Blocks), false)
		logits = tape.Read(m.Logits(tape, m.Final(tape, x)))
		return nil
	})
	if err := tape.Err(); err != nil {
		t.Fatal(err)
	}
	return logits
}

// cached gives the same logits through a KV cache, tokens going in by pieces of
// the given lengths (the last one repeated). Only the last token of each piece has
// logits; the others stay zero.
func cached(t *testing.T, m *model.Model, tokens []int32, dtype compute.DType, pieces ...int) []float32 {
	t.Helper()
	cache, err := m.NewCache(0, dtype)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Free()
	vocab := m.Config.VocabSize
	out := make([]float32, len(tokens)*vocab)
	tape := tensor.NewTape(m.Device())
	tape.Exact = true
	for at := 0; at < len(tokens); {
		n := min(pieces[0], len(tokens)-at)
		if len(pieces) > 1 {
			pieces = pieces[1:]
		}
		copy(out[(at+n-1)*vocab:], step(t, tape, m, tokens[at:at+n], cache))
		at += n
	}
	return out
}

func step(t *testing.T, tape *tensor.Tape, m *model.Model, tokens []int32, cache *nn.Cache) []float32 {
	t.Helper()
	tape.Reset(false)
	var logits []float32
	tape.Scope(func() *tensor.Tensor {
		logits = tape.Read(m.Step(tape, tokens, cache))
		return nil
	})
	if err := tape.Err(); err != nil {
		t.Fatal(err)
	}
	return logits
}

// furthest is the largest difference over the rows that got has, and where it is.
// The last row must be there.
func furthest(got, want []float32, vocab int) (worst float64, row int) {
	for r := range len(want) / vocab {
		g, w := got[r*vocab:(r+1)*vocab], want[r*vocab:(r+1)*vocab]
		if allZero(g) && (r+1)*vocab < len(want) {
			continue
		}
		for i := range g {
			if d := math.Abs(float64(g[i]) - float64(w[i])); !(d <= worst) { // NaN counts
				worst, row = d, r
			}
		}
	}
	return worst, row
}

func allZero(v []float32) bool {
	for _, x := range v {
		if x != 0 {
			return false
		}
	}
	return true
}

func testLogits(t *testing.T, folder string) {
	m := open(t, folder, "")
	golden := readArrays(t, filepath.Join(folder, "golden.safetensors"))
	tokens, want := ids(golden["ids"]), golden["logits"].values
	width := float64(slices.Max(want) - slices.Min(want))
	vocab := m.Config.VocabSize
	if len(want) != len(tokens)*vocab || len(tokens) < 8 {
		t.Fatalf("golden has %d logits for %d tokens of a vocabulary of %d", len(want), len(tokens), vocab)
	}
	check := func(name string, got []float32, limit float64) {
		t.Helper()
		worst, row := furthest(got, want, vocab)
		t.Logf("%s: furthest by %.1e (token %d), allowed %.1e", name, worst, row, limit)
		if !(worst <= limit) {
			t.Errorf("%s: logits of token %d differ by %.3g, allowed %.3g", name, row, worst, limit)
		}
	}
	check("one pass", forward(t, m, tokens), width*tolerance)
	check("cache, token by token", cached(t, m, tokens, compute.F32, 1), width*tolerance)
	check("cache, prefill in pieces", cached(t, m, tokens, compute.F32, 17, 5, 1, 9, 1), width*tolerance)
	check("float16 cache", cached(t, m, tokens, compute.F16, 1), width*halfCacheTolerance)
}

// Proof 1: tiny random models of every model_type, saved by transformers.
func TestLogitsOfTransformers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"llama", "llama-bias", "llama-yarn", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "qwen3_moe-raw", "smollm3"} {
		t.Run(name, func(t *testing.T) {
			testLogits(t, "testdata/models/"+name)
		})
	}
}

// Proof 1, for models that mlx-lm quantized.
func TestLogitsOfMLX(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"llama-4bit", "llama-4bit-bf16", "qwen3-mixed-3-6", "qwen2-every-width", "llama-dense", "mixtral-4bit", "qwen3_moe-4bit"} {
		t.Run(name, func(t *testing.T) {
			testLogits(t, "testdata/mlx/"+name)
		})
	}
}

// mx.quantize on the CPU, for each width, group and type of scales: the same bits.
func TestPackedAsMLX(t *testing.T) {
	t.Parallel()
	arrays := readArrays(t, "testdata/mlx/packed.safetensors")
	checked := 0
	for name, q := range arrays {
		key, ok := strings.CutSuffix(name, ".weight")
		if !ok {
			continue
		}
		checked++
		tag, rest, _ := strings.Cut(key, ".")
		w := arrays[tag+".w"]
		rows, cols := w.shape[0], w.shape[1]
		scales, biases := arrays[key+".scales"], arrays[key+".biases"]
		bits, group := q.shape[1]*32/cols, cols/scales.shape[1]
		got, err := quant.QuantizeAffine(w.values, rows, cols, bits, group, w.dtype, quant.RuleCPU)
		if err != nil {
			t.Fatalf("%s %s: %v", key, rest, err)
		}
		if string(got.Data) != string(q.data) || string(got.Scales) != string(scales.data) || string(got.Biases) != string(biases.data) {
			t.Errorf("%s: packed weights, scales or biases are not mx.quantize's", key)
		}
		// Float32 dequantizing has one rounding more or less than MLX's.
		if tag != "f32" {
			continue
		}
		read := &quant.Matrix{Format: got.Format, Rows: rows, Cols: cols, Data: q.data, Scales: scales.data, Biases: biases.data}
		for i, v := range read.Floats() {
			if want := arrays[key+".dequantized"].values[i]; !(math.Abs(float64(v-want)) <= 4e-7*max(1, math.Abs(float64(want)))) {
				t.Fatalf("%s: weight %d reads as %v, MLX reads %v", key, i, v, want)
			}
		}
	}
	if checked != 36 {
		t.Errorf("checked %d matrices, expected 6 widths, 3 groups and 2 types", checked)
	}
}
