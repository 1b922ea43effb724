package nn

import (
	"github.com/lentil-lm/lentil/quant"
)

// ring is a layerCache of floats that holds the sequence's first tokens and the
// newest others: see Cache for a picture. It takes tokens one by one once it is full.
type ring struct {
	pair
	most int // tokens held at most
	sink int // of these, first tokens that stay
}

// slot is where a token lies.
func (c *ring) slot(token int) int {
	if token < c.most {
		return token
	}
	return c.sink + (token-c.sink)%(c.most-c.sink)
}

// place gives a token that comes to a full ring all that is held to see, in whatever
// order it lies: no window is smaller than the ring.
func (c *ring) place(seen, n int) (at, keys int) { return c.slot(seen), min(seen+n, c.most) }

func (c *ring) limits() (most, first int) { return c.most, c.sink }

func (c *ring) state(seen int) (LayerState, error) {
	s, err := c.pair.state(min(seen, c.most))
	if err != nil || seen <= c.most {
		return s, err
	}
	s.First = c.sink
	s.Keys, s.Values = c.inOrder(s.Keys, seen), c.inOrder(s.Values, seen)
	return s, nil
}

// inOrder sorts the slots of a full ring by token.
func (c *ring) inOrder(slots *quant.Matrix, seen int) *quant.Matrix {
	m := blank(slots.Format, slots.Rows, slots.Cols)
	for i := range slots.Rows {
		token := i
		if i >= c.sink {
			token = seen - c.most + i
		}
		copyRow(m, i, slots, c.slot(token))
	}
	return m
}

// restore takes the tokens that the ring would hold.
func (c *ring) restore(s LayerState, seen int) (partial bool, err error) {
	room := min(roomFor(seen), c.most)
	if seen <= c.most {
		return false, c.fill(s, seen, room, c.slot, span{0, seen})
	}
	return false, c.fill(s, seen, room, c.slot, span{0, c.sink}, span{seen - (c.most - c.sink), seen})
}
