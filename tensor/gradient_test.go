package tensor_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// Finite differences: a fourth-order formula with a wide step. Its own error is
// of order step⁴; rounding of the float32 losses, divided by the step, adds
// about 1e-5. Both are well below the tolerance, which is relative to the
// largest gradient of a parameter.
const (
	step              = 2e-2
	gradientTolerance = 4e-3
	gradientFloor     = 1e-4
	mostElements      = 24 // tried of each parameter
)

// bench is a device with the parameters of one little graph.
type bench struct {
	*testing.T
	dev    compute.Device
	random *rand.Rand
	params []*tensor.Tensor
}

func newBench(t *testing.T, dev compute.Device) *bench {
	return &bench{T: t, dev: dev, random: rand.New(rand.NewPCG(7, 11))}
}

func newCPU(t *testing.T) *cpu.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.(*cpu.Device).Close() })
	return dev.(*cpu.Device)
}

func (b *bench) values(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(b.random.NormFloat64()) * 0.5
	}
	return v
}

// param makes a trainable tensor.
func (b *bench) param(shape ...int) *tensor.Tensor {
	b.Helper()
	x, err := tensor.NewFloats(b.dev, shape, b.values(compute.Shape(shape).Elems()))
	if err != nil {
		b.Fatal(err)
	}
	x.SetTrainable(true)
	b.Cleanup(x.Free)
	b.params = append(b.params, x)
	return x
}

// weight makes a trainable matrix.
func (b *bench) weight(rows, cols int) *tensor.Weight {
	b.Helper()
	w, err := tensor.TrainableWeight(b.dev, rows, cols, b.values(rows*cols))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Free)
	b.params = append(b.params, w.Param)
	return w
}

// frozen makes a matrix of 4-bit weights.
func (b *bench) frozen(rows, cols int) *tensor.Weight {
	b.Helper()
	m, err := quant.QuantizeAffine(b.values(rows*cols), rows, cols, 4, 32, quant.F32, quant.RuleMetal)
	if err != nil {
		b.Fatal(err)
	}
	w, err := tensor.ImportWeight(b.dev, m)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Free)
	return w
}

// graph ends in the losses of rows tokens.
type graph func(t *tensor.Tape) *tensor.Tensor

const rows, vocab = 5, 7

var targets, rowWeight = []int32{3, 0, 6, 2, 3}, []float32{0.5, 1, 0, 2, 0.25}

// ending is the usual end of a graph: losses over logits [rows, vocab].
func ending(t *tensor.Tape, logits *tensor.Tensor) *tensor.Tensor {
	return t.CrossEntropyLogits(logits, t.Ints(targets), t.Floats(rowWeight))
}

