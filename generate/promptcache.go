package generate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// A PromptCache is an opened file of mlx_lm.cache_prompt: the keys and values of a
// prompt, layer by layer.
//
// The file is a safetensors file of flattened Python lists. "<layer>.0" and
// "<layer>.1" are keys (with their RoPE) and values [1, KVHeads, rows, HeadDim].
// Of a KVCache "<layer>.2" is how many tokens it has seen, its offset, and rows
// beyond are unused. Of a RotatingKVCache follow how many first tokens it keeps, its
// size, and where in the ring it stands. Of a QuantizedKVCache keys are "<layer>.0.0"
// to "2": packed integers, scales and biases in groups along HeadDim, values
// "<layer>.1.0" to "2"; the numbers are offset, group size and bits. In the metadata "0.<name>" is what
// cache_prompt says of itself, "1.<layer>" the class of a layer's cache, and "2.*"
// lists which tensors are numbers. That is mlx-lm 0.32.2; versions before had no
// numbers among the tensors: "0.<layer>" (or "0.<layer>.0" and on) in the metadata
// told them, and the others came as "1.<name>" and "2.<layer>".
type PromptCache struct {
	Metadata map[string]string // "model", "tokenizer_config" and what else the writer said
	Tokens   int               // seen by all layers
	// MaxKVSize is what limits layers without an attention window; 0 is nothing.
	MaxKVSize int
	// Bits and Group are those of quantized layers, 0 where there are none.
	Bits, Group int

	file   *weights.Safetensors
	layers []storedLayer
}

// storedLayer is one layer's cache as it lies in the file.
type storedLayer struct {
	keys, values storedRows
	offset       int // tokens seen
	rotating     bool
	keep, size   int // of a rotating cache
	at           int // row behind the newest
	bits, group  int // of a quantized cache
}

// The classes of caches that are understood.
const (
	plainClass     = "KVCache"
	rotatingClass  = "RotatingKVCache"
	quantizedClass = "QuantizedKVCache"
)

const (
	// maxCached bounds the tokens of a prompt cache for models that name no bound,
	// maxSeen those that one with a limited size has seen: positions are 32-bit.
	maxCached, maxSeen = 1 << 20, 1 << 30
	// maxGroup and maxBits are the largest of quantized caches.
	maxGroup, maxBits = 128, 8
	// halfMax is the largest float16.
	halfMax = 65504
)

// OpenPromptCache opens a file and checks it as far as that can be done without its model.
func OpenPromptCache(path string) (*PromptCache, error) {
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		return nil, err
	}
	p := &PromptCache{file: file, Metadata: map[string]string{}}
	if err := p.read(file.Metadata()); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Close unmaps the file.
func (p *PromptCache) Close() error { return p.file.Close() }

func (p *PromptCache) read(metadata map[string]string) error {
	info, classes, former := "0.", "1.", false
	if _, ok := metadata["1.0"]; !ok {
		if _, former = metadata["2.0"]; !former {
			return errors.New("this is no prompt cache: its metadata names no classes of caches\nMake one with: lentil cache_prompt")
		}
		info, classes = "1.", "2."
	}
	for key, v := range metadata {
		if name, ok := strings.CutPrefix(key, info); ok {
			p.Metadata[name] = v
		}
	}
	for i := 0; ; i++ {
		class, ok := metadata[classes+strconv.Itoa(i)]
		if !ok {
			return p.agree()
		}
		l, err := p.layer(i, class, former, metadata)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		p.layers = append(p.layers, l)
	}
}

// layer reads the cache of layer i.
func (p *PromptCache) layer(i int, class string, former bool, metadata map[string]string) (l storedLayer, err error) {
	quantized := false
	switch class {
	case plainClass:
	case rotatingClass:
		l.rotating = true
	case quantizedClass:
		quantized = true
	default:
		return l, fmt.Errorf("the cache is a %.40s, which is not supported; %s, %s and %s are", class, plainClass, rotatingClass, quantizedClass)
	}
	for part, x := range []*storedRows{&l.keys, &l.values} {
		if *x, err = p.rows(fmt.Sprintf("%d.%d", i, part), quantized); err != nil {
			return l, err
		}
	}
	rows := l.keys.count()
	if l.values.count() != rows {
		return l, fmt.Errorf("%d keys and %d values", rows, l.values.count())
	}
	number := func(tensor int, key string, most int) (n int) {
		if err != nil {
			return 0
		}
		var text string
		if !former {
			text = p.scalar(fmt.Sprintf("%d.%d", i, tensor))
		} else {
			text = metadata[fmt.Sprintf("0.%d%s", i, key)]
		}
		if n, err = strconv.Atoi(text); err != nil || n < 0 || n > most {
			err = fmt.Errorf("its numbers are not those of a cache of %d rows: found %.20q, expected 0 to %d", rows, text, most)
		}
		return n
	}
	switch {
	case l.rotating:
		l.offset, l.size = number(2, ".2", maxSeen), number(4, ".1", maxSeen)
		l.keep, l.at = number(3, ".0", min(l.size, rows)), number(5, ".3", rows)
	case quantized:
		l.offset = number(2, ".0", rows)
		l.group, l.bits = number(3, ".1", maxGroup), number(4, ".2", maxBits)
		if err == nil {
			err = l.checkPacked()
		}
	case former:
		l.offset = rows
	default:
		l.offset = number(2, "", rows)
	}
	if err == nil && l.offset == 0 {
		err = errors.New("the cache is empty")
	}
	return l, err
}

