package nn

import (
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tensor"
)

// CachesAgain are Caches of passes that come again and again, one token of each sequence at a time: spans are told where they
// were told before, so that a device finds the same pass, with other numbers.
type CachesAgain struct {
	*Caches
	first []told
	held  [][]*stored // where keys and values lie, by the layer
}

// NewCachesAgain makes them of caches that are not full, or returns nil where one has a limit: a token's place is then another in
// each layer.
func NewCachesAgain(dev compute.Device, caches []*Cache) (c *CachesAgain, err error) {
	c = &CachesAgain{Caches: &Caches{}}
	for _, one := range caches {
		if one.limit > 0 {
			return nil, nil
		}
		c.pieces = append(c.pieces, Piece{Tokens: 1, Cache: one})
	}
	for layer := range caches[0].layers {
		c.held = append(c.held, c.stores(layer))
	}
	t := tensor.NewTape(dev)
	c.first = c.tell(t, func(spans []compute.Span) *tensor.Tensor {
		x, e := tensor.New(dev, compute.Shape{len(spans), 4}, compute.I32, compute.IntBytes(compute.SpanInts(spans...)))
		t.Fail(e)
		return x
	})
	if err = t.Err(); err != nil {
		c.Free()
	}
	return c, err
}

// stores is where the keys and values of a layer lie.
func (c *CachesAgain) stores(layer int) (list []*stored) {
	for _, p := range c.pieces {
		h := p.Cache.layers[layer].held()
		list = append(list, h.keys, h.values)
	}
	return list
}

// Fit reports whether all caches are where they were.
func (c *CachesAgain) Fit() bool {
	for layer, held := range c.held {
		for i, p := range c.pieces {
			if h := p.Cache.layers[layer].held(); h.keys != held[2*i] || h.values != held[2*i+1] {
				return false
			}
		}
	}
	return true
}

// Full reports whether a cache has to grow for the next token.
func (c *Cache) Full() bool {
	for _, l := range c.layers {
		if h := l.held(); h.keys == nil || h.values == nil || min(h.keys.Rows, h.values.Rows) <= c.seen {
			return true
		}
	}
	return false
}

// Tell tells the device where the next tokens go.
func (c *CachesAgain) Tell(t *tensor.Tape) {
	for _, told := range c.first {
		for layer, kinds := range c.layers {
			i := slices.IndexFunc(kinds, func(s storage) bool { return s.spans == told.Tensor })
			if i < 0 {
				continue
			}
			kinds[i].ends = kinds[i].ends[:0]
			t.Tell(told.Tensor, compute.IntBytes(compute.SpanInts(c.spans(layer, &kinds[i])...)))
			break
		}
	}
}

// Free gives back what the device was told.
func (c *CachesAgain) Free() {
	for _, told := range c.first {
		told.Free()
	}
}