// graphs cover every op of the tape that has a gradient.
var graphs = map[string]func(b *bench) graph{
	"linear with bias": func(b *bench) graph {
		x, w, bias := b.param(rows, 6), b.weight(vocab, 6), b.param(vocab)
		return func(t *tensor.Tape) *tensor.Tensor { return ending(t, t.Linear(x, w, bias)) }
	},
	"low rank beside quantized weight":    func(b *bench) graph { return lowRank(b, 0, false) },
	"low rank with dropout":               func(b *bench) graph { return lowRank(b, 0.4, false) },
	"low rank, bias trained":              func(b *bench) graph { return lowRank(b, 0, true) },
	"low rank with dropout, bias trained": func(b *bench) graph { return lowRank(b, 0.4, true) },
	"low rank, frozen input": func(b *bench) graph {
		x := b.param(rows, 32)
		x.SetTrainable(false)
		w, a, up := b.frozen(vocab, 32), b.param(32, 2), b.param(2, vocab)
		b.params = b.params[1:]
		return func(t *tensor.Tape) *tensor.Tensor {
			return ending(t, t.Project(x, tensor.Projection{Weight: w, A: a, B: up, Scale: 3, Dropout: 0.25})[0])
		}
	},
	"DoRA":                              func(b *bench) graph { return dora(b, 0, false, false) },
	"DoRA with dropout, bias trained":   func(b *bench) graph { return dora(b, 0.4, true, false) },
	"DoRA with dropout in a checkpoint": func(b *bench) graph { return dora(b, 0.4, false, true) },
	"rmsnorm of heads": func(b *bench) graph {
		x, w, out := b.param(rows, 12), b.param(4), b.weight(vocab, 12)
		return func(t *tensor.Tape) *tensor.Tensor {
			return ending(t, t.Linear(t.RMSNorm(x, w, 1e-5), out, nil))
		}
	},
	"rmsnorm of a frozen input": func(b *bench) graph {
		x := b.param(rows, vocab)
		x.SetTrainable(false)
		b.params = b.params[1:]
		w := b.param(vocab)
		return func(t *tensor.Tape) *tensor.Tensor { return ending(t, t.RMSNorm(x, w, 1e-5)) }
	},
	"attention with rope":                   attention,
	"DPO over a frozen head":                func(b *bench) graph { return preference(b, compute.DPO{Beta: 0.7}, b.frozen(vocab, 32)) },
	"DPO over a trained head":               func(b *bench) graph { return preference(b, compute.DPO{Beta: 0.7}, b.weight(vocab, 32)) },
	"ORPO over a frozen head":               func(b *bench) graph { return preference(b, compute.ORPO{Beta: 1.3}, b.frozen(vocab, 32)) },
	"ORPO over logits, with an adapter too": orpoLogits,
	"swiglu": func(b *bench) graph {
		x, gate, up := b.param(rows, 6), b.weight(vocab, 6), b.weight(vocab, 6)
		return func(t *tensor.Tape) *tensor.Tensor {
			return ending(t, t.SwiGLU(t.Linear(x, gate, nil), t.Linear(x, up, nil)))
		}
	},
	"swiglu, gate frozen": func(b *bench) graph {
		x := b.param(rows, 32)
		x.SetTrainable(false)
		b.params = b.params[1:]
		gate, up := b.frozen(vocab, 32), b.weight(vocab, 32)
		return func(t *tensor.Tape) *tensor.Tensor {
			return ending(t, t.SwiGLU(t.Linear(x, gate, nil), t.Linear(x, up, nil)))
		}
	},
	"swiglu of one tensor": func(b *bench) graph {
		x := b.param(rows, vocab)
		return func(t *tensor.Tape) *tensor.Tensor { return ending(t, t.SwiGLU(x, x)) }
	},
	"sums of shared tensors": func(b *bench) graph {
		x, y := b.param(rows, vocab), b.param(rows, vocab)
		return func(t *tensor.Tape) *tensor.Tensor {
			s := t.Add(t.Add(x, y), x)
			return ending(t, t.Add(t.Add(s, s), t.Add(y, s)))
		}
	},
	"tied embedding": func(b *bench) graph {
		w := b.weight(vocab, 6)
		return func(t *tensor.Tape) *tensor.Tensor {
			return t.CrossEntropy(t.Embed(t.Ints([]int32{1, 1, 6, 0, 4}), w), t.Ints(targets), t.Floats(rowWeight), w)
		}
	},
	"frozen head over gathered rows": func(b *bench) graph {
		x, w := b.param(4, 32), b.frozen(vocab, 32)
		return func(t *tensor.Tape) *tensor.Tensor {
			h := t.GatherRows(x, t.Ints([]int32{3, 1, 1, 0, 3}))
			return t.CrossEntropy(h, t.Ints(targets), t.Floats(rowWeight), w)
		}
	},
	"trained head over frozen rows": func(b *bench) graph {
		x := b.param(rows, 6)
		x.SetTrainable(false)
		b.params = b.params[1:]
		w := b.weight(vocab, 6)
		return func(t *tensor.Tape) *tensor.Tensor {
			return t.CrossEntropy(x, t.Ints(targets), t.Floats(rowWeight), w)
		}
	},
	"experts with LoRA":                             moe{k: 2, lora: 3}.graph,
	"experts with LoRA of rank 1, normalized":       moe{k: 3, lora: 1, normalize: true}.graph,
	"experts with LoRA and dropout in a checkpoint": moe{k: 2, lora: 8, dropout: 0.3, checkpoint: true}.graph,
	"experts with LoRA, frozen input":               moe{k: 2, lora: 2, dropout: 0.3, frozenX: true}.graph,
	"trained experts":                               moe{k: 2, trained: true, normalize: true}.graph,
	"trained experts in a checkpoint":               moe{k: 1, trained: true, checkpoint: true}.graph,
	"trained experts with LoRA":                     moe{k: 2, trained: true, lora: 2, frozenX: true}.graph,
	"all experts":                                   moe{k: experts, lora: 2, normalize: true}.graph,
	"projections of one input":                      func(b *bench) graph { return projections(b, true) },
	"sums whose terms change their gradient":        shared,
	"checkpoint":                                    func(b *bench) graph { return residual(b, true) },
	"no checkpoint":                                 func(b *bench) graph { return residual(b, false) },
}

