package model

import (
	"fmt"
	"math"

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

// build fills m with the tensors that a model of its config has.
func build(m *Model, from store) error {
	b := &builder{store: from}
	c, a := m.Config, architectures[m.Config.ModelType](m.Config)
	m.Tied = a.tied
	m.Embed = b.weight("model.embed_tokens", c.VocabSize, c.HiddenSize)
	for i := 0; i < c.NumHiddenLayers && b.err == nil; i++ {
		m.Blocks = append(m.Blocks, b.block(c, a, i))
	}
	m.Norm = b.vector("model.norm.weight", c.HiddenSize)
	if m.Tied {
		m.Head = &nn.Linear{Name: "model.embed_tokens", Weight: m.Embed}
	} else {
		m.Head = b.linear("lm_head", c.VocabSize, c.HiddenSize, false)
	}
	return b.err
}

func (b *builder) block(c *Config, a layout, i int) *nn.Block {
	at := fmt.Sprintf("model.layers.%d.", i)
	h, d := c.HiddenSize, c.headDim()
	q, kv := c.NumAttentionHeads*d, c.kvHeads()*d
	eps := float32(c.RMSNormEps)
	attn := &nn.GQA{
		Heads: c.NumAttentionHeads, KVHeads: c.kvHeads(), HeadDim: d,
		Q:      b.linear(at+"self_attn.q_proj", q, h, a.qkvBias),
		K:      b.linear(at+"self_attn.k_proj", kv, h, a.qkvBias),
		V:      b.linear(at+"self_attn.v_proj", kv, h, a.qkvBias),
		O:      b.linear(at+"self_attn.o_proj", h, q, a.oBias),
		Eps:    eps,
		Scale:  float32(1 / math.Sqrt(float64(d))),
		Window: c.window(i), NoRope: a.noRope != nil && a.noRope(i), Traditional: c.RopeTraditional,
	}
	if a.qkNorm {
		attn.QNorm = b.vector(at+"self_attn.q_norm.weight", d)
		attn.KNorm = b.vector(at+"self_attn.k_norm.weight", d)
	}
	return &nn.Block{
		Index: i, Attention: attn, Eps: eps,
		MLP:       b.feedForward(c, a, i, at),
		InputNorm: b.vector(at+"input_layernorm.weight", h),
		PostNorm:  b.vector(at+"post_attention_layernorm.weight", h),
	}
}

// feedForward is the part of layer i behind its attention; at is the layer's prefix.
func (b *builder) feedForward(c *Config, a layout, i int, at string) nn.FeedForward {
	h := c.HiddenSize
	if m := a.mixture; m != nil && (m.dense == nil || !m.dense(i)) {
		at += m.module + "."
		return &nn.MoE{
			Router: b.linear(at+"gate", m.experts, h, false),
			Gate:   b.experts(at+"switch_mlp.gate_proj", m.experts, m.width, h),
			Up:     b.experts(at+"switch_mlp.up_proj", m.experts, m.width, h),
			Down:   b.experts(at+"switch_mlp.down_proj", m.experts, h, m.width),
			K:      m.perToken, Normalize: m.normalize,
		}
	}
	f := c.IntermediateSize
	return &nn.MLP{
		Gate: b.linear(at+"mlp.gate_proj", f, h, a.mlpBias),
		Up:   b.linear(at+"mlp.up_proj", f, h, a.mlpBias),
		Down: b.linear(at+"mlp.down_proj", h, f, a.mlpBias),
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
