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
	// Keys and Values are [n, KVHeads·HeadDim] in the order of their tokens: dense, of
	// the cache's DType, or affine with scales of that type.
	Keys, Values *quant.Matrix
	// First is how many rows are the sequence's first tokens, when tokens between them
	// and the others, the newest, are forgotten.
	First int
}

// DType is the type of keys and values, or of the scales that they have.
func (c *Cache) DType() compute.DType { return c.dtype }

// Limit is how many tokens a layer holds at most, and how many of these are the
// sequence's first; 0 is no limit.
func (c *Cache) Limit(layer int) (most, first int) {
	l := &c.layers[layer]
	return l.limit, l.sink
}

// Format is how a layer stores keys and values: dense or affine.
func (c *Cache) Format(layer int) quant.Format { return c.layers[layer].format }

// State copies out what a layer holds.
func (c *Cache) State(layer int) (s LayerState, err error) {
	l := &c.layers[layer]
	if c.length == 0 || l.keys == nil {
		return s, errors.New("the KV cache is empty")
	}
	s.First = l.sink
	if s.Keys, err = c.ordered(l, l.keys); err == nil {
		s.Values, err = c.ordered(l, l.values)
	}
	return s, err
}

// ordered copies a layer's rows in the order of their tokens.
func (c *Cache) ordered(l *layerCache, r *stored) (*quant.Matrix, error) {
	at, _, full := l.place(c.length)
	if !full {
		return r.matrix(c.dev, c.length)
	}
	ring, err := r.matrix(c.dev, l.limit)
	if err != nil {
		return nil, err
	}
	// The oldest token of the ring lies where the next one goes.
	m := blank(r.Format, l.limit, r.Cols)
	for i := range l.limit {
		from := i
		if i >= l.sink {
			from = l.sink + (i+at-2*l.sink)%(l.limit-l.sink)
		}
		copyRow(m, i, ring, from)
	}
	return m, nil
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

// Restore fills an empty cache with what its layers hold after length tokens, rows
// of cols values. windows are the layers' attention windows, as for NewCache: rows
// that no token to come will look at may be missing. After an error the cache is
// empty.
func (c *Cache) Restore(length, cols int, windows []int, state func(layer int) (LayerState, error)) (err error) {
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
		if err := c.restore(&c.layers[i], s, length, cols, windows[i]); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	c.length = length
	return nil
}

func (c *Cache) restore(l *layerCache, s LayerState, length, cols, window int) error {
	if err := c.check(s, length, cols); err != nil {
		return err
	}
	n, f := s.Keys.Rows, s.Keys.Format
	capacity := (length + cacheStep - 1) / cacheStep * cacheStep
	if l.limit > 0 {
		capacity = min(capacity, l.limit)
	}
	keys, values := blank(f, capacity, cols), blank(f, capacity, cols)
	put := func(first, end int) error {
		for token := first; token < end; token++ {
			from := token
			if token >= s.First {
				from -= length - n // those between are forgotten
			}
			if from < min(s.First, token) {
				return fmt.Errorf("token %d of %d is not there: %d tokens are, %d of them the first", token, length, n, s.First)
			}
			to, _, _ := l.place(token)
			copyRow(keys, to, s.Keys, from)
			copyRow(values, to, s.Values, from)
		}
		return nil
	}
	sink, from := l.needed(length, window)
	if err := errors.Join(put(0, sink), put(from, length)); err != nil {
		return err
	}
	w := compute.Weight{Format: f, Rows: capacity, Cols: cols}
	var err error
	if l.keys, err = newStored(c.dev, w, keys); err != nil {
		return err
	}
	l.format = f
	l.values, err = newStored(c.dev, w, values)
	return err
}

// check tells whether a state can be one of this cache after length tokens.
func (c *Cache) check(s LayerState, length, cols int) error {
	for _, m := range []*quant.Matrix{s.Keys, s.Values} {
		if err := m.Check(); err != nil {
			return err
		}
		if m.Format.DType != c.dtype || m.Format != s.Keys.Format || m.Rows != s.Keys.Rows || m.Rows > length || m.Cols != cols {
			return fmt.Errorf("[%d, %d] %v keys or values are not %v ones of %d tokens or fewer, %d for each", m.Rows, m.Cols, m.Format, c.dtype, length, cols)
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

// needed tells which of length tokens those to come will still look at: the first
// sink, and all from from on.
func (l *layerCache) needed(length, window int) (sink, from int) {
	switch {
	case l.limit > 0 && length > l.limit:
		return l.sink, length - (l.limit - l.sink)
	case l.limit == 0 && window > 0:
		return 0, max(0, length-window+1)
	}
	return 0, 0
}
