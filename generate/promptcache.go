package generate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// A PromptCache is an opened file of mlx_lm.cache_prompt: the keys and values of a
// prompt, layer by layer.
//
// It is a safetensors file of flattened Python lists. The tensors of a layer, and the
// numbers that are tensors of one element, depend on the class of its cache:
//
//	KVCache            <layer>.0, .1      keys (with RoPE) and values, [1, KVHeads, slots, HeadDim]
//	                   .2                 offset: tokens seen; slots from there on are unused
//	RotatingKVCache    .0, .1, .2         as above
//	                   .3, .4, .5         first tokens that stay, size, slot after the newest token
//	QuantizedKVCache   .0.0, .0.1, .0.2   packed integers, scales and biases of the keys
//	                   .1.0, .1.1, .1.2   those of the values
//	                   .2, .3, .4         offset, group size, bits
//
// In the metadata "0.<name>" is what cache_prompt says of itself, "1.<layer>" the class
// of a layer's cache, and "2.*" lists the tensors that are numbers. mlx-lm before 0.32.2
// wrote the former layout: no numbers among the tensors but "0.<layer>", or
// "0.<layer>.0" and on, in the metadata, and the others as "1.<name>" and "2.<layer>".
type PromptCache struct {
	Metadata map[string]string // "model", "tokenizer_config" and what else the writer said
	Tokens   int               // seen by all layers
	// MaxKVSize is what limits layers without an attention window; 0 is nothing.
	MaxKVSize int
	// Bits and Group are those of quantized layers, 0 where there are none.
	Bits, Group int

	file   *weights.Safetensors
	layers []savedLayer
}

// The classes of caches that are understood.
const (
	plainClass     = "KVCache"
	rotatingClass  = "RotatingKVCache"
	quantizedClass = "QuantizedKVCache"
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
			return fault.Of("this is no prompt cache: its metadata names no classes of caches").Try("Make one with: lentil cache_prompt")
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
		l, err := p.layer(i, class, former)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		p.layers = append(p.layers, l)
	}
}

// agree checks that all layers have seen the same tokens, and takes over what they say.
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

// layer reads the cache of layer i.
func (p *PromptCache) layer(i int, class string, former bool) (l savedLayer, err error) {
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
	if l.keys, err = p.tensors(fmt.Sprintf("%d.0", i), quantized); err != nil {
		return l, err
	}
	if l.values, err = p.tensors(fmt.Sprintf("%d.1", i), quantized); err != nil {
		return l, err
	}
	slots := l.keys.slots()
	if l.values.slots() != slots {
		return l, fmt.Errorf("%d keys and %d values", slots, l.values.slots())
	}
	n := numbers{file: p.file, former: former, layer: i, slots: slots}
	switch {
	case l.rotating:
		l.offset, l.size = n.read(2, ".2", maxSeen), n.read(4, ".1", maxSeen)
		l.keep, l.at = n.read(3, ".0", min(l.size, slots)), n.read(5, ".3", slots)
	case quantized:
		l.offset = n.read(2, ".0", slots)
		l.group, l.bits = n.read(3, ".1", maxGroup), n.read(4, ".2", maxBits)
		if n.err == nil {
			n.err = l.checkPacked()
		}
	case former:
		l.offset = slots
	default:
		l.offset = n.read(2, "", slots)
	}
	if n.err == nil && l.offset == 0 {
		n.err = errors.New("the cache is empty")
	}
	return l, n.err
}

const (
	// maxCached bounds the tokens of a prompt cache for models that name no bound,
	// maxSeen those that one with a limited size has seen: positions are 32-bit.
	maxCached, maxSeen = 1 << 20, 1 << 30
	// maxGroup and maxBits are the largest of quantized caches.
	maxGroup, maxBits = 128, 8
)

// numbers reads what a layer's cache says of itself; its first error sticks.
type numbers struct {
	file   *weights.Safetensors
	former bool // they lie in the metadata
	layer  int
	slots  int
	err    error
}

// read is the number of a tensor of the layer, or of a key in the former layout.
func (n *numbers) read(tensor int, key string, most int) (value int) {
	if n.err != nil {
		return 0
	}
	var text string
	if n.former {
		text = n.file.Metadata()[fmt.Sprintf("0.%d%s", n.layer, key)]
	} else {
		text = n.scalar(fmt.Sprintf("%d.%d", n.layer, tensor))
	}
	value, n.err = strconv.Atoi(text)
	if n.err != nil || value < 0 || value > most {
		n.err = fmt.Errorf("its numbers are not those of a cache of %d tokens: found %.20q, expected 0 to %d", n.slots, text, most)
	}
	return value
}

// scalar is a whole number of the file as text, "" if there is none.
func (n *numbers) scalar(name string) string {
	x, ok := n.file.Tensor(name)
	if !ok || x.DType != quant.I32 && x.DType != quant.I64 && x.DType != quant.U32 || len(x.Data) != x.DType.Size() {
		return ""
	}
	var value int64
	for i, b := range x.Data {
		value |= int64(b) << (8 * i)
	}
	if x.DType == quant.I32 {
		value = int64(int32(value))
	}
	return strconv.FormatInt(value, 10)
}
