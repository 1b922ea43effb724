// Package model turns a model folder or GGUF file into a decoder that runs on a
// device: Config is what config.json says, Architecture what it means, Model the
// decoder. Each family is one file, named as its model_type; they share the decoder
// here. Tensors have Hugging Face's names throughout.
package model

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// architectures says what sets each family apart, by model_type. Config.architecture adds
// what is the same in all.
var architectures = map[string]func(*Config) Architecture{
	"llama":     llama,
	"mistral":   mistral,
	"mixtral":   mixtral,
	"qwen2":     qwen2,
	"qwen3":     qwen3,
	"qwen3_moe": qwen3MoE,
	"smollm3":   smollm3,
}

// Model is a decoder on a device.
type Model struct {
	Config *Config
	Blocks []*nn.Block
	Embed  *tensor.Weight // [vocab, hidden]
	Norm   *tensor.Tensor // [hidden]
	Head   *nn.Linear     // [vocab, hidden]; shares Embed's weight when Tied
	Tied   bool

	dev         compute.Device
	src         weights.Source
	arch        Architecture
	kept        []*kept
	frequencies *tensor.Tensor // [headDim/2]
}

// Batch is the tokens of one forward pass: sequences packed one behind the other.
type Batch struct {
	Tokens    []int32
	Positions []int32 // of each token in its own sequence
	Bounds    []int32 // start of each sequence, and the end of the last; of no use with caches
}

// Sequence is a batch of one sequence whose first token has position at.
func Sequence(tokens []int32, at int) Batch {
	b := Batch{Tokens: tokens, Positions: make([]int32, len(tokens)), Bounds: []int32{0, int32(at + len(tokens))}}
	for i := range b.Positions {
		b.Positions[i] = int32(at + i)
	}
	return b
}

// Load makes the model of src on dev. Frozen weights may be used where src has them,
// so src must stay open as long as the model lives.
func Load(dev compute.Device, src weights.Source) (*Model, error) {
	c, err := ReadConfig(src)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, Head: &nn.Linear{}, dev: dev, src: src}
	from := &files{src: src, dev: dev, used: map[string]bool{}}
	if err := m.load(from); err != nil {
		m.Free()
		return nil, err
	}
	return m, nil
}

// load fills the model from its files.
func (m *Model) load(from *files) (err error) {
	if m.arch, err = m.Config.Architecture(); err != nil {
		return from.errorf("%w", err)
	}
	if m.frequencies, err = tensor.NewFloats(m.dev, compute.Shape{len(m.arch.frequencies)}, m.arch.frequencies); err != nil {
		return from.errorf("%w", err)
	}
	b := &builder{store: from}
	if err := b.build(m, m.Config, m.arch); err != nil {
		return err
	}
	return from.unexpected(m.Tied)
}

// Free gives the memory on the device back, except weights that other models share.
// The model's source stays open.
func (m *Model) Free() {
	m.Detach()
	for _, s := range m.matrices() {
		s.weight.Free()
	}
	for _, v := range m.vectors() {
		v.Free()
	}
	m.frequencies.Free()
	for _, k := range m.kept {
		k.release()
	}
	m.kept = nil
}

// Device is where the model lives.
func (m *Model) Device() compute.Device { return m.dev }

// Source is where the frozen weights come from.
func (m *Model) Source() weights.Source { return m.src }

// NewCache makes an empty KV cache for one sequence; limit 0 never forgets.
func (m *Model) NewCache(limit int, dtype compute.DType) (*nn.Cache, error) {
	shapes := make([]nn.KVShape, len(m.Blocks))
	for i, b := range m.Blocks {
		shapes[i] = b.Attention.KV()
	}
	return nn.NewCache(m.dev, shapes, limit, dtype)
}

// CheckTokens refuses ids that the model has no embedding of.
func (m *Model) CheckTokens(ids []int32) error {
	for i, id := range ids {
		if id < 0 || int(id) >= m.Config.VocabSize {
			return fmt.Errorf("token %d is %d, but the model's vocabulary has %d: tokenizer and model do not belong together", i, id, m.Config.VocabSize)
		}
	}
	return nil
}

