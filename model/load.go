package model

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// loader builds a model from named tensors; its first error sticks.
type loader struct {
	src  weights.Source
	dev  compute.Device
	used map[string]bool // tensors asked for
	err  error
}

func (l *loader) model(c *Config, a layout) *Model {
	m := &Model{Config: c, dev: l.dev, src: l.src, Tied: a.tied, Head: &nn.Linear{}}
	freq, scale, err := ropeFrequencies(c, c.headDim(), a.theta, a.scaling)
	l.fail(err)
	if l.err != nil {
		return m
	}
	m.frequencies, l.err = tensor.NewFloats(l.dev, compute.Shape{len(freq)}, freq)
	m.ropeScale = scale

	m.Embed = l.weight("model.embed_tokens", c.HiddenSize, c.VocabSize)
	for i := range c.NumHiddenLayers {
		if l.err != nil {
			return m
		}
		m.Blocks = append(m.Blocks, l.block(c, a, i))
	}
	m.Norm = l.vector("model.norm.weight", c.HiddenSize)
	if m.Tied {
		m.Head = &nn.Linear{Name: "model.embed_tokens", Weight: m.Embed}
	} else {
		m.Head = l.linear("lm_head", c.VocabSize, c.HiddenSize, false)
	}
	return m
}

func (l *loader) block(c *Config, a layout, i int) *nn.Block {
	at := fmt.Sprintf("model.layers.%d.", i)
	h, d := c.HiddenSize, c.headDim()
	q, kv := c.NumAttentionHeads*d, c.kvHeads()*d
	eps := float32(c.RMSNormEps)
	attn := &nn.GQA{
		Heads: c.NumAttentionHeads, KVHeads: c.kvHeads(), HeadDim: d,
		Q:      l.linear(at+"self_attn.q_proj", q, h, a.qkvBias),
		K:      l.linear(at+"self_attn.k_proj", kv, h, a.qkvBias),
		V:      l.linear(at+"self_attn.v_proj", kv, h, a.qkvBias),
		O:      l.linear(at+"self_attn.o_proj", h, q, a.oBias),
		Eps:    eps,
		Scale:  float32(1 / math.Sqrt(float64(d))),
		Window: c.window(i), NoRope: a.noRope != nil && a.noRope(i), Traditional: c.RopeTraditional,
	}
	if a.qkNorm {
		attn.QNorm = l.vector(at+"self_attn.q_norm.weight", d)
		attn.KNorm = l.vector(at+"self_attn.k_norm.weight", d)
	}
	return &nn.Block{
		Index: i, Attention: attn, Eps: eps,
		MLP:       l.feedForward(c, a, i, at),
		InputNorm: l.vector(at+"input_layernorm.weight", h),
		PostNorm:  l.vector(at+"post_attention_layernorm.weight", h),
	}
}

// feedForward is the part of layer i behind its attention; at is the layer's prefix.
func (l *loader) feedForward(c *Config, a layout, i int, at string) nn.FeedForward {
	h := c.HiddenSize
	if m := a.mixture; m != nil && (m.dense == nil || !m.dense(i)) {
		at += m.module + "."
		return &nn.MoE{
			Router: l.linear(at+"gate", m.experts, h, false),
			Gate:   l.experts(at+"switch_mlp.gate_proj", m.experts, m.width, h),
			Up:     l.experts(at+"switch_mlp.up_proj", m.experts, m.width, h),
			Down:   l.experts(at+"switch_mlp.down_proj", m.experts, h, m.width),
			K:      m.perToken, Normalize: m.normalize,
		}
	}
	f := c.IntermediateSize
	return &nn.MLP{
		Gate: l.linear(at+"mlp.gate_proj", f, h, a.mlpBias),
		Up:   l.linear(at+"mlp.up_proj", f, h, a.mlpBias),
		Down: l.linear(at+"mlp.down_proj", h, f, a.mlpBias),
	}
}

// experts is a stack of n matrices.
func (l *loader) experts(name string, n, out, in int) *nn.Linear {
	return &nn.Linear{Name: name, Weight: l.weight(name, in, n, out), Experts: n}
}

func (l *loader) linear(name string, out, in int, bias bool) *nn.Linear {
	n := &nn.Linear{Name: name, Weight: l.weight(name, in, out)}
	if bias {
		n.Bias = l.vector(name+".bias", out)
	}
	return n
}

// weight imports the matrix of a module: cols wide, of rows, or of experts and rows
// of each.
func (l *loader) weight(name string, cols int, rows ...int) *tensor.Weight {
	m := l.matrix(name, append(rows, cols))
	if l.err != nil {
		return nil
	}
	w, err := tensor.ImportWeight(l.dev, m)
	if err != nil {
		l.fail(fmt.Errorf("%s: %w", name, err))
	}
	return w
}

func (l *loader) matrix(name string, shape []int) *quant.Matrix {
	if l.err != nil {
		return nil
	}
	l.used[name+".weight"], l.used[name+".scales"], l.used[name+".biases"] = true, true, true
	if !l.src.Has(name) {
		l.fail(fmt.Errorf("tensor %s.weight is missing; expected %v: is the folder complete?", name, shape))
		return nil
	}
	m, err := l.src.Matrix(name)
	if err != nil {
		l.err = err // it names the source
		return nil
	}
	if !slices.Equal(m.Shape(), shape) {
		l.fail(fmt.Errorf("tensor %s.weight is %v, config.json says %v: weights and config belong to different models", name, m.Shape(), shape))
	}
	return m
}

// vector loads a one-dimensional tensor as F32: norms and biases are small.
func (l *loader) vector(name string, n int) *tensor.Tensor {
	if l.err != nil {
		return nil
	}
	l.used[name] = true
	v, ok := l.src.Tensor(name)
	if !ok {
		l.fail(fmt.Errorf("tensor %s is missing; expected [%d]: is the folder complete?", name, n))
		return nil
	}
	if len(v.Shape) != 1 || v.Shape[0] != n || !v.DType.IsWeight() {
		l.fail(fmt.Errorf("tensor %s is %v %v, config.json says float [%d]: weights and config belong to different models", name, v.DType, v.Shape, n))
		return nil
	}
	values := make([]float32, n)
	quant.Floats(values, v.Data, v.DType)
	x, err := tensor.NewFloats(l.dev, compute.Shape{n}, values)
	l.fail(err)
	return x
}

// Unused tells tensors that models are stored with and do not compute with. tied says
// that the embedding is the head.
func Unused(name string, tied bool) bool {
	return strings.Contains(name, "rotary_emb.inv_freq") || tied && strings.HasPrefix(name, "lm_head.")
}

// unexpected reports tensors that no part of the model uses: a sign that
// config.json describes another model.
func (l *loader) unexpected(tied bool) error {
	var names []string
	for _, n := range l.src.Names() {
		if !l.used[n] && !Unused(n, tied) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil
	}
	shown := names
	if len(shown) > 5 {
		shown = shown[:5]
	}
	return fmt.Errorf("%d tensors have no place in a model of this model_type and config: %s; weights and config.json belong to different models", len(names), strings.Join(shown, ", "))
}

func (l *loader) fail(err error) {
	if l.err == nil && err != nil {
		l.err = fmt.Errorf("%s: %w", l.src.Path(), err)
	}
}
