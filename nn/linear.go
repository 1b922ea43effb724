// Package nn holds the parts that decoder models are built of. A part is a
// plain struct of tensors with a Forward method; models put them together.
// Activations are [T, D]: the tokens of one or several packed sequences.
package nn

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tensor"
)

// Param is a named trainable tensor, as it is called in adapter and model files.
type Param struct {
	Name string
	*tensor.Tensor
	Experts int // matrices in a stack [Experts·rows, cols]; 0 for a single one
}

// FileShape is the shape that files have the tensor in: [experts, rows, cols] for a stack.
func (p Param) FileShape() compute.Shape {
	s := p.Shape()
	if p.Experts == 0 {
		return s
	}
	return compute.Shape{p.Experts, s[0] / p.Experts, s[1]}
}

// Linear is y = base(x) + adapter(x), base(x) = x Wᵀ + bias.
//
// With Experts it is a stack of matrices, and each token uses those that the router
// chose for it: see MoE.
type Linear struct {
	Name    string         // module path, e.g. "model.layers.0.self_attn.q_proj"
	Weight  *tensor.Weight // [out, in], or [Experts·out, in]
	Bias    *tensor.Tensor // nil for none
	Adapter Adapter        // nil for none
	Experts int            // matrices in the stack; 0 for an ordinary Linear
}

// Adapter is what can be attached to a Linear.
type Adapter interface {
	// Forward is the output of l, the adapter's part included. ids are the chosen
	// experts [T, K] where l has any, else nil.
	Forward(t *tensor.Tape, l *Linear, x, ids *tensor.Tensor) *tensor.Tensor
	// Params are the adapter's tensors under the module's name.
	Params() []Param
	Free()
}

// Forward is [T, in] -> [T, out].
func (l *Linear) Forward(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
	if l.Adapter != nil {
		return l.Adapter.Forward(t, l, x, nil)
	}
	return t.Linear(x, l.Weight, l.Bias)
}

// project is Forward of several Linears of one input. Ops of one kind come one after another where all adapters allow it.
func project(t *tensor.Tape, x *tensor.Tensor, linears ...*Linear) []*tensor.Tensor {
	list, ys := make([]tensor.Projection, len(linears)), make([]*tensor.Tensor, len(linears))
	for i, l := range linears {
		lora, ok := l.Adapter.(*LoRA)
		switch {
		case l.Adapter == nil:
			list[i] = tensor.Projection{Weight: l.Weight, Bias: l.Bias}
		case ok && lora.Experts == 0:
			list[i] = lora.projection(l)
		default:
			for i, l := range linears {
				ys[i] = l.Forward(t, x)
			}
			return ys
		}
	}
	ys = t.Project(x, list...)
	for i, l := range linears {
		if lora, ok := l.Adapter.(*LoRA); ok {
			ys[i] = lora.finish(t, l, ys[i])
		}
	}
	return ys
}

// ForwardExperts is [T, in] or [T·K, in] -> [T·K, out] for the experts ids [T, K]. A row
// of x goes to all K experts of its token, or, where each has its own, t·K+k to the k-th.
func (l *Linear) ForwardExperts(t *tensor.Tape, x, ids *tensor.Tensor) *tensor.Tensor {
	if l.Adapter != nil {
		return l.Adapter.Forward(t, l, x, ids)
	}
	return t.ExpertLinear(x, l.Weight, ids, l.Experts)
}

// Shape is that of the matrix in files: [out, in], or [Experts, out, in].
func (l *Linear) Shape() []int {
	if l.Experts > 0 {
		return []int{l.Experts, l.Out(), l.In()}
	}
	return []int{l.Out(), l.In()}
}

// In and Out are the widths of input and output.
func (l *Linear) In() int  { return l.Weight.Cols }
func (l *Linear) Out() int { return l.Weight.Rows / max(l.Experts, 1) }

// LoRA is a low-rank update: scale · (dropout(x) A) B (Hu et al., 2021), with
// the shapes and names of mlx-lm.
type LoRA struct {
	Name    string
	A, B    *tensor.Tensor // [in, r], [r, out]; of a stack [Experts·r, in], [Experts·out, r]
	Scale   float32        // multiplies directly; alpha/r in PEFT's terms
	Dropout float32
	Experts int // as the Linear's

	Magnitude *Magnitude // makes it a DoRA; nil for a plain LoRA
}

// NewLoRA makes a trainable update of l. The values a and b have the shapes of A and B;
// nil b is zeros, and then l gives what it gave before.
func NewLoRA(dev compute.Device, l *Linear, rank int, scale, dropout float32, a, b []float32) (*LoRA, error) {
	shapeA, shapeB := compute.Shape{l.In(), rank}, compute.Shape{rank, l.Out()}
	if l.Experts > 0 {
		shapeA, shapeB = compute.Shape{l.Experts * rank, l.In()}, compute.Shape{l.Experts * l.Out(), rank}
	}
	if b == nil {
		b = make([]float32, shapeB.Elems())
	}
	at, err := tensor.NewFloats(dev, shapeA, a)
	if err != nil {
		return nil, err
	}
	bt, err := tensor.NewFloats(dev, shapeB, b)
	if err != nil {
		at.Free()
		return nil, err
	}
	at.SetTrainable(true)
	bt.SetTrainable(true)
	return &LoRA{Name: l.Name, A: at, B: bt, Scale: scale, Dropout: dropout, Experts: l.Experts}, nil
}

// Rank is the number of terms of the update.
func (l *LoRA) Rank() int {
	if l.Experts > 0 {
		return l.B.Cols()
	}
	return l.A.Cols()
}

// Forward is base(x) + Scale · (x A) B, with the magnitude of a DoRA.
func (l *LoRA) Forward(t *tensor.Tape, base *Linear, x, ids *tensor.Tensor) *tensor.Tensor {
	if l.Experts > 0 {
		return t.ExpertLinearLowRank(x, base.Weight, ids, l.Experts, l.A, l.B, l.Scale, l.Dropout)
	}
	return l.finish(t, base, t.Project(x, l.projection(base))[0])
}

// projection is base with the update, but for the magnitude of a DoRA and what follows it.
func (l *LoRA) projection(base *Linear) tensor.Projection {
	p := tensor.Projection{Weight: base.Weight, Bias: base.Bias, A: l.A, B: l.B, Scale: l.Scale, Dropout: l.Dropout}
	if l.Magnitude != nil {
		p.Bias = nil
	}
	return p
}

// finish is what follows projection.
func (l *LoRA) finish(t *tensor.Tape, base *Linear, y *tensor.Tensor) *tensor.Tensor {
	if m := l.Magnitude; m != nil {
		return t.Magnitude(y, m.M, m.norm, base.Bias)
	}
	return y
}

// Params are lora_a and lora_b, and m of a DoRA.
func (l *LoRA) Params() []Param {
	params := []Param{{l.Name + ".lora_a", l.A, l.Experts}, {l.Name + ".lora_b", l.B, l.Experts}}
	if l.Magnitude != nil {
		params = append(params, Param{Name: l.Name + ".m", Tensor: l.Magnitude.M})
	}
	return params
}

// Free gives the tensors back.
func (l *LoRA) Free() {
	l.A.Free()
	l.B.Free()
	l.Magnitude.free()
}
