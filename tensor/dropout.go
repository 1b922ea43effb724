package tensor

import "github.com/lentil-lm/lentil/compute"

// A mask is what dropout makes of one tensor; with a Rate of 0 it leaves all as it is.
type mask struct {
	compute.Dropout
	keys *Tensor // U32 [n, 2]
}

// cover masks g in place.
func (m mask) cover(t *Tape, g *Tensor) { t.run(m.Dropout, bufs(g.buf), bufs(g.buf, m.keys.buf)) }

// saved are the tensors that a node with the mask keeps alive.
func (m mask) saved(more ...*Tensor) []*Tensor {
	if m.keys != nil {
		more = append(more, m.keys)
	}
	return more
}

// drawn are keys of masks to come. They go to the device together, and a pass like the
// last one finds its keys in the same rows.
type drawn struct {
	keys   *Tensor       // U32 [n, 2]
	before []compute.Key // of each key the tape's Keys that draw it, and those after the last
	next   int           // row of the next key
	masks  int           // of this pass so far
	most   int           // masks of a pass before it
}

// fewestKeys are drawn in the first pass, whose number of masks is not known.
const fewestKeys = 16

// newMask draws the key of a mask of dropout. There is dropout while recording only.
func (t *Tape) newMask(dropout float32) (m mask) {
	if dropout == 0 || !t.record {
		return m
	}
	d := &t.drawn
	if !d.find(t.Keys) {
		t.draw()
	}
	m.Dropout, m.keys = compute.Dropout{Rate: dropout, Row: d.next}, d.keys
	d.next++
	d.masks++
	t.Keys = d.before[d.next]
	return m
}

// find moves to the key that keys draw: a checkpoint goes back to those of its first pass.
func (d *drawn) find(keys compute.Key) bool {
	n := len(d.before) - 1
	if d.next < n && d.before[d.next] == keys {
		return true
	}
	for i := range max(n, 0) {
		if d.before[i] == keys {
			d.next = i
			return true
		}
	}
	return false
}

// draw fills a new table of keys.
func (t *Tape) draw() {
	n := max(fewestKeys, t.drawn.most)
	uses, before := make([]compute.Key, n), make([]compute.Key, n+1)
	before[0] = t.Keys
	for i := range uses {
		before[i+1], uses[i] = before[i].Split()
	}
	t.drawn.release()
	t.drawn.before, t.drawn.next, t.drawn.keys = before, 0, t.keys(uses)
	t.drawn.keys.retain()
}

// endPass gives the table back; nodes that are recorded keep what they need of it.
func (d *drawn) endPass() {
	d.release()
	*d = drawn{most: max(d.most, d.masks)}
}

func (d *drawn) release() {
	if d.keys != nil {
		d.keys.release()
		d.keys = nil
	}
}

// keys copies keys to the device: U32 [n, 2].
func (t *Tape) keys(k []compute.Key) *Tensor {
	return t.upload(compute.Spec{Shape: compute.Shape{len(k), 2}, DType: compute.U32}, compute.KeyBytes(k))
}
