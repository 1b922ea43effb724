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
)

// Unfreeze makes all parameters of the last n blocks trainable (n <= 0: of all
// blocks), and with embeddings the embedding, final norm and head too. Their
// master copies are float32. A quantized base has no gradients: it is refused.
func (m *Model) Unfreeze(n int, embeddings bool) error {
	for _, b := range m.LastBlocks(n) {
		for _, l := range b.Linears() {
			if err := m.unfreezeLinear(l); err != nil {
				return err
			}
		}
		for _, v := range blockVectors(b) {
			v.SetTrainable(true)
		}
	}
	if !embeddings {
		return nil
	}
	w, err := m.trainable("model.embed_tokens", m.Embed)
	if err != nil {
		return err
	}
	m.Embed = w
	m.Norm.SetTrainable(true)
	if m.Tied {
		m.Head.Weight = w
		return nil
	}
	return m.unfreezeLinear(m.Head)
}

// LastBlocks are the blocks that training with num_layers n touches.
func (m *Model) LastBlocks(n int) []*nn.Block {
	if n <= 0 || n >= len(m.Blocks) {
		return m.Blocks
	}
	return m.Blocks[len(m.Blocks)-n:]
}

func (m *Model) unfreezeLinear(l *nn.Linear) error {
	w, err := m.trainable(l.Name, l.Weight)
	if err != nil {
		return err
	}
	l.Weight = w
	if l.Bias != nil {
		l.Bias.SetTrainable(true)
	}
	return nil
}

// trainable copies a frozen dense weight into a trainable float32 one.
func (m *Model) trainable(name string, w *tensor.Weight) (*tensor.Weight, error) {
	if w.Format.Kind != quant.Dense {
		return nil, fmt.Errorf("%s is stored as %v: full fine-tuning needs a dense base; use --fine-tune-type lora, or a model that is not quantized", name, w.Format)
	}
	mat, err := w.Host(m.dev)
	if err != nil {
		return nil, err
	}
	t, err := tensor.TrainableWeight(m.dev, w.Rows, w.Cols, mat.Floats())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	w.Free()
	return t, nil
}

// Trainable lists what training changes, by the names that files use: adapter
// tensors, or the parameters that Unfreeze chose.
func (m *Model) Trainable() []nn.Param {
	var out []nn.Param
	add := func(name string, x *tensor.Tensor, experts int) {
		if x != nil && x.Trainable() {
			out = append(out, nn.Param{Name: name, Tensor: x, Experts: experts})
		}
	}
	linear := func(l *nn.Linear) {
		if l.Adapter != nil {
			out = append(out, l.Adapter.Params()...)
		}
		add(l.Name+".weight", l.Weight.Param, l.Experts)
		add(l.Name+".bias", l.Bias, 0)
	}
	add("model.embed_tokens.weight", m.Embed.Param, 0)
	for _, b := range m.Blocks {
		for _, l := range b.Linears() {
			linear(l)
		}
		for _, v := range blockVectors(b) {
			add(v.Name, v.Tensor, 0)
		}
	}
	add("model.norm.weight", m.Norm, 0)
	if !m.Tied {
		linear(m.Head)
	}
	return out
}

// blockVectors are the norm weights of a block, by their names in model files.
func blockVectors(b *nn.Block) []nn.Param {
	at := fmt.Sprintf("model.layers.%d.", b.Index)
	all := []nn.Param{
		{Name: at + "input_layernorm.weight", Tensor: b.InputNorm},
		{Name: at + "post_attention_layernorm.weight", Tensor: b.PostNorm},
	}
	for _, v := range b.Attention.Norms() {
		all = append(all, nn.Param{Name: at + "self_attn." + v.Name + ".weight", Tensor: v.Tensor})
	}
	return all
}

// FirstTrained is the index of the first block whose parameters training
// changes: what the blocks below it compute for a row never changes. It is 0
// when the embedding is trained and the number of blocks when none is.
func (m *Model) FirstTrained() int {
	if m.Embed.Param != nil {
		return 0
	}
	for i, b := range m.Blocks {
		for _, l := range b.Linears() {
			if l.Adapter != nil || l.Weight.Param != nil {
				return i
			}
		}
	}
	return len(m.Blocks)
}

// LoRAConfig is what decides which projections get a low-rank update, and its
// shape: lora_parameters and num_layers of adapter_config.json.
type LoRAConfig struct {
	Rank           int
	Scale, Dropout float32
	Keys           []string // relative to a block, or whole module paths; nil is every projection of a block
	NumLayers      int      // last blocks; <= 0 is all
	DoRA           bool     // with magnitudes
}