// scalar is a whole number of the file as text, "" if there is none.
func (p *PromptCache) scalar(name string) string {
	x, ok := p.file.Tensor(name)
	if !ok || x.DType != quant.I32 && x.DType != quant.I64 && x.DType != quant.U32 || len(x.Data) != x.DType.Size() {
		return ""
	}
	var n int64
	for i, b := range x.Data {
		n |= int64(b) << (8 * i)
	}
	if x.DType == quant.I32 {
		n = int64(int32(n))
	}
	return strconv.FormatInt(n, 10)
}

// agree checks that all layers have seen the same tokens.
func (p *PromptCache) agree() error {
	p.Tokens = p.layers[0].offset
	for i, l := range p.layers {
		if l.offset != p.Tokens {
			return fmt.Errorf("layer %d has seen %d tokens and layer 0 %d", i, l.offset, p.Tokens)
		}
		if l.rotating && l.keep > 0 {
			p.MaxKVSize = l.size
		}
		switch {
		case l.bits == 0:
		case p.Bits == 0:
			p.Bits, p.Group = l.bits, l.group
		case l.bits != p.Bits || l.group != p.Group:
			return fmt.Errorf("layer %d is quantized to %d bits in groups of %d, others to %d in groups of %d", i, l.bits, l.group, p.Bits, p.Group)
		}
	}
	return nil
}

// order lists the rows of a layer in the order of their tokens, and how many of
// them are the sequence's first.
func (l *storedLayer) order() (rows []int, first int) {
	add := func(from, to int) {
		for ; from < to; from++ {
			rows = append(rows, from)
		}
	}
	n := l.keys.count()
	switch {
	case !l.rotating:
		add(0, l.offset)
	case l.at < n && l.at < l.offset: // the ring begins behind the newest
		add(0, l.keep)
		add(max(l.at, l.keep), n)
		add(l.keep, l.at)
	default:
		add(0, l.at)
	}
	if len(rows) < l.offset {
		first = l.keep
	}
	return rows, first
}

// Load fills an empty session with the prompt of a file. Prompts that follow go on
// from its end.
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
		rows, first := l.order()
		if len(rows) > p.Tokens {
			return state, fmt.Errorf("layer %d: %d rows for %d tokens", i, len(rows), p.Tokens)
		}
		state.First = first
		if state.Keys, err = l.matrix(l.keys, rows, kv, s.cache.DType()); err == nil {
			state.Values, err = l.matrix(l.values, rows, kv, s.cache.DType())
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
	all := map[string]string{"2.0": ""}
	for name, v := range metadata {
		all["0."+name] = v
	}
	var entries []weights.Entry
	scalars, read := 0, s.reader()
	for i, kv := range s.cache.Shapes() {
		l := s.storedLayer(i)
		class, numbers := plainClass, []int{l.offset}
		switch {
		case l.rotating:
			class, numbers = rotatingClass, append(numbers, l.keep, l.size, l.at)
		case l.bits > 0:
			class, numbers = quantizedClass, append(numbers, l.group, l.bits)
		}
		all["1."+strconv.Itoa(i)] = class
		shape := []int{1, kv.Heads, l.at, kv.HeadDim}
		for part, name := range []string{fmt.Sprintf("%d.0", i), fmt.Sprintf("%d.1", i)} {
			entries = append(entries, l.entries(name, shape, s.cache.DType(), func(piece int) ([]byte, error) {
				m, err := read(i, part, l.rotating)
				if err != nil {
					return nil, err
				}
				return byHead([][]byte{m.Data, m.Scales, m.Biases}[piece], m.Rows, shape), nil
			})...)
		}
		for k, n := range numbers {
			name := fmt.Sprintf("%d.%d", i, 2+k)
			entries = append(entries, weights.Entry{Name: name, DType: quant.I32, Bytes: func() ([]byte, error) {
				return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}, nil
			}})
			scalars++
			all[fmt.Sprintf("2.%d.0", scalars)], all[fmt.Sprintf("2.%d.1", scalars)] = name, "scalar"
		}
	}
	return weights.WriteEntries(path, entries, all)
}

// storedLayer is how layer i is written; rows are in the order of their tokens.
func (s *Session) storedLayer(i int) storedLayer {
	n := s.cache.Len()
	l := storedLayer{offset: n, at: n}
	if l.size, l.keep = s.cache.Limits(i); l.size == 0 {
		l.size = s.cache.Shapes()[i].Window // all is held, mlx-lm's cache holds this much
	}
	if l.rotating = l.size > 0; l.rotating {
		l.at = min(n, l.size)
	} else if f := s.cache.Format(i); f.Kind == quant.Affine {
		l.bits, l.group = f.Bits, f.Group
	}
	return l
}
