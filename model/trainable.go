package model

import (
	"fmt"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// Unfreeze makes all parameters of the last n blocks trainable (n <= 0: of all
// blocks), and with embeddings those of the embedding, final norm and head too. Their
// master copies are float32. A quantized base is refused: it has no gradients. Models
// that share the base keep it as it was.
func (m *Model) Unfreeze(n int, embeddings bool) error {
	for _, b := range m.LastBlocks(n) {
		for _, l := range b.Linears() {
			if err := m.unfreezeLinear(l); err != nil {
				return err
			}
		}
		for _, v := range blockVectors(b) {
			if err := m.unfreezeVector(v.Tensor); err != nil {
				return err
			}
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
	if m.Tied {
		m.Head.Weight = w
	} else if err := m.unfreezeLinear(m.Head); err != nil {
		return err
	}
	return m.unfreezeVector(m.Norm)
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
	if l.Bias == nil {
		return nil
	}
	return m.unfreezeVector(l.Bias)
}

// unfreezeVector makes a norm or bias trainable, a copy where other models share it.
func (m *Model) unfreezeVector(v *tensor.Tensor) error {
	if err := v.Own(m.dev); err != nil {
		return err
	}
	v.SetTrainable(true)
	return nil
}

// trainable copies a frozen dense weight into a trainable float32 one.
func (m *Model) trainable(name string, w *tensor.Weight) (*tensor.Weight, error) {
	if w.Format.Kind != quant.Dense {
		return nil, fault.At("fine_tune_type", "full fine-tuning needs a dense base, and %s is stored as %v", name, w.Format).Try("Use lora, or a model that is not quantized.")
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

// FirstTrained is the index of the first block whose parameters training changes: the
// blocks below it always give the same for the same tokens. It is 0 when the embedding
// is trained and the number of blocks when no block is.
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

// RefreshAdapters computes what adapters derive from their matrices: the norms of DoRA.
// It is to be called after tensors of Trainable have been written.
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
