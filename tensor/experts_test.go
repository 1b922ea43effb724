package tensor_test

import (
	"math"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// moe is a routed MLP: what its parts are, and which of them are trained.
type moe struct {
	k                   int
	normalize           bool
	trained             bool // the experts' matrices
	lora                int  // the rank of their updates, 0 for none
	dropout             float32
	frozenX, checkpoint bool
}

const experts, hidden, middle = 4, 32, 32

// graph is router, route, gate, up, SwiGLU, down, combine.
func (m moe) graph(b *bench) graph {
	x, router := b.param(rows, hidden), b.weight(experts, hidden)
	if m.frozenX {
		x.SetTrainable(false)
		b.params = b.params[1:]
	}
	linear := func(out, in int) func(t *tensor.Tape, x, ids *tensor.Tensor) *tensor.Tensor {
		w := b.frozen
		if m.trained {
			w = b.weight
		}
		stack := w(experts*out, in)
		if m.lora == 0 {
			return func(t *tensor.Tape, x, ids *tensor.Tensor) *tensor.Tensor {
				return t.ExpertLinear(x, stack, ids, experts)
			}
		}
		low, up := b.param(experts*m.lora, in), b.param(experts*out, m.lora)
		return func(t *tensor.Tape, x, ids *tensor.Tensor) *tensor.Tensor {
			return t.ExpertLinearLowRank(x, stack, ids, experts, low, up, 0.5, m.dropout)
		}
	}
	gate, up, down := linear(middle, hidden), linear(middle, hidden), linear(vocab, middle)
	mlp := func(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
		ids, scores := t.Route(t.Linear(x, router, nil), m.k, m.normalize)
		return t.Combine(down(t, t.SwiGLU(gate(t, x, ids), up(t, x, ids)), ids), scores)
	}
	return func(t *tensor.Tape) *tensor.Tensor {
		if m.checkpoint {
			return ending(t, t.Checkpoint(x, func(x *tensor.Tensor) *tensor.Tensor { return mlp(t, x) }))
		}
		return ending(t, mlp(t, x))
	}
}

// TestExpertsAgree: a token's row by experts is that of ordinary products with their
// matrices, and nothing is left behind.
func TestExpertsAgree(t *testing.T) {
	t.Parallel()
	const tokens, k, out, in = 6, 2, 5, 64
	dev := newCPU(t)
	b, tape := newBench(t, dev), tensor.NewTape(dev)
	stack := b.frozen(experts*out, in)
	host, err := stack.Host(dev)
	if err != nil {
		t.Fatal(err)
	}
	host.Experts = experts
	before := used(dev)
	tape.Exact = true
	tape.Scope(func() *tensor.Tensor {
		x := tape.Floats(b.values(tokens*in), tokens, in)
		ids, scores := tape.Route(tape.Floats(b.values(tokens*experts), tokens, experts), k, true)
		y := tape.ExpertLinear(x, stack, ids, experts)
		got, combined, weights := tape.Read(y), tape.Read(tape.Combine(y, scores)), tape.Read(scores)
		picked := make([]int32, tokens*k)
		if err := dev.Read(ids.Buffer(), compute.IntBytes(picked)); err != nil {
			t.Fatal(err)
		}
		sum := make([]float32, tokens*out)
		for i, e := range picked {
			w, err := tensor.ImportWeight(dev, expertOf(host, int(e)))
			if err != nil {
				t.Fatal(err)
			}
			want := tape.Read(tape.Linear(x, w, nil))[i/k*out : (i/k+1)*out]
			w.Free()
			for j, v := range want {
				if !near(got[i*out+j], v) {
					t.Errorf("pair %d of expert %d, value %d: %v, a product with its matrix gives %v", i, e, j, got[i*out+j], v)
				}
				sum[i/k*out+j] += weights[i] * v
			}
		}
		if !slices.EqualFunc(combined, sum, near) {
			t.Errorf("combined %v, want %v", combined, sum)
		}
		return nil
	})
	if err := tape.Err(); err != nil {
		t.Fatal(err)
	}
	if now := used(dev); now != before {
		t.Errorf("%d bytes live afterwards, %d before", now, before)
	}
}

// expertOf is one matrix of a stack.
func expertOf(m *quant.Matrix, i int) *quant.Matrix {
	part := func(b []byte) []byte { return b[i*len(b)/m.Experts : (i+1)*len(b)/m.Experts] }
	return &quant.Matrix{Format: m.Format, Rows: m.Rows / m.Experts, Cols: m.Cols, Data: part(m.Data), Scales: part(m.Scales), Biases: part(m.Biases)}
}

// near allows for the order of a sum of 64 terms of about one.
func near(a, b float32) bool { return math.Abs(float64(a-b)) <= 1e-5 }
