package nn

import (
	"errors"
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/quant"
)

// LayerState is what one layer of a cache holds, in host memory.
type LayerState struct {
	// Keys and Values are [n, Heads·HeadDim] in the order of their tokens: dense, of
	// the cache's DType, or affine with scales of that type.
	Keys, Values *quant.Matrix
	// First is how many of the n are the sequence's first tokens. Tokens between them
	// and the others, which are the newest, may be missing.
	First int
}

// State copies out what a layer holds.
func (c *Cache) State(layer int) (LayerState, error) { return c.layers[layer].state(c.seen) }

// Restore fills the cache with what its layers hold after seen tokens. Tokens that none
// to come will look at may be missing. After an error the cache is empty.
func (c *Cache) Restore(seen int, state func(layer int) (LayerState, error)) (err error) {
	c.Free()
	defer func() {
		if err != nil {
			c.Free()
		}
	}()
	for i := range c.layers {
		s, err := state(i)
		if err != nil {
			return err
		}
		if err := c.check(s, seen, c.shapes[i].Cols()); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		c.layers[i] = c.layer(i, s.Keys.Format)
		partial, err := c.layers[i].restore(s, seen)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if partial {
			c.floor = seen
		}
	}
	c.seen = seen
	return nil
}

// check tells whether a state can be one of this cache after seen tokens.
func (c *Cache) check(s LayerState, seen, cols int) error {
	for _, m := range []*quant.Matrix{s.Keys, s.Values} {
		if err := m.Check(); err != nil {
			return err
		}
		if m.Format.DType != c.dtype || m.Format != s.Keys.Format || m.Rows != s.Keys.Rows || m.Rows > seen || m.Cols != cols {
			return fmt.Errorf("[%d, %d] %v keys or values are not %v ones of %d tokens or fewer, %d for each", m.Rows, m.Cols, m.Format, c.dtype, seen, cols)
		}
	}
	if s.Keys.Format.Kind == quant.Affine && c.limit > 0 {
		return fault.At("max_kv_size", "keys and values are quantized, and a cache with a size limit cannot be")
	}
	if s.First > s.Keys.Rows {
		return fmt.Errorf("the first %d tokens of %d", s.First, s.Keys.Rows)
	}
	return nil
}

// state copies out the first n slots.
func (p *pair) state(n int) (s LayerState, err error) {
	if n == 0 || p.keys == nil {
		return s, errors.New("the KV cache is empty")
	}
	if s.Keys, err = p.keys.matrix(p.dev, n); err == nil {
		s.Values, err = p.values.matrix(p.dev, n)
	}
	return s, err
}

// span is the tokens [from, to).
type span struct{ from, to int }

// fill makes room for capacity tokens and puts those of the spans into their slots.
func (p *pair) fill(s LayerState, seen, capacity int, slot func(token int) int, spans ...span) (err error) {
	n, cols := s.Keys.Rows, s.Keys.Cols
	keys, values := blank(p.format, capacity, cols), blank(p.format, capacity, cols)
	for _, part := range spans {
		for token := part.from; token < part.to; token++ {
			row := token
			if token >= s.First {
				row -= seen - n // those between are missing
			}
			if token >= s.First && row < s.First {
				return fmt.Errorf("token %d of %d is not there: %d tokens are, %d of them the first", token, seen, n, s.First)
			}
			copyRow(keys, slot(token), s.Keys, row)
			copyRow(values, slot(token), s.Values, row)
		}
	}
	w := compute.Weight{Format: p.format, Rows: capacity, Cols: cols}
	if p.keys, err = newStored(p.dev, w, keys); err == nil {
		p.values, err = newStored(p.dev, w, values)
	}
	return err
}

// blank makes a matrix of zeros.
func blank(f quant.Format, n, cols int) *quant.Matrix {
	m := &quant.Matrix{Format: f, Rows: n, Cols: cols}
	for i, s := range (compute.Weight{Format: f, Rows: n, Cols: cols}).Specs() {
		*[]*[]byte{&m.Data, &m.Scales, &m.Biases}[i] = make([]byte, s.Bytes())
	}
	return m
}

// copyRow copies a row between matrices of one format and width.
func copyRow(dst *quant.Matrix, to int, src *quant.Matrix, from int) {
	part := func(into, of []byte) {
		n := len(of) / src.Rows
		copy(into[to*n:(to+1)*n], of[from*n:])
	}
	part(dst.Data, src.Data)
	part(dst.Scales, src.Scales)
	part(dst.Biases, src.Biases)
}
