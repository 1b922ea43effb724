package nn

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// cacheStep is by how many tokens a cache grows at least.
const cacheStep = 256

// roomFor is the capacity for n tokens: whole steps.
func roomFor(n int) int { return (n + cacheStep - 1) / cacheStep * cacheStep }

// mostRoomFor is the largest capacity that a cache of n tokens may have grown to.
func mostRoomFor(n int) int { return max(roomFor(n), grown(roomFor(n)-cacheStep)) }

// grown is the capacity after the next one: larger by half, so that copying stays cheap.
func grown(capacity int) int { return capacity * 3 / 2 / cacheStep * cacheStep }

// pair is the keys and the values of a layer, which grow as tokens come.
type pair struct {
	dev          compute.Device
	format       quant.Format
	keys, values *stored // nil while empty
}

func (p *pair) stores() quant.Format { return p.format }

func (p *pair) held() *pair { return p }

// room makes room for n tokens of cols keys and values, of which there are most (0 for
// any number), and, where it has to grow, for some of those that are expected. It reports whether the tape has no error.
func (p *pair) room(t *tensor.Tape, n, cols, most int, e expected) bool {
	p.grow(t, &p.keys, n, cols, most, e)
	p.grow(t, &p.values, n, cols, most, e)
	return t.Err() == nil
}

// grow makes room for n tokens among the keys or the values.
func (p *pair) grow(t *tensor.Tape, held **stored, n, cols, most int, e expected) {
	old := *held
	if t.Err() != nil || old != nil && old.Rows >= n {
		return
	}
	capacity := e.room(n)
	if old != nil {
		capacity = max(capacity, grown(old.Rows))
	}
	if most > 0 {
		capacity = min(capacity, most)
	}
	bigger, err := newStored(p.dev, compute.Weight{Format: p.format, Rows: capacity, Cols: cols}, nil)
	if err != nil {
		t.Fail(err)
		return
	}
	if old != nil {
		for i, part := range old.parts {
			t.CopyRows(bigger.parts[i], part)
		}
	}
	if t.Err() != nil {
		bigger.free()
		return
	}
	old.free()
	*held = bigger
}

// copy takes what other holds of the first n tokens, of which there are most (0 for any
// number).
func (p *pair) copy(t *tensor.Tape, other *pair, n, most int) {
	rows := roomFor(n)
	if most > 0 {
		rows = min(rows, most)
	}
	for _, part := range []struct {
		to   **stored
		from *stored
	}{{&p.keys, other.keys}, {&p.values, other.values}} {
		if part.from == nil || t.Err() != nil {
			continue
		}
		w := part.from.Weight
		w.Rows = rows
		s, err := newStored(p.dev, w, nil)
		if err != nil {
			t.Fail(err)
			return
		}
		*part.to = s
		for i, x := range part.from.parts {
			t.CopyRows(s.parts[i], x)
		}
	}
}

func (p *pair) bytes() int64 { return p.keys.bytes() + p.values.bytes() }

func (p *pair) free() {
	p.keys.free()
	p.values.free()
	p.keys, p.values = nil, nil
}

// stored is the keys or the values of one layer, [capacity, Heads·HeadDim], laid out
// as the rows of a weight: one tensor of floats, or packed integers, scales and biases.
type stored struct {
	compute.Weight
	parts []*tensor.Tensor
}

// newStored makes room for keys or values; without content it is unspecified.
func newStored(dev compute.Device, w compute.Weight, content *quant.Matrix) (*stored, error) {
	s := &stored{Weight: w}
	data := make([][]byte, 3)
	if content != nil {
		data = [][]byte{content.Data, content.Scales, content.Biases}
	}
	for i, spec := range w.Specs() {
		x, err := tensor.New(dev, spec.Shape, spec.DType, data[i])
		if err != nil {
			s.free()
			return nil, fmt.Errorf("KV cache of %d tokens: %w", w.Rows, err)
		}
		s.parts = append(s.parts, x)
	}
	return s, nil
}

// quantized makes affine integers of floats, with the same room to grow: what lies
// there is rounded along with the tokens, and never read.
func (s *stored) quantized(t *tensor.Tape, dev compute.Device, f quant.Format) *stored {
	q, err := newStored(dev, compute.Weight{Format: f, Rows: s.Rows, Cols: s.Cols}, nil)
	if err != nil {
		t.Fail(err)
		return nil
	}
	t.QuantizeRows(q.parts, q.Weight, s.parts[0])
	return q
}

// matrix copies out the first n slots.
func (s *stored) matrix(dev compute.Device, n int) (*quant.Matrix, error) {
	m := &quant.Matrix{Format: s.Format, Rows: n, Cols: s.Cols}
	for i, part := range []*[]byte{&m.Data, &m.Scales, &m.Biases}[:len(s.parts)] {
		all := make([]byte, s.parts[i].Buffer().Spec().Bytes())
		if err := dev.Read(s.parts[i].Buffer(), all); err != nil {
			return nil, err
		}
		*part = all[:len(all)/s.Rows*n]
	}
	return m, nil
}

func (s *stored) bytes() (n int64) {
	if s == nil {
		return 0
	}
	for _, spec := range s.Specs() {
		n += spec.Bytes()
	}
	return n
}

func (s *stored) free() {
	if s == nil {
		return
	}
	for _, p := range s.parts {
		p.Free()
	}
}
