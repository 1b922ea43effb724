package model

import (
	"fmt"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// A store gives a model its tensors by name.
type store interface {
	// weight is the matrix of a module: shape is [out, in], or [experts, out, in].
	weight(module string, shape []int) (*tensor.Weight, error)
	// vector is a norm or bias, F32 [n].
	vector(name string, n int) (*tensor.Tensor, error)
}

// builder puts the parts of a model together; its first error sticks, and nothing is
// asked of the store after it.
type builder struct {
	store store
	err   error
}

// build fills m with the tensors that a model of this architecture has.
func (b *builder) build(m *Model, c *Config, a Architecture) error {
	m.Tied = a.Tied
	m.Embed = b.weight("model.embed_tokens", c.VocabSize, c.HiddenSize)
	m.Head = &nn.Linear{Name: "model.embed_tokens", Weight: m.Embed}
	if !m.Tied {
		m.Head = b.linear("lm_head", c.VocabSize, c.HiddenSize, false)
	}
	m.Norm = b.vector("model.norm.weight", c.HiddenSize)
	for i := 0; i < c.NumHiddenLayers && b.err == nil; i++ {
		m.Blocks = append(m.Blocks, b.block(c, a, i))
	}
	return b.err
}

func (b *builder) block(c *Config, a Architecture, i int) *nn.Block {
	at := fmt.Sprintf("model.layers.%d.", i)
	h, d := c.HiddenSize, a.HeadDim
	q, kv := c.NumAttentionHeads*d, a.KVHeads*d
	eps := float32(c.RMSNormEps)
	attn := &nn.GQA{
		Heads: c.NumAttentionHeads, KVHeads: a.KVHeads, HeadDim: d,
		Q:      b.linear(at+"self_attn.q_proj", q, h, a.QKVBias),
		K:      b.linear(at+"self_attn.k_proj", kv, h, a.QKVBias),
		V:      b.linear(at+"self_attn.v_proj", kv, h, a.QKVBias),
		O:      b.linear(at+"self_attn.o_proj", h, q, a.OBias),
		Eps:    eps,
		Scale:  float32(1 / math.Sqrt(float64(d))),
		Window: a.Windows[i], NoRope: slices.Contains(a.NoRope, i), Traditional: c.RopeTraditional,
	}
	block := &nn.Block{
		Index: i, Attention: attn, Eps: eps,
		MLP:       b.feedForward(c, a, i, at),
		InputNorm: b.vector(at+"input_layernorm.weight", h),
		PostNorm:  b.vector(at+"post_attention_layernorm.weight", h),
	}
	if a.QKNorm {
		attn.QNorm = b.vector(at+"self_attn.q_norm.weight", d)
		attn.KNorm = b.vector(at+"self_attn.k_norm.weight", d)
	}
	return block
}

// feedForward is the part of layer i behind its attention; at is the layer's prefix.
func (b *builder) feedForward(c *Config, a Architecture, i int, at string) nn.FeedForward {
	h := c.HiddenSize
	if x := a.Experts; x.in(i) {
		at += x.Module + "."
		return &nn.MoE{
			Router: b.linear(at+"gate", x.Count, h, false),
			Gate:   b.experts(at+"switch_mlp.gate_proj", x.Count, x.Width, h),
			Up:     b.experts(at+"switch_mlp.up_proj", x.Count, x.Width, h),
			Down:   b.experts(at+"switch_mlp.down_proj", x.Count, h, x.Width),
			K:      x.PerToken, Normalize: x.Normalize,
		}
	}
	f := c.IntermediateSize
	return &nn.MLP{
		Gate: b.linear(at+"mlp.gate_proj", f, h, a.MLPBias),
		Up:   b.linear(at+"mlp.up_proj", f, h, a.MLPBias),
		Down: b.linear(at+"mlp.down_proj", h, f, a.MLPBias),
	}
}

// experts is a stack of n matrices.
func (b *builder) experts(name string, n, out, in int) *nn.Linear {
	return &nn.Linear{Name: name, Weight: b.weight(name, n, out, in), Experts: n}
}

func (b *builder) linear(name string, out, in int, bias bool) *nn.Linear {
	n := &nn.Linear{Name: name, Weight: b.weight(name, out, in)}
	if bias {
		n.Bias = b.vector(name+".bias", out)
	}
	return n
}

// weight is the matrix of a module, nil after an error.
func (b *builder) weight(module string, shape ...int) (w *tensor.Weight) {
	if b.err == nil {
		w, b.err = b.store.weight(module, shape)
	}
	return w
}

// vector is a norm or bias, nil after an error.
func (b *builder) vector(name string, n int) (x *tensor.Tensor) {
	if b.err == nil {
		x, b.err = b.store.vector(name, n)
	}
	return x
}

// shapes is a store without tensors, which lists what it is asked for.
type shapes struct{ list []TensorShape }

func (s *shapes) weight(module string, shape []int) (*tensor.Weight, error) {
	s.list = append(s.list, TensorShape{module + ".weight", shape})
	return nil, nil
}

func (s *shapes) vector(name string, n int) (*tensor.Tensor, error) {
	s.list = append(s.list, TensorShape{name, []int{n}})
	return nil, nil
}
