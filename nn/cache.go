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
// mlx-lm's does.
type Cache struct {
	dev    compute.Device
	dtype  compute.DType
	limit  int // most tokens held; 0 is no limit
	length int // tokens seen
	keys   []*tensor.Tensor
	values []*tensor.Tensor
}

// NewCache makes an empty cache for layers layers. limit 0 never forgets.
func NewCache(dev compute.Device, layers, limit int, dtype compute.DType) (*Cache, error) {
	if limit != 0 && limit <= sinkTokens {
		return nil, fmt.Errorf("a KV cache of %d tokens is too small: give more than %d", limit, sinkTokens)
	}
	return &Cache{dev: dev, dtype: dtype, limit: limit, keys: make([]*tensor.Tensor, layers), values: make([]*tensor.Tensor, layers)}, nil
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

// rotates reports whether old tokens have been or are being overwritten.
func (c *Cache) rotates() bool { return c.limit > 0 && c.length >= c.limit }

// Room is how many tokens the next forward pass may take: any number (-1), but
// one at a time once a limited cache is full.
func (c *Cache) Room() int {
	if c.limit == 0 {
		return -1
	}
	return max(1, c.limit-c.length)
}

// Advance counts n tokens in, after all layers have taken them.
func (c *Cache) Advance(n int) { c.length += n }

// Trim forgets the newest tokens down to length n; a cache that rotates cannot.
func (c *Cache) Trim(n int) error {
	if n > c.length || c.rotates() {
		return fmt.Errorf("KV cache of %d tokens cannot be cut back to %d", c.length, n)
	}
	c.length = n
	return nil
}

// update stores the new rows of a layer and returns all keys and values with
// the key index of the first new token.
func (c *Cache) update(t *tensor.Tape, layer int, k, v *tensor.Tensor) (keys, values *tensor.Tensor, offset int) {
	n := k.Rows()
	at := c.Held(0)
	if c.rotates() {
		at = sinkTokens + (c.length-sinkTokens)%(c.limit-sinkTokens)
		offset = c.limit - n
	} else {
		offset = at
	}
	c.grow(t, layer, at+n, k.Cols(), v.Cols())
	if t.Err() != nil {
		return k, v, 0
	}
	t.CopyRows(c.keys[layer], k, at)
	t.CopyRows(c.values[layer], v, at)
	return c.keys[layer], c.values[layer], offset
}

// grow makes room for rows tokens in a layer.
func (c *Cache) grow(t *tensor.Tape, layer, rows, kCols, vCols int) {
	if t.Err() != nil || c.keys[layer] != nil && c.keys[layer].Rows() >= rows {
		return
	}
	capacity := (rows + cacheStep - 1) / cacheStep * cacheStep
	if c.keys[layer] != nil { // grow by half at least, so that copying stays cheap
		capacity = max(capacity, c.keys[layer].Rows()*3/2/cacheStep*cacheStep)
	}
	if c.limit > 0 {
		capacity = min(capacity, c.limit)
	}
	for _, part := range []struct {
		held *[]*tensor.Tensor
		cols int
	}{{&c.keys, kCols}, {&c.values, vCols}} {
		bigger, err := tensor.New(c.dev, compute.Shape{capacity, part.cols}, c.dtype, nil)
		if err != nil {
			t.Fail(fmt.Errorf("KV cache of %d tokens: %w", capacity, err))
			return
		}
		if old := (*part.held)[layer]; old != nil {
			t.CopyRows(bigger, old, 0)
			old.Free()
		}
		(*part.held)[layer] = bigger
	}
}

// Free gives the memory back and empties the cache.
func (c *Cache) Free() {
	for i := range c.keys {
		c.keys[i].Free()
		c.values[i].Free()
		c.keys[i], c.values[i] = nil, nil
	}
	c.length = 0
}