func lowRank(b *bench, dropout float32, trainBias bool) graph {
	bias := b.param(vocab)
	if !trainBias {
		bias.SetTrainable(false)
		b.params = b.params[1:]
	}
	x, w, a, up := b.param(rows, 32), b.frozen(vocab, 32), b.param(32, 2), b.param(2, vocab)
	return func(t *tensor.Tape) *tensor.Tensor {
		return ending(t, t.Project(x, tensor.Projection{Weight: w, Bias: bias, A: a, B: up, Scale: 3, Dropout: dropout})[0])
	}
}

// preference is the loss of a pair whose chosen sequence has three tokens, two of the answer.
func preference(b *bench, op compute.Op, head *tensor.Weight) graph {
	x := b.param(rows, 32)
	return func(t *tensor.Tape) *tensor.Tensor { return ofPair(t, op, t.TokenLosses(x, t.Ints(targets), head)) }
}

func orpoLogits(b *bench) graph {
	x, w, a, up := b.param(rows, 32), b.frozen(vocab, 32), b.param(32, 2), b.param(2, vocab)
	return func(t *tensor.Tape) *tensor.Tensor {
		logits := t.Project(x, tensor.Projection{Weight: w, A: a, B: up, Scale: 3})[0]
		return ofPair(t, compute.ORPO{Beta: 1.3}, t.TokenLossesLogits(logits, t.Ints(targets)))
	}
}

// ofPair ends a graph in the loss of a pair.
func ofPair(t *tensor.Tape, op compute.Op, losses *tensor.Tensor) *tensor.Tensor {
	bounds, other := t.Ints([]int32{0, 3, rows}), t.Ints([]int32{1, 3})
	if _, ok := op.(compute.DPO); ok {
		other = t.Constant(func() *tensor.Tensor { return t.SegmentSums(t.Floats([]float32{1, 2, 1.5, 2.5, 0.25}), bounds) })
	}
	pairs := t.Read(t.Preference(op, losses, bounds, other, t.Floats(rowWeight[:1])))
	return t.Floats(pairs[:min(1, len(pairs))])
}

// attention has grouped heads, two packed sequences, a window and turned q and k.
func attention(b *bench) graph {
	const heads, kvHeads, dim = 4, 2, 4
	x := b.param(rows, 6)
	q, k, v, out := b.weight(heads*dim, 6), b.weight(kvHeads*dim, 6), b.weight(kvHeads*dim, 6), b.weight(vocab, heads*dim)
	op := compute.Attention{Heads: heads, KVHeads: kvHeads, HeadDim: dim, Scale: 0.5, Window: 2}
	return func(t *tensor.Tape) *tensor.Tensor {
		turn := t.RopeTable(t.Ints([]int32{0, 1, 2, 0, 1}), t.Floats([]float32{1, 0.3}), 1.1)
		qx, kx := t.Linear(x, q, nil), t.Linear(x, k, nil)
		t.RoPE(qx, turn, dim, false)
		t.RoPE(kx, turn, dim, true)
		y := t.Attention(qx, kx, t.Linear(x, v, nil), t.Ints([]int32{0, 3, rows}), op)
		return ending(t, t.Linear(y, out, nil))
	}
}

