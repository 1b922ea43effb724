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
}

// Linear is y = base(x) + adapter(x), base(x) = x Wᵀ + bias.
type Linear struct {
	Name    string // module path, e.g. "model.layers.0.self_attn.q_proj"
	Weight  *tensor.Weight
	Bias    *tensor.Tensor // nil for none
	Adapter Adapter        // nil for none
}

// Adapter is what can be attached to a Linear.
type Adapter interface {
	// Forward is the output for x of l, which it is attached to: base and
	// adapter.
	Forward(t *tensor.Tape, l *Linear, x *tensor.Tensor) *tensor.Tensor
	// Params are the adapter's tensors under the module's name.
	Params() []Param
	Free()
}

// Forward is [T, in] -> [T, out].
func (l *Linear) Forward(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
	if l.Adapter != nil {
		return l.Adapter.Forward(t, l, x)
	}
	return t.Linear(x, l.Weight, l.Bias)
}

// In and Out are the widths of input and output.
func (l *Linear) In() int  { return l.Weight.Cols }
func (l *Linear) Out() int { return l.Weight.Rows }

// LoRA is a low-rank update: scale · (dropout(x) A) B (Hu et al., 2021), with
// the shapes and names of mlx-lm.
type LoRA struct {
	Name    string
	A, B    *tensor.Tensor // [in, r], [r, out]
	Scale   float32        // multiplies directly; alpha/r in PEFT's terms
	Dropout float32

	Magnitude *Magnitude // makes it a DoRA; nil for a plain LoRA
}

// NewLoRA makes a trainable update of l from the values of a [in, r] and b
// [r, out]; nil b is zeros, which leaves the model as it is.
func NewLoRA(dev compute.Device, l *Linear, rank int, scale, dropout float32, a, b []float32) (*LoRA, error) {
	if b == nil {
		b = make([]float32, rank*l.Out())
	}
	at, err := tensor.NewFloats(dev, compute.Shape{l.In(), rank}, a)
	if err != nil {
		return nil, err
	}
	bt, err := tensor.NewFloats(dev, compute.Shape{rank, l.Out()}, b)
	if err != nil {
		at.Free()
		return nil, err
	}
	at.SetTrainable(true)
	bt.SetTrainable(true)
	return &LoRA{Name: l.Name, A: at, B: bt, Scale: scale, Dropout: dropout}, nil
}

// Forward is base(x) + Scale · (x A) B, with the magnitude of a DoRA.
func (l *LoRA) Forward(t *tensor.Tape, base *Linear, x *tensor.Tensor) *tensor.Tensor {
	if m := l.Magnitude; m != nil {
		y := t.LinearLowRank(x, base.Weight, nil, l.A, l.B, l.Scale, l.Dropout)
		return t.Magnitude(y, m.M, m.norm, base.Bias)
	}
	return t.LinearLowRank(x, base.Weight, base.Bias, l.A, l.B, l.Scale, l.Dropout)
}

// Params are lora_a and lora_b, and m of a DoRA.
func (l *LoRA) Params() []Param {
	params := []Param{{l.Name + ".lora_a", l.A}, {l.Name + ".lora_b", l.B}}
	if l.Magnitude != nil {
		params = append(params, Param{l.Name + ".m", l.Magnitude.M})
	}
	return params
}

// Free gives the tensors back.
func (l *LoRA) Free() {
	l.A.Free()
	l.B.Free()
	l.Magnitude.free()
}
