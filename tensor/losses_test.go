package tensor_test

import (
	"math"
	"testing"

	"github.com/lentil-lm/lentil/tensor"
)

// klTolerance is for float32 probabilities, against float64 ones.
const klTolerance = 1e-5

// TestNear compares the gradient with that of Σ weight·KL(q ‖ p) by the definition, in float64: for logits, and through a head,
// with the other side a constant.
func TestNear(t *testing.T) {
	t.Parallel()
	b := newBench(t, newCPU(t))
	head := b.frozen(vocab, 32)
	for name, width := range map[string]int{"logits": vocab, "head": 32} {
		b.params = nil
		x, other := b.param(rows, width), b.values(rows*width)
		tape := tensor.NewTape(b.dev)
		tape.Exact = true
		// logits of a side, in float64.
		logits := func(v []float32) []float64 {
			if name == "logits" {
				return wide(v)
			}
			out := tape.Read(tape.Linear(tape.Activations(v, rows, width), head, nil))
			return wide(out)
		}
		var drift []float32
		tape.Scope(func() *tensor.Tensor {
			tape.Reset(true)
			y := tape.Activations(other, rows, width)
			if name == "logits" {
				drift = tape.Read(tape.NearLogits(tape.Add(x, tape.Activations(make([]float32, rows*width), rows, width)), y, tape.Ints(targets), rowWeight))
			} else {
				drift = tape.Read(tape.Near(tape.Add(x, tape.Activations(make([]float32, rows*width), rows, width)), y, tape.Ints(targets), rowWeight, head))
			}
			return nil
		})
		if err := tape.Backward(); err != nil {
			t.Fatal(err)
		}
		got := b.gradients()[0]
		values := tape.Read(x)
		tape.Reset(false)
		const h = 1e-3
		for i := 0; i < len(values); i += 3 {
			at := func(d float32) float64 {
				moved := append([]float32{}, values...)
				moved[i] += d
				return divergence(logits(moved), logits(other))
			}
			want := (at(h) - at(-h)) / (2 * h)
			if !(math.Abs(float64(got[i])-want) <= 2e-3*max(1, math.Abs(want))) {
				t.Errorf("%s: gradient %d is %v, want %v", name, i, got[i], want)
			}
		}
		p, q := logits(values), logits(other)
		for r, target := range targets {
			want := logProbability(q[r*vocab:(r+1)*vocab], target) - logProbability(p[r*vocab:(r+1)*vocab], target)
			if !(math.Abs(float64(drift[r])-want) <= klTolerance*10) {
				t.Errorf("%s: row %d is %v off, want %v", name, r, drift[r], want)
			}
		}
	}
}

func wide(x []float32) (out []float64) {
	for _, v := range x {
		out = append(out, float64(v))
	}
	return out
}

// divergence is Σ rowWeight·KL(q ‖ p) of logits [rows, vocab].
func divergence(p, q []float64) (sum float64) {
	for r := range rows {
		for v := range int32(vocab) {
			a, b := logProbability(p[r*vocab:(r+1)*vocab], v), logProbability(q[r*vocab:(r+1)*vocab], v)
			sum += float64(rowWeight[r]) * math.Exp(b) * (b - a)
		}
	}
	return sum
}

func logProbability(logits []float64, v int32) float64 {
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(x)
	}
	return logits[v] - math.Log(sum)
}