// residual is a small stack: a layer with nothing to train below two with
// dropout, each under a checkpoint or not.
func residual(b *bench, checkpoint bool) graph {
	x := b.param(rows, 32)
	x.SetTrainable(false)
	b.params = b.params[1:]
	below, base, head := b.frozen(32, 32), b.frozen(32, 32), b.frozen(vocab, 32)
	norm := b.param(32)
	var as, bs []*tensor.Tensor
	for range 2 {
		as, bs = append(as, b.param(32, 2)), append(bs, b.param(2, 32))
	}
	return func(t *tensor.Tape) *tensor.Tensor {
		layer := func(x *tensor.Tensor, f func(x *tensor.Tensor) *tensor.Tensor) *tensor.Tensor {
			if checkpoint {
				return t.Checkpoint(x, f)
			}
			return f(x)
		}
		h := layer(x, func(x *tensor.Tensor) *tensor.Tensor { return t.Add(x, t.Linear(x, below, nil)) })
		for i := range as {
			h = layer(h, func(x *tensor.Tensor) *tensor.Tensor {
				n := t.RMSNorm(x, norm, 1e-5)
				return t.Add(x, t.Project(n, tensor.Projection{Weight: base, A: as[i], B: bs[i], Scale: 0.5, Dropout: 0.3})[0])
			})
		}
		return ending(t, t.Linear(h, head, nil))
	}
}

// run records the graph and returns Σ weight·loss; with backward also the gradients.
func (b *bench) run(g graph, backward bool) (float64, [][]float32) {
	b.Helper()
	t := tensor.NewTape(b.dev)
	t.Reset(true)
	t.Keys = compute.NewKey(5)
	var losses []float32
	t.Scope(func() *tensor.Tensor { losses = t.Read(g(t)); return nil })
	var sum float64
	for i, l := range losses {
		sum += float64(l) * float64(rowWeight[i])
	}
	if !backward {
		t.Reset(false)
		return sum, nil
	}
	if err := t.Backward(); err != nil {
		b.Fatal(err)
	}
	return sum, b.gradients()
}

// gradients reads the gradient of every parameter.
func (b *bench) gradients() [][]float32 {
	b.Helper()
	var out [][]float32
	for i, p := range b.params {
		if p.Grad() == nil {
			b.Fatalf("parameter %d %v has no gradient", i, p.Shape())
		}
		g := make([]float32, p.Shape().Elems())
		if err := b.dev.Read(p.Grad(), compute.FloatBytes(g)); err != nil {
			b.Fatal(err)
		}
		out = append(out, g)
	}
	return out
}

// numeric is the derivative of the loss by element k of p.
func (b *bench) numeric(g graph, p *tensor.Tensor, k int) float64 {
	b.Helper()
	values, err := tensor.ReadFloats(b.dev, p)
	if err != nil {
		b.Fatal(err)
	}
	at := func(by float64) float64 {
		moved := slices.Clone(values)
		moved[k] += float32(by)
		if err := b.dev.Write(p.Buffer(), compute.FloatBytes(moved)); err != nil {
			b.Fatal(err)
		}
		sum, _ := b.run(g, false)
		return sum
	}
	d := (8*(at(step)-at(-step)) - (at(2*step) - at(-2*step))) / (12 * step)
	if err := b.dev.Write(p.Buffer(), compute.FloatBytes(values)); err != nil {
		b.Fatal(err)
	}
	return d
}

func TestGradients(t *testing.T) {
	t.Parallel()
	for name, build := range graphs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, newCPU(t))
			g := build(b)
			_, grads := b.run(g, true)
			for i, p := range b.params {
				var largest float64
				for _, v := range grads[i] {
					largest = max(largest, math.Abs(float64(v)))
				}
				every := max(1, len(grads[i])/mostElements)
				for k := 0; k < len(grads[i]); k += every {
					got, want := float64(grads[i][k]), b.numeric(g, p, k)
					if !(math.Abs(got-want) <= gradientTolerance*largest+gradientFloor) {
						t.Errorf("parameter %d %v, element %d: gradient %g, finite differences %g", i, p.Shape(), k, got, want)
					}
				}
			}
		})
	}
}
