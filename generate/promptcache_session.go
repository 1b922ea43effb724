package generate

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// Load makes the session one that has seen the prompt of a file, and nothing else.
// Prompts that follow go on from there.
func (s *Session) Load(p *PromptCache) error {
	if len(p.layers) != len(s.model.Blocks) {
		return fault.At("model", "%s: the cache is of a model of %d layers, this one has %d", p.file.Path(), len(p.layers), len(s.model.Blocks)).
			Try("Give the model that the cache was made with.")
	}
	limit := s.model.Config.MaxPositionEmbeddings
	if limit <= 0 {
		limit = maxCached
	}
	if err := s.kvBits.agree(p); err != nil {
		return fmt.Errorf("%s: %w", p.file.Path(), err)
	}
	if p.Tokens > limit && !s.limited {
		return fmt.Errorf("%s: the cache has seen %d tokens, the model takes %d", p.file.Path(), p.Tokens, limit)
	}
	s.Reset()
	err := s.cache.Restore(p.Tokens, func(i int) (state nn.LayerState, err error) {
		l, kv := &p.layers[i], s.cache.Shapes()[i]
		slots, first := l.order()
		if len(slots) > p.Tokens {
			return state, fmt.Errorf("layer %d: %d keys for %d tokens", i, len(slots), p.Tokens)
		}
		state.First = first
		if state.Keys, err = l.matrix(l.keys, slots, kv, s.cache.DType()); err == nil {
			state.Values, err = l.matrix(l.values, slots, kv, s.cache.DType())
		}
		return state, err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", p.file.Path(), err)
	}
	s.loaded = p.Tokens
	return nil
}

// Save writes what the session has seen as a prompt cache that mlx-lm reads too.
// The metadata "model" and "tokenizer_config" are what mlx-lm expects.
func (s *Session) Save(path string, metadata map[string]string) error {
	if s.cache.Len() == 0 {
		return fmt.Errorf("%s: there is nothing to write: no prompt has been read", path)
	}
	w := &cacheWriter{cache: s.cache, metadata: map[string]string{"2.0": ""}, last: -1}
	for name, v := range metadata {
		w.metadata["0."+name] = v
	}
	for i := range s.cache.Shapes() {
		w.layer(i)
	}
	return weights.WriteEntries(path, w.entries, w.metadata)
}

// cacheWriter collects what a prompt cache file consists of. Slots are in the order of
// their tokens.
type cacheWriter struct {
	cache    *nn.Cache
	entries  []weights.Entry
	metadata map[string]string
	numbers  int // among the entries

	last  int           // layer that was copied out last: its tensors are asked for in a row
	state nn.LayerState // of this layer
}

// layer adds the tensors and numbers of layer i.
func (w *cacheWriter) layer(i int) {
	seen, kv, format := w.cache.Len(), w.cache.Shapes()[i], w.cache.Format(i)
	size, keep := w.cache.Limits(i)
	if size == 0 {
		size = kv.Window // all is held, mlx-lm's cache holds this much
	}
	class, slots, numbers := plainClass, seen, []int{seen}
	switch {
	case size > 0: // of floats: mlx-lm has no quantized cache of a window
		slots = min(seen, size)
		class, numbers = rotatingClass, append(numbers, keep, size, slots)
		format = quant.Format{Kind: quant.Dense, DType: w.cache.DType()}
	case format.Kind == quant.Affine:
		class, numbers = quantizedClass, append(numbers, format.Group, format.Bits)
	}
	w.metadata["1."+strconv.Itoa(i)] = class
	shape := []int{1, kv.Heads, slots, kv.HeadDim}
	w.tensors(fmt.Sprintf("%d.0", i), shape, format, func() (*quant.Matrix, error) {
		state, err := w.read(i)
		return state.Keys, err
	})
	w.tensors(fmt.Sprintf("%d.1", i), shape, format, func() (*quant.Matrix, error) {
		state, err := w.read(i)
		return state.Values, err
	})
	for k, n := range numbers {
		w.number(fmt.Sprintf("%d.%d", i, 2+k), n)
	}
}

// read copies a layer out.
func (w *cacheWriter) read(layer int) (nn.LayerState, error) {
	if layer == w.last {
		return w.state, nil
	}
	state, err := w.cache.State(layer)
	if err == nil {
		w.last, w.state = layer, state
	}
	return state, err
}

// tensors adds keys or values [1, Heads, slots, HeadDim] in a format; read gives all of
// them [n, Heads·HeadDim].
func (w *cacheWriter) tensors(name string, shape []int, f quant.Format, read func() (*quant.Matrix, error)) {
	add := func(name string, t quant.DType, width int, part func(*quant.Matrix) []byte) {
		content := func() ([]byte, error) {
			m, err := read()
			if err != nil {
				return nil, err
			}
			if f.Kind == quant.Dense {
				m = dense(m, f.DType)
			}
			return byHead(part(m), m.Rows, shape), nil
		}
		w.entries = append(w.entries, weights.Entry{Name: name, DType: t, Shape: []int{1, shape[1], shape[2], width}, Bytes: content})
	}
	dim := shape[3]
	if f.Kind == quant.Dense {
		add(name, f.DType, dim, func(m *quant.Matrix) []byte { return m.Data })
		return
	}
	add(name+".0", quant.U32, dim/32*f.Bits, func(m *quant.Matrix) []byte { return m.Data })
	add(name+".1", f.DType, dim/f.Group, func(m *quant.Matrix) []byte { return m.Scales })
	add(name+".2", f.DType, dim/f.Group, func(m *quant.Matrix) []byte { return m.Biases })
}

// number adds a whole number.
func (w *cacheWriter) number(name string, n int) {
	w.entries = append(w.entries, weights.Entry{Name: name, DType: quant.I32, Bytes: func() ([]byte, error) {
		return binary.LittleEndian.AppendUint32(nil, uint32(n)), nil
	}})
	w.numbers++
	at := fmt.Sprintf("2.%d", w.numbers)
	w.metadata[at+".0"], w.metadata[at+".1"] = name, "scalar"
}

// dense is m as floats.
func dense(m *quant.Matrix, t quant.DType) *quant.Matrix {
	if m.Format.Kind == quant.Dense {
		return m
	}
	values := m.Floats()
	out := &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: t}, Rows: m.Rows, Cols: m.Cols, Data: make([]byte, len(values)*t.Size())}
	quant.PutFloats(out.Data, values, t)
	return out
}

// byHead turns the newest of n tokens, data [n, heads·width], into [1, heads, slots,
// width]; shape begins with 1, heads and slots.
func byHead(data []byte, n int, shape []int) []byte {
	heads, slots := shape[1], shape[2]
	token := len(data) / n
	width := token / heads
	data = data[(n-slots)*token:]
	out := make([]byte, len(data))
	for s := range slots {
		for h := range heads {
			copy(out[(h*slots+s)*width:(h*slots+s+1)*width], data[s*token+h*width:])
		}
	}
	return out
}