// maxRank bounds what a file can make us allocate; useful ranks are far below.
const maxRank = 1 << 13

// AttachLoRA puts a LoRA beside every projection that c chooses, in place of
// what adapters there are, and returns them in the order of attachment. A is
// uniform in ±1/sqrt(in), drawn from the stream keys exactly as mlx-lm draws it;
// B is zero. With DoRA the magnitudes are the norms of the base's rows.
func (m *Model) AttachLoRA(c LoRAConfig, keys compute.Key) ([]*nn.LoRA, error) {
	chosen, err := m.choose(c)
	if err != nil {
		return nil, err
	}
	m.Detach()
	var out []*nn.LoRA
	for _, l := range chosen {
		// mlx-lm draws a throw-away base layer before each lora_a.
		keys, _ = keys.Split()
		var use compute.Key
		keys, use = keys.Split()
		bound := float32(1 / math.Sqrt(float64(l.In())))
		a := use.Uniform(max(l.Experts, 1)*l.In()*c.Rank, -bound, bound)
		lora, err := nn.NewLoRA(m.dev, l, c.Rank, c.Scale, c.Dropout, a, nil)
		if err != nil {
			m.Detach()
			return nil, fmt.Errorf("%s: %w", l.Name, err)
		}
		l.Adapter = lora
		out = append(out, lora)
		if c.DoRA {
			if err := lora.AddMagnitude(m.dev, l); err != nil {
				m.Detach()
				return nil, fmt.Errorf("%s: %w", l.Name, err)
			}
		}
	}
	return out, nil
}

// choose lists the projections that c names: those of the last blocks by
// relative path first, then whole paths anywhere in the model.
func (m *Model) choose(c LoRAConfig) ([]*nn.Linear, error) {
	if c.Rank <= 0 || c.Rank > maxRank {
		return nil, fmt.Errorf("lora_parameters: rank is %d, expected 1 to %d", c.Rank, maxRank)
	}
	if c.NumLayers > len(m.Blocks) {
		return nil, fmt.Errorf("num_layers is %d, but the model has %d layers (-1 is all)", c.NumLayers, len(m.Blocks))
	}
	wanted := map[string]bool{}
	for _, k := range c.Keys {
		wanted[k] = false
	}
	var out []*nn.Linear
	seen := map[*nn.Linear]bool{}
	pick := func(l *nn.Linear, key string) {
		if _, ok := wanted[key]; (ok || c.Keys == nil) && !seen[l] {
			seen[l], wanted[key] = true, true
			out = append(out, l)
		}
	}
	for _, b := range m.LastBlocks(c.NumLayers) {
		at := len(fmt.Sprintf("model.layers.%d.", b.Index))
		for _, l := range b.Linears() {
			pick(l, l.Name[at:])
		}
	}
	if c.Keys != nil {
		for _, l := range m.Linears() {
			pick(l, l.Name)
		}
	}
	for _, k := range c.Keys {
		if !wanted[k] {
			return nil, fmt.Errorf("lora_parameters: key %q names no projection of this model; known are %s%s", k, strings.Join(m.keys(), ", "), headHint(m))
		}
	}
	return out, nil
}

// keys are the names of projections in a block, over all blocks.
func (m *Model) keys() []string {
	var out []string
	for _, b := range m.Blocks {
		at := len(fmt.Sprintf("model.layers.%d.", b.Index))
		for _, l := range slices.Backward(b.Linears()) {
			if key := l.Name[at:]; !slices.Contains(out, key) {
				out = append(out, key)
			}
		}
	}
	return out
}

func headHint(m *Model) string {
	if m.Tied {
		return " (this model's head is its embedding, which cannot take a LoRA)"
	}
	return " and lm_head"
}

// RefreshAdapters computes what adapters derive from their matrices, the norms of
// DoRA. Whoever writes to tensors of Trainable calls it afterwards.
func (m *Model) RefreshAdapters() error {
	t := tensor.NewTape(m.dev)
	for _, l := range m.Adapted() {
		if lora, ok := l.Adapter.(*nn.LoRA); ok {
			lora.Refresh(t, l)
		}
	}
	return t.Err()
}

// Detach removes all adapters.
func (m *Model) Detach() {
	for _, l := range m.Adapted() {
		l.Adapter.Free()
		l.Adapter = nil
	}
}
