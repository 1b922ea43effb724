package nn

import (
	"errors"
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tensor"
)

// LayerState is what one layer of a cache holds, in host memory.
type LayerState struct {
	// Keys and Values are rows [n, KVHeads·HeadDim] of the cache's DType, in the order
	// of their tokens.
	Keys, Values []byte
	// First is how many rows are the sequence's first tokens, when tokens between them
	// and the others, the newest, are forgotten.
	First int
}

// DType is the type of keys and values.
func (c *Cache) DType() compute.DType { return c.dtype }

// Limit is how many tokens a layer holds at most, and how many of these are the
// sequence's first; 0 is no limit.
func (c *Cache) Limit(layer int) (most, first int) {
	l := &c.layers[layer]
	return l.limit, l.sink
}

// State copies out what a layer holds.
func (c *Cache) State(layer int) (LayerState, error) {
	l := &c.layers[layer]
	if c.length == 0 || l.keys == nil {
		return LayerState{}, fmt.Errorf("the KV cache is empty")
	}
	at, _, full := l.place(c.length)
	read := func(x *tensor.Tensor) ([]byte, error) {
		row := x.Cols() * c.dtype.Size()
		all := make([]byte, x.Rows()*row)
		if err := c.dev.Read(x.Buffer(), all); err != nil {
			return nil, err
		}
		if !full {
			return all[:c.length*row], nil
		}
		// The oldest token of the ring lies where the next one goes.
		ordered := append(make([]byte, 0, l.limit*row), all[:l.sink*row]...)
		ordered = append(ordered, all[at*row:l.limit*row]...)
		return append(ordered, all[l.sink*row:at*row]...), nil
	}
	s := LayerState{First: l.sink}
	var err error
	if s.Keys, err = read(l.keys); err != nil {
		return s, err
	}
	s.Values, err = read(l.values)
	return s, err
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
	row := cols * c.dtype.Size()
	n := len(s.Keys) / row
	if n*row != len(s.Keys) || len(s.Keys) != len(s.Values) || n > length || s.First > n {
		return fmt.Errorf("%d bytes of keys and %d of values are not those of %d tokens or fewer, %d each", len(s.Keys), len(s.Values), length, row)
	}
	capacity := (length + cacheStep - 1) / cacheStep * cacheStep
	if l.limit > 0 {
		capacity = min(capacity, l.limit)
	}
	keys, values := make([]byte, capacity*row), make([]byte, capacity*row)
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
			copy(keys[to*row:(to+1)*row], s.Keys[from*row:])
			copy(values[to*row:(to+1)*row], s.Values[from*row:])
		}
		return nil
	}
	sink, from := l.needed(length, window)
	if err := errors.Join(put(0, sink), put(from, length)); err != nil {
		return err
	}
	shape := compute.Shape{capacity, cols}
	var err error
	if l.keys, err = tensor.New(c.dev, shape, c.dtype, keys); err != nil {
		return err
	}
	l.values, err = tensor.New(c.dev, shape, c.dtype, values)
	return err
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
