package nn

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tensor"
)

// Pass is what all layers need to know of one forward pass.
type Pass struct {
	Rotation tensor.Rotation
	Bounds   *tensor.Tensor // I32 [segments+1]; nil with caches
	Caches   *Caches        // nil when training
}

// Attention is the part of a block in which tokens look at those before them.
type Attention interface {
	// Forward is [T, D] -> [T, D]; layer is the index of the block and of its caches.
	Forward(t *tensor.Tape, x *tensor.Tensor, pass Pass, layer int) *tensor.Tensor
	// Linears lists the projections in mlx-lm's order of attachment.
	Linears() []*Linear
	// Norms are the weights of norms by their names in the module, "q_norm"; nil for none.
	Norms() []Param
	// KV is what a cache has to hold.
	KV() KVShape
}

// KVShape is the shape of a layer's keys and values, [tokens, Heads·HeadDim] both, and
// how many of them a token looks at.
type KVShape struct {
	Heads, HeadDim int
	Window         int // newest keys seen, the token's own among them; 0 is all
}

// Cols is how many numbers a token's keys are, and its values.
func (s KVShape) Cols() int { return s.Heads * s.HeadDim }

// GQA is causal self-attention whose query heads share keys and values in groups
// (Ainslie et al., 2023, arXiv 2305.13245).
type GQA struct {
	Heads, KVHeads, HeadDim int
	Q, K, V, O              *Linear
	QNorm, KNorm            *tensor.Tensor // RMSNorm over each head before RoPE; nil for none
	Eps                     float32        // of QNorm and KNorm
	Scale                   float32        // of the scores, usually 1/sqrt(HeadDim)
	Window                  int            // keys seen at most; 0 is all
	NoRope                  bool           // positions are not told (NoPE layers)
	Traditional             bool           // RoPE pairs (2i, 2i+1)
}

// Forward is [T, D] -> [T, D].
func (a *GQA) Forward(t *tensor.Tape, x *tensor.Tensor, pass Pass, layer int) *tensor.Tensor {
	qkv := project(t, x, a.Q, a.K, a.V)
	q, k, v := qkv[0], qkv[1], qkv[2]
	if a.QNorm != nil {
		q, k = t.RMSNorm(q, a.QNorm, a.Eps), t.RMSNorm(k, a.KNorm, a.Eps)
	}
	if !a.NoRope {
		t.RoPE(q, pass.Rotation, a.HeadDim, a.Traditional) // [T, Heads·HeadDim]
		t.RoPE(k, pass.Rotation, a.HeadDim, a.Traditional) // [T, KVHeads·HeadDim]
	}
	op := compute.Attention{Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Scale: a.Scale, Window: a.Window}
	if pass.Caches != nil {
		return a.O.Forward(t, pass.Caches.attend(t, layer, q, k, v, op))
	}
	return a.O.Forward(t, t.Attention(q, k, v, pass.Bounds, op))
}

// Linears are o, v, k and q.
func (a *GQA) Linears() []*Linear { return []*Linear{a.O, a.V, a.K, a.Q} }

// Norms are q_norm and k_norm, or none.
func (a *GQA) Norms() []Param {
	if a.QNorm == nil {
		return nil
	}
	return []Param{{Name: "q_norm", Tensor: a.QNorm}, {Name: "k_norm", Tensor: a.KNorm}}
}

// KV is the shape of k and v.
func (a *GQA) KV() KVShape { return KVShape{Heads: a.KVHeads, HeadDim: a.HeadDim, Window: a.Window} }

// FeedForward is the part of a block that follows its attention: an MLP or a MoE.
type FeedForward interface {
	Forward(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor // [T, D] -> [T, D]
	// Linears lists the projections in mlx-lm's order of attachment.
	Linears() []*Linear
}

// MLP is the gated feed-forward part: down(silu(gate(x)) · up(x)).
type MLP struct{ Gate, Up, Down *Linear }

// Forward is [T, D] -> [T, D].
func (m *MLP) Forward(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
	h := project(t, x, m.Gate, m.Up)
	return m.Down.Forward(t, t.SwiGLU(h[0], h[1]))
}

// Linears are up, down and gate.
func (m *MLP) Linears() []*Linear { return []*Linear{m.Up, m.Down, m.Gate} }

// Block is one decoder layer: attention and a feed-forward part, each after a norm and
// added to its input.
type Block struct {
	Index     int
	Attention Attention
	MLP       FeedForward
	InputNorm *tensor.Tensor
	PostNorm  *tensor.Tensor
	Eps       float32
}

// Forward is [T, D] -> [T, D]; the tape frees or saves what is made on the way.
func (b *Block) Forward(t *tensor.Tape, x *tensor.Tensor, pass Pass) *tensor.Tensor {
	return t.Scope(func() *tensor.Tensor {
		h := t.Scope(func() *tensor.Tensor {
			return t.Add(x, b.Attention.Forward(t, t.RMSNorm(x, b.InputNorm, b.Eps), pass, b.Index))
		})
		return t.Add(h, b.MLP.Forward(t, t.RMSNorm(h, b.PostNorm, b.Eps)))
	})
}

// Linears lists the block's projections in mlx-lm's order of attachment
// (spec: a stack walk over the children in order of definition).
func (b *Block) Linears() []*Linear {
	return append(b.MLP.Linears(), b.Attention.Linears()...)
}
