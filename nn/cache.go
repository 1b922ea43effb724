package nn

import (
	"errors"
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// cacheStep is by how many tokens a cache grows at least.
const cacheStep = 256

// sinkTokens is how many first tokens a rotating cache never forgets.
const sinkTokens = 4

// Cache holds the keys and values of one sequence, layer by layer, as rows
// [capacity, KVHeads·HeadDim] of F16 (or F32), or of affine integers after
// Quantize. Growing copies; a cache with a size limit rotates: it keeps the first
// four tokens and the newest others, as mlx-lm's does. There a layer with an
// attention window keeps that window only.
type Cache struct {
	dev    compute.Device
	dtype  compute.DType
	length int // tokens seen
	limit  int // tokens held by most layers, 0 for all
	least  int // tokens held by the layer that holds fewest, 0 for all
	layers []layerCache
}

// layerCache holds one layer's rows.
type layerCache struct {
	keys, values *stored // nil while empty
	format       quant.Format
	limit        int // most tokens held; 0 is no limit
	sink         int // of these, first tokens that stay
}

// NewCache makes an empty cache for layers with these attention windows (0 for
// none). limit 0 never forgets.
func NewCache(dev compute.Device, windows []int, limit int, dtype compute.DType) (*Cache, error) {
	if limit != 0 && limit <= sinkTokens {
		return nil, fault.Value("max_kv_size", limit, fmt.Sprintf("more than %d, or 0 for no limit", sinkTokens))
	}
	c := &Cache{dev: dev, dtype: dtype, limit: limit, least: limit, layers: make([]layerCache, len(windows))}
	for i, w := range windows {
		l := &c.layers[i]
		l.format = c.floats()
		switch {
		case limit == 0:
		case w > 0:
			l.limit = min(w, limit)
			c.least = min(c.least, l.limit)
		default:
			l.limit, l.sink = limit, sinkTokens
		}
	}
	return c, nil
}

// floats is the format of layers that are not quantized.
func (c *Cache) floats() quant.Format { return quant.Format{Kind: quant.Dense, DType: c.dtype} }

// Len is the number of tokens seen.
func (c *Cache) Len() int { return c.length }

// Held is how many tokens can be looked back at after n more.
func (c *Cache) Held(n int) int {
	if c.limit > 0 {
		return min(c.length+n, c.limit)
	}
	return c.length + n
}

// Room is how many tokens the next forward pass may take: any number (-1), but
// one at a time once a limited cache is full.
func (c *Cache) Room() int {
	if c.least == 0 {
		return -1
	}
	return max(1, c.least-c.length)
}

// Advance counts n tokens in, after all layers have taken them.
func (c *Cache) Advance(n int) { c.length += n }

// Trimmable reports whether Trim can go back: not once a limited cache is full.
func (c *Cache) Trimmable() bool { return c.least == 0 || c.length < c.least }

// Trim forgets the newest tokens down to length n.
func (c *Cache) Trim(n int) error {
	if n < 0 || n > c.length || !c.Trimmable() {
		return fmt.Errorf("KV cache of %d tokens cannot be cut back to %d", c.length, n)
	}
	c.length = n
	return nil
}

// Bytes is the memory that keys and values take, room to grow included.
func (c *Cache) Bytes() int64 {
	var n int64
	for i := range c.layers {
		for _, r := range []*stored{c.layers[i].keys, c.layers[i].values} {
			if r != nil {
				for _, s := range r.Specs() {
					n += s.Bytes()
				}
			}
		}
	}
	return n
}

// Quantize turns what the layers hold, and what they will, into affine integers:
// bits and group are those of quant.QuantizeAffine, the group within a head.
// Layers that are quantized stay as they are. A limited cache cannot be.
func (c *Cache) Quantize(t *tensor.Tape, bits, group int) {
	if c.limit > 0 {
		t.Fail(errors.New("a KV cache with a size limit cannot be quantized"))
	}
	format := quant.Format{Kind: quant.Affine, DType: c.dtype, Bits: bits, Group: group}
	for i := range c.layers {
		l := &c.layers[i]
		if l.format.Kind == quant.Affine || t.Err() != nil {
			continue
		}
		if l.keys != nil {
			keys := l.keys.quantized(t, c.dev, format)
			values := l.values.quantized(t, c.dev, format)
			if t.Err() != nil {
				keys.free()
				values.free()
				return
			}
			l.keys.free()
			l.values.free()
			l.keys, l.values = keys, values
		}
		l.format = format
	}
}

// place is where a layer puts its next token and the index that this token has
// among the keys of Attention. full says that the ring holds just what may be
// seen, in no order.
func (l *layerCache) place(length int) (at, offset int, full bool) {
	if l.limit == 0 || length < l.limit {
		return length, length, false
	}
	return l.sink + (length-l.sink)%(l.limit-l.sink), l.limit - 1, true
}

// attend stores the new rows k and v of a layer and lets the queries q look at all
// that are held.
func (c *Cache) attend(t *tensor.Tape, layer int, q, k, v, bounds *tensor.Tensor, op compute.Attention) *tensor.Tensor {
	l := &c.layers[layer]
	at, offset, full := l.place(c.length)
	c.grow(t, l, &l.keys, at+k.Rows(), k.Cols())
	c.grow(t, l, &l.values, at+v.Rows(), v.Cols())
	if t.Err() != nil {
		return t.Attention(q, k, v, bounds, op)
	}
	l.keys.put(t, k, at)
	l.values.put(t, v, at)
	if op.Offset = offset; full {
		op.Window = 0
	}
	if l.format.Kind == quant.Affine {
		return t.QuantizedAttention(q, l.keys.parts, l.values.parts, bounds, compute.QuantizedAttention{Attention: op, Format: l.format})
	}
	return t.Attention(q, l.keys.parts[0], l.values.parts[0], bounds, op)
}

// grow makes room for n tokens among one of a layer's rows.
func (c *Cache) grow(t *tensor.Tape, l *layerCache, held **stored, n, cols int) {
	old := *held
	if t.Err() != nil || old != nil && old.Rows >= n {
		return
	}
	capacity := (n + cacheStep - 1) / cacheStep * cacheStep
	if old != nil { // grow by half at least, so that copying stays cheap
		capacity = max(capacity, old.Rows*3/2/cacheStep*cacheStep)
	}
	if l.limit > 0 {
		capacity = min(capacity, l.limit)
	}
	bigger, err := newStored(c.dev, compute.Weight{Format: l.format, Rows: capacity, Cols: cols}, nil)
	if err != nil {
		t.Fail(err)
		return
	}
	if old != nil {
		for i, p := range old.parts {
			t.CopyRows(bigger.parts[i], p, 0)
		}
	}
	if t.Err() != nil {
		bigger.free()
		return
	}
	old.free()
	*held = bigger
}

// Free gives the memory back and empties the cache; it is not quantized then.
func (c *Cache) Free() {
	for i := range c.layers {
		l := &c.layers[i]
		l.keys.free()
		l.values.free()
		l.keys, l.values, l.format = nil, nil, c.floats()
	}
	c.length = 0
}