// Begin embeds the batch: x [T, hidden], and what all layers need to know of the
// pass. caches are nil when training.
func (m *Model) Begin(t *tensor.Tape, b Batch, caches *nn.Caches) (*tensor.Tensor, nn.Pass) {
	pass := m.Pass(t, b, caches)
	return t.Embed(t.Ints(b.Tokens), m.Embed), pass
}

// Pass is what all layers need to know of a forward pass over the batch.
func (m *Model) Pass(t *tensor.Tape, b Batch, caches *nn.Caches) nn.Pass {
	pass := nn.Pass{Caches: caches}
	if caches == nil {
		pass.Bounds = t.Ints(b.Bounds)
	}
	pass.Rotation = t.RopeTable(t.Ints(b.Positions), m.frequencies, m.arch.RopeScale)
	return pass
}

// Layers runs blocks [from, to) over x [T, hidden]. A block's output is freed as soon
// as the next has used it, unless the tape saves it. With checkpoint the backward pass
// computes each block again instead of keeping its insides.
func (m *Model) Layers(t *tensor.Tape, x *tensor.Tensor, pass nn.Pass, from, to int, checkpoint bool) *tensor.Tensor {
	uses := append(pass.Rotation.Tensors(), pass.Bounds)
	for i, b := range m.Blocks[from:to] {
		in := x
		if checkpoint {
			x = t.Checkpoint(in, func(x *tensor.Tensor) *tensor.Tensor { return b.Forward(t, x, pass) }, uses...)
		} else {
			x = b.Forward(t, in, pass)
		}
		if i > 0 {
			t.Done(in)
		}
	}
	return x
}

// Final is the last norm: [T, hidden] -> [T, hidden].
func (m *Model) Final(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
	return t.RMSNorm(x, m.Norm, float32(m.Config.RMSNormEps))
}

// Logits is the head: [R, hidden] -> F32 [R, vocab].
func (m *Model) Logits(t *tensor.Tape, h *tensor.Tensor) *tensor.Tensor {
	return t.InFloat32(func() *tensor.Tensor { return m.Head.Forward(t, h) })
}

// Step runs tokens through the whole model behind those of the cache and returns
// the logits of the last one [1, vocab]. Tokens count as seen unless the tape has
// an error.
func (m *Model) Step(t *tensor.Tape, tokens []int32, cache *nn.Cache) *tensor.Tensor {
	return m.StepRows(t, []Row{{Tokens: tokens, Last: 1, Cache: cache}})
}

// A Row is the next tokens of one sequence.
type Row struct {
	Tokens []int32 // at least one
	Last   int     // how many of them, the last, logits are wanted of
	Cache  *nn.Cache

	// Chosen, where it is set, has the token in place of the only one of Tokens: element At of what the device has chosen,
	// I32 [n], which the host need not know.
	Chosen *tensor.Tensor
	At     int
}

// StepRows is Step for several sequences in one pass, each with a cache of its own. It
// returns the logits of the last tokens of the first row, of those of the second and so
// on, [Σ Last, vocab].
func (m *Model) StepRows(t *tensor.Tape, rows []Row) *tensor.Tensor {
	var b Batch
	var last []int32
	pieces := make([]nn.Piece, len(rows))
	for i, r := range rows {
		for k := range r.Tokens {
			b.Positions = append(b.Positions, int32(r.Cache.Len()+k))
		}
		b.Tokens = append(b.Tokens, r.Tokens...)
		for k := r.Last; k > 0; k-- {
			last = append(last, int32(len(b.Tokens)-k))
		}
		pieces[i] = nn.Piece{Tokens: len(r.Tokens), Cache: r.Cache}
	}
	var caches *nn.Caches
	y := t.Scope(func() *tensor.Tensor {
		caches = nn.NewCaches(t, pieces)
		pass := m.Pass(t, b, caches)
		x := m.Layers(t, m.embed(t, rows, b.Tokens), pass, 0, len(m.Blocks), false)
		if len(last) < len(b.Tokens) {
			x = t.GatherRows(x, t.Ints(last)) // [Σ Last, hidden]
		}
		return m.Logits(t, m.Final(t, x))
	})
	if t.Err() == nil {
		caches.Advance()
	}
	return y
}

