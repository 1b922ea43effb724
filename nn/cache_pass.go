package nn

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// Piece is the next tokens of one sequence, so many rows of a pass, and the cache that
// they are added to.
type Piece struct {
	Tokens int
	Cache  *Cache
}

// Caches are the KV caches of the sequences of a pass. The rows of the pass are those of
// the first piece, then those of the second, and so on.
type Caches struct {
	pieces []Piece
	layers [][]storage
}

// storage is the pieces of a pass whose caches hold a layer in one format. Devices work
// on them together.
type storage struct {
	format quant.Format
	pieces []int
	spans  *tensor.Tensor
	ends   []int // rows that each cache must have
}

// told is spans that the device was told.
type told struct {
	spans []compute.Span
	*tensor.Tensor
}

// NewCaches tells the device where the pieces lie, layer by layer, in one upload for all
// layers that are alike.
func NewCaches(t *tensor.Tape, pieces []Piece) *Caches {
	c := &Caches{pieces: pieces}
	c.tell(t, t.Spans)
	return c
}

// tell uploads the spans.
func (c *Caches) tell(t *tensor.Tape, upload func([]compute.Span) *tensor.Tensor) (made []told) {
	for layer := range c.pieces[0].Cache.layers {
		kinds := c.kinds(t, layer)
		for i := range kinds {
			spans := c.spans(layer, &kinds[i])
			k := 0
			for k < len(made) && !slices.Equal(made[k].spans, spans) {
				k++
			}
			if k == len(made) {
				made = append(made, told{spans, upload(spans)})
			}
			kinds[i].spans = made[k].Tensor
		}
		c.layers = append(c.layers, kinds)
	}
	return made
}

// kinds sorts the pieces by the format in which their caches hold a layer.
func (c *Caches) kinds(t *tensor.Tape, layer int) (kinds []storage) {
	for i, p := range c.pieces {
		if most, _ := p.Cache.Limits(layer); most > 0 && p.Tokens > 1 && p.Cache.seen+p.Tokens > most {
			t.Fail(fmt.Errorf("%d tokens at once do not go into a ring that has seen %d and holds %d", p.Tokens, p.Cache.seen, most))
		}
		f := p.Cache.Format(layer)
		k := slices.IndexFunc(kinds, func(s storage) bool { return s.format == f })
		if k < 0 {
			k, kinds = len(kinds), append(kinds, storage{format: f})
		}
		kinds[k].pieces = append(kinds[k].pieces, i)
	}
	return kinds
}

// spans says where the pieces of one kind lie.
func (c *Caches) spans(layer int, s *storage) []compute.Span {
	from := make([]int, len(c.pieces)+1)
	for i, p := range c.pieces {
		from[i+1] = from[i] + p.Tokens
	}
	var spans []compute.Span
	for _, i := range s.pieces {
		p := c.pieces[i]
		at, keys := p.Cache.layers[layer].place(p.Cache.seen, p.Tokens)
		spans = append(spans, compute.Span{From: from[i], To: from[i+1], At: at, Keys: keys})
		s.ends = append(s.ends, max(at+p.Tokens, keys))
	}
	return spans
}

// attend adds k and v [T, cols] to what the caches hold of a layer, and lets the queries
// q [T, D] of each sequence look at all of its own.
func (c *Caches) attend(t *tensor.Tape, layer int, q, k, v *tensor.Tensor, op compute.Attention) (y *tensor.Tensor) {
	for _, s := range c.layers[layer] {
		store := compute.StoreRows{Format: s.format, Cols: k.Cols()}
		var keys, values, both []*tensor.Tensor
		for j, i := range s.pieces {
			l := c.pieces[i].Cache.layers[layer]
			most, _ := l.limits()
			p := l.held()
			if !p.room(t, s.ends[j], k.Cols(), most, c.pieces[i].Cache.expected) {
				break
			}
			keys, values, both = append(keys, p.keys.parts...), append(values, p.values.parts...), append(append(both, p.keys.parts...), p.values.parts...)
			store.Rows = append(store.Rows, p.keys.Rows)
		}
		if t.Err() == nil {
			t.StoreRows(keys, k, s.spans, store)
			t.StoreRows(values, v, s.spans, store)
		}
		y = t.CacheAttention(y, q, s.spans, both, compute.CacheAttention{Attention: op, Format: s.format})
	}
	return y
}

// Advance counts the pieces in, after all layers have taken them.
func (c *Caches) Advance() {
	for _, p := range c.pieces {
		p.Cache.seen += p.Tokens
	}
}
