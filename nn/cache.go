package nn

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tensor"
)

// cacheStep is by how many tokens a cache grows at least.
const cacheStep = 256

// sinkTokens is how many first tokens a rotating cache never forgets.
const sinkTokens = 4

// Cache holds the keys and values of one sequence, layer by layer, as F16 (or
// F32) rows [capacity, KVHeads·HeadDim]. Growing copies; a cache with a size
// limit rotates: it keeps the first four tokens and the newest others, as
// mlx-lm's does. There a layer with an attention window keeps that window only.
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
	keys, values *tensor.Tensor // nil while empty
	limit        int            // most tokens held; 0 is no limit
	sink         int            // of these, first tokens that stay
}

// NewCache makes an empty cache for layers with these attention windows (0 for
// none). limit 0 never forgets.
func NewCache(dev compute.Device, windows []int, limit int, dtype compute.DType) (*Cache, error) {
	if limit != 0 && limit <= sinkTokens {
		return nil, fmt.Errorf("a KV cache of %d tokens is too small: give --max-kv-size more than %d, or 0 for no limit", limit, sinkTokens)
	}
	c := &Cache{dev: dev, dtype: dtype, limit: limit, least: limit, layers: make([]layerCache, len(windows))}
	for i, w := range windows {
		l := &c.layers[i]
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

// place is where a layer puts its next token and the index that this token has
// among the keys of Attention. full says that the ring holds just what may be
// seen, in no order.
func (l *layerCache) place(length int) (at, offset int, full bool) {
	if l.limit == 0 || length < l.limit {
		return length, length, false
	}
	return l.sink + (length-l.sink)%(l.limit-l.sink), l.limit - 1, true
}

// update stores the new rows of a layer and returns all keys and values, the
// key index of the first new token, and whether they are in no order.
func (c *Cache) update(t *tensor.Tape, layer int, k, v *tensor.Tensor) (keys, values *tensor.Tensor, offset int, full bool) {
	l := &c.layers[layer]
	at, offset, full := l.place(c.length)
	c.grow(t, l, &l.keys, at+k.Rows(), k.Cols())
	c.grow(t, l, &l.values, at+v.Rows(), v.Cols())
	if t.Err() != nil {
		return k, v, 0, false
	}
	t.CopyRows(l.keys, k, at)
	t.CopyRows(l.values, v, at)
	return l.keys, l.values, offset, full
}

// grow makes room for rows tokens in one of a layer's tensors.
func (c *Cache) grow(t *tensor.Tape, l *layerCache, held **tensor.Tensor, rows, cols int) {
	old := *held
	if t.Err() != nil || old != nil && old.Rows() >= rows {
		return
	}
	capacity := (rows + cacheStep - 1) / cacheStep * cacheStep
	if old != nil { // grow by half at least, so that copying stays cheap
		capacity = max(capacity, old.Rows()*3/2/cacheStep*cacheStep)
	}
	if l.limit > 0 {
		capacity = min(capacity, l.limit)
	}
	bigger, err := tensor.New(c.dev, compute.Shape{capacity, cols}, c.dtype, nil)
	if err != nil {
		t.Fail(fmt.Errorf("KV cache of %d tokens: %w", capacity, err))
		return
	}
	if old != nil {
		t.CopyRows(bigger, old, 0)
	}
	if t.Err() != nil {
		bigger.Free()
		return
	}
	old.Free()
	*held = bigger
}

// Free gives the memory back and empties the cache.
func (c *Cache) Free() {
	for i := range c.layers {
		l := &c.layers[i]
		l.keys.Free()
		l.values.Free()
		l.keys, l.values = nil, nil
	}
	c.length = 0
}