// embedInto is embed into x. The tokens that the device has chosen in one pass, of all its rows, go there at once.
func (m *Model) embedInto(t *tensor.Tape, x *tensor.Tensor, rows []Row, tokens []int32) {
	ids := rows[0].Chosen
	one := ids != nil && ids.Shape().Elems() == len(rows)
	for i, r := range rows {
		one = one && r.Chosen == ids && r.At == i
	}
	if one {
		t.EmbedInto(x, ids, m.Embed)
		return
	}
	t.Scope(func() *tensor.Tensor {
		t.CopyRows(x, m.embed(t, rows, tokens))
		return nil
	})
}

// embed is the embeddings [T, hidden] of the tokens of rows. Those that the device has chosen are taken from where they lie.
func (m *Model) embed(t *tensor.Tape, rows []Row, tokens []int32) *tensor.Tensor {
	var host *tensor.Tensor
	ids := make([]*tensor.Tensor, len(rows)) // where a row's tokens lie
	for i, r := range rows {
		if ids[i] = r.Chosen; r.Chosen == nil {
			if host == nil {
				host = t.Ints(tokens)
			}
			ids[i] = host
		}
	}
	var parts []*tensor.Tensor
	var lengths []int
	begins, total := map[*tensor.Tensor]int{}, 0
	for _, x := range ids {
		if _, ok := begins[x]; !ok {
			n := x.Shape().Elems()
			parts, lengths = append(parts, t.Embed(x, m.Embed)), append(lengths, n)
			begins[x], total = total, total+n
		}
	}
	var from []int32 // rows of the parts
	for i, r := range rows {
		at := len(from)
		if r.Chosen != nil {
			at = r.At
		}
		for k := range r.Tokens {
			from = append(from, int32(begins[ids[i]]+at+k))
		}
	}
	x := parts[0] // [total, hidden]
	if len(parts) > 1 {
		x = t.Stack(parts, lengths)
	}
	for i, k := range from {
		if int(k) != i || total != len(from) {
			return t.GatherRows(x, t.Ints(from))
		}
	}
	return x
}

// Loss is the cross-entropy [R] of predicting targets [R] from the tokens at [R] of x
// [T, hidden], the output of Layers. The head runs for these tokens and no others.
// When recording, the backward pass starts from Σ weight·loss, weight [R].
func (m *Model) Loss(t *tensor.Tape, x *tensor.Tensor, at, targets []int32, weight []float32) *tensor.Tensor {
	h := m.Final(t, picked(t, x, at)) // [R, hidden]
	if m.Head.Adapter != nil {
		return t.CrossEntropyLogits(m.Logits(t, h), t.Ints(targets), t.Floats(weight))
	}
	return t.CrossEntropy(h, t.Ints(targets), t.Floats(weight), m.Head.Weight)
}

// TokenLosses is Loss for objectives in which the losses decide how much each counts: see
// tensor.Tape.TokenLosses.
func (m *Model) TokenLosses(t *tensor.Tape, x *tensor.Tensor, at, targets []int32) *tensor.Tensor {
	h := m.Final(t, picked(t, x, at)) // [R, hidden]
	if m.Head.Adapter != nil {
		return t.TokenLossesLogits(m.Logits(t, h), t.Ints(targets))
	}
	return t.TokenLosses(h, t.Ints(targets), m.Head.Weight)
}

// picked is the rows at of x [T, hidden]: x itself where they are all of its rows in order.
func picked(t *tensor.Tape, x *tensor.Tensor, at []int32) *tensor.Tensor {
	all := len(at) == x.Rows()
	for i, row := range at {
		all = all && int(row) == i
	}
	if all {
		return x
	}
	return t.GatherRows(x, t.Ints(at)) // [R, hidden]
}

// Linears are all projections of the model by module path: block by block in
// mlx-lm's order of attachment, the head last unless it is tied.
func (m *Model) Linears() []*nn.Linear {
	var all []*nn.Linear
	for _, b := range m.Blocks {
		all = append(all, b.Linears()...)
	}
	if !m.Tied {
		all = append(all, m.Head)
	}
	return all
}

// Adapted are the projections that carry an adapter.
func (m *Model) Adapted() []*nn.Linear {
	var out []*nn.Linear
	for _, l := range m.Linears() {
		if l.Adapter != nil {
			out = append(out, l)
		}
	}
	return out
}
