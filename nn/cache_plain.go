package nn

import (
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// plain is a layerCache that holds all tokens as floats.
type plain struct {
	pair
	window int // of the layer's attention; 0 is all
}

func (c *plain) place(seen, n int) (at, keys int) { return seen, seen + n }

func (c *plain) limits() (most, first int) { return 0, 0 }

func (c *plain) state(seen int) (LayerState, error) { return c.pair.state(seen) }

// restore leaves out tokens that lie behind the window of all to come.
func (c *plain) restore(s LayerState, seen int) (partial bool, err error) {
	from := 0
	if c.window > 0 {
		from = max(0, seen-c.window+1)
	}
	return from > 0, c.fill(s, seen, roomFor(seen), func(token int) int { return token }, span{from, seen})
}

// quantize turns c into a quantized cache. After an error of the tape it stays c.
func (c *plain) quantize(t *tensor.Tape, f quant.Format) layerCache {
	q := &quantized{plain{pair{dev: c.dev, format: f}, c.window}}
	if c.keys == nil {
		return q
	}
	q.keys, q.values = c.keys.quantized(t, c.dev, f), c.values.quantized(t, c.dev, f)
	if t.Err() != nil {
		q.free()
		return c
	}
	c.free()
	return q
}

// quantized is a plain cache of affine integers in groups along each head.
type quantized struct{ plain }
