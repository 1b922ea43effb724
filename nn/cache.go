package nn

import (
	"errors"
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// sinkTokens is how many first tokens a ring never forgets, as in mlx-lm.
const sinkTokens = 4

// Cache holds the keys and values of one sequence, layer by layer. Each layer has a
// cache of one of three kinds. A token is known by its index in the sequence:
//
//	plain, quantized: a token lies in the slot of its index. After 6 tokens:
//
//	  slot    0  1  2  3  4  5  6  7 ...
//	  token   0  1  2  3  4  5  ^ place of the next one
//
//	ring: there are so many slots as most says. The first tokens, as many as sink says,
//	stay; the other slots hold the newest ones. With most 9 and sink 4, after 15 tokens:
//
//	  slot    0  1  2  3 | 4  5  6  7  8
//	  token   0  1  2  3 |14 10 11 12 13
//	            sink          ^ place of the next one, over the oldest
//
// A cache without a limit has plain layers, or quantized ones after Quantize. In one
// with a limit all layers are rings: of limit tokens with a sink, or, where attention
// has a window, of that window without one.
type Cache struct {
	dev      compute.Device
	dtype    compute.DType
	shapes   []KVShape // of each layer
	limit    int       // tokens that layers without a window hold at most; 0 is no limit
	least    int       // tokens that the smallest ring holds; 0 is no limit
	seen     int       // tokens of the sequence so far
	expected expected  // tokens that it may come to; zero is unknown
	floor    int       // tokens that Trim must leave: Restore left some before them out
	layers   []layerCache
}

// A layerCache holds the keys and values of one layer. seen is how many tokens the
// sequence has had before the call.
type layerCache interface {
	// place tells in which slot the first of n more tokens lies, and how many slots are in
	// use with them. These follow it.
	place(seen, n int) (at, keys int)
	// held is where keys and values lie.
	held() *pair
	// stores is the format of keys and values.
	stores() quant.Format
	// limits is how many tokens are held at most, and how many of these are the
	// sequence's first; 0 is no limit.
	limits() (most, first int)
	// state copies out what is held.
	state(seen int) (LayerState, error)
	// restore fills an empty cache, and tells whether tokens are left out that are
	// held otherwise.
	restore(s LayerState, seen int) (partial bool, err error)
	bytes() int64
	free()
}

// NewCache makes an empty cache for layers of these shapes. limit 0 never forgets.
func NewCache(dev compute.Device, shapes []KVShape, limit int, dtype compute.DType) (*Cache, error) {
	if limit != 0 && limit <= sinkTokens {
		return nil, fault.Value("max_kv_size", limit, fmt.Sprintf("more than %d, or 0 for no limit", sinkTokens))
	}
	c := &Cache{dev: dev, dtype: dtype, shapes: shapes, limit: limit, least: limit, layers: make([]layerCache, len(shapes))}
	for i := range c.layers {
		c.layers[i] = c.layer(i, c.floats())
		if most, _ := c.layers[i].limits(); most > 0 {
			c.least = min(c.least, most)
		}
	}
	return c, nil
}

// layer makes an empty cache for layer i that stores keys and values in format f.
func (c *Cache) layer(i int, f quant.Format) layerCache {
	window, all := c.shapes[i].Window, pair{dev: c.dev, format: f}
	switch {
	case c.limit > 0 && window > 0:
		return &ring{pair: all, most: min(window, c.limit)}
	case c.limit > 0:
		return &ring{pair: all, most: c.limit, sink: sinkTokens}
	case f.Kind == quant.Affine:
		return &quantized{plain{pair: all, window: window}}
	default:
		return &plain{pair: all, window: window}
	}
}

// floats is the format of layers that are not quantized.
func (c *Cache) floats() quant.Format { return quant.Format{Kind: quant.Dense, DType: c.dtype} }

// DType is the type of keys and values, or of the scales that quantized ones have.
func (c *Cache) DType() compute.DType { return c.dtype }

// Shapes are the shapes of what the layers hold.
func (c *Cache) Shapes() []KVShape { return c.shapes }

// Limits is how many tokens a layer holds at most, and how many of these are the
// sequence's first; 0 is no limit.
func (c *Cache) Limits(layer int) (most, first int) { return c.layers[layer].limits() }

// Format is how a layer stores keys and values: dense or affine.
func (c *Cache) Format(layer int) quant.Format { return c.layers[layer].stores() }

// Len is the number of tokens seen.
func (c *Cache) Len() int { return c.seen }

// Expect tells how many tokens will be seen for sure, and at most. A cache that has to grow makes room at once for the former and for
// some of the others: the next step, or half of what there is for sure, so that a bound that is not reached costs little.
func (c *Cache) Expect(sure, most int) { c.expected = expected{sure, most} }

// expected is how many tokens a cache may come to.
type expected struct{ sure, most int }

// room is the capacity for n tokens with those that are expected.
func (e expected) room(n int) int {
	sure := roomFor(max(n, e.sure))
	return max(sure, min(roomFor(e.most), max(sure+cacheStep, grown(sure))))
}

// Room is how many tokens the next forward pass may take: any number (-1), or with a
// limit as many as fit without forgetting, and one at a time from then on.
func (c *Cache) Room() int {
	if c.least == 0 {
		return -1
	}
	return max(1, c.least-c.seen)
}

// Trimmable reports whether Trim can go back: not once a ring is full.
func (c *Cache) Trimmable() bool { return c.least == 0 || c.seen < c.least }

// Trim forgets the newest tokens down to n.
func (c *Cache) Trim(n int) error {
	if n < 0 || n > c.seen || n < c.floor || !c.Trimmable() {
		return fmt.Errorf("KV cache of %d tokens cannot be cut back to %d", c.seen, n)
	}
	c.seen = n
	return nil
}

// CopyFrom makes the cache hold the first n tokens of another one, which has the same
// shapes and limit: all of them, or as many as Trim could leave. After an error it is empty.
func (c *Cache) CopyFrom(t *tensor.Tape, other *Cache, n int) error {
	c.Free()
	if n > other.seen || n < other.seen && (n < other.floor || !other.Trimmable()) {
		return fmt.Errorf("%d tokens of a KV cache of %d cannot be copied", n, other.seen)
	}
	if n == 0 {
		return nil
	}
	for i, l := range other.layers {
		c.layers[i] = c.layer(i, l.stores())
		most, _ := l.limits()
		c.layers[i].held().copy(t, l.held(), n, most)
	}
	if err := t.Err(); err != nil {
		c.Free()
		return err
	}
	c.seen, c.floor = n, other.floor
	return nil
}

// Bytes is the memory that keys and values take, room to grow included.
func (c *Cache) Bytes() (n int64) {
	for _, l := range c.layers {
		n += l.bytes()
	}
	return n
}

// BytesFor is the most that Bytes gets to with n tokens, however they come: as floats, or
// as integers of so many bits.
func (c *Cache) BytesFor(n, bits, group int) (total int64) {
	format := c.floats()
	if bits > 0 {
		format = quant.Format{Kind: quant.Affine, DType: c.dtype, Bits: bits, Group: group}
	}
	for i, l := range c.layers {
		rows := mostRoomFor(n)
		if most, _ := l.limits(); most > 0 {
			rows = min(rows, most)
		}
		for _, spec := range (compute.Weight{Format: format, Rows: rows, Cols: c.shapes[i].Cols()}).Specs() {
			total += 2 * spec.Bytes()
		}
	}
	return total
}

// Quantize turns what the layers hold, and what they will, into affine integers:
// bits and group are those of quant.QuantizeAffine, the group within a head.
// Layers that are quantized stay as they are. A cache with a limit cannot be.
func (c *Cache) Quantize(t *tensor.Tape, bits, group int) {
	if c.limit > 0 {
		t.Fail(errors.New("a KV cache with a size limit cannot be quantized"))
	}
	format := quant.Format{Kind: quant.Affine, DType: c.dtype, Bits: bits, Group: group}
	for i, l := range c.layers {
		if p, ok := l.(*plain); ok && t.Err() == nil {
			c.layers[i] = p.quantize(t, format)
		}
	}
}

// Free gives the memory back and empties the cache; it is not quantized then.
func (c *Cache) Free() {
	for i, l := range c.layers {
		l.free()
		c.layers[i] = c.layer(i, c.floats())
	}
	c.seen, c.floor, c.expected = 0, 0, expected{}
}
