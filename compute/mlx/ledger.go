package mlx

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// A ledger reckons what MLX holds: slots, what ops compute on the way, and what was given back in pieces of work that are
// still under way. The planner has one, and so has the device: MLX may take as much as its account says, and beyond
// that waits for work to end before it takes more.
type ledger struct {
	activations compute.DType
	gpu         bool

	held int64                   // of slots
	gone [piecesAhead]int64      // given back in each of the last pieces of work, the newest first
	ops  int                     // of the newest
	wide map[compute.Weight]bool // weights that are held with scales in float32, too
	load int64                   // of the newest, in bytes that take as long
	most int64
}

// piecesAhead is how many pieces of work may be under way: one is computed while the next is built.
const piecesAhead = 2

// Ledger is a new account of what MLX holds beside weights.
func (d *Device) Ledger() compute.Ledger { return d.newLedger() }

func (d *Device) newLedger() *ledger { return &ledger{activations: d.info.Activations, gpu: d.gpu} }

// Take gives a slot.
func (l *ledger) Take(bytes int64) int64 {
	l.held += bytes
	l.note(0)
	return bytes
}

// Free takes a slot back. Work under way still holds its array.
func (l *ledger) Free(size int64) {
	l.held -= size
	l.gone[0] += size
}

// note notes what is held now, and work bytes more.
func (l *ledger) note(work int64) {
	sum := l.held + work
	for _, n := range l.gone {
		sum += n
	}
	l.most = max(l.most, sum)
}

// Run reckons with an op.
func (l *ledger) Run(op compute.Op, out, in []compute.Spec) {
	l.widen(op, out)
	l.run(op, out, in)
}

// widen counts what Device.widened makes for an op, once for weights that are alike: a head, as a rule.
func (l *ledger) widen(op compute.Op, out []compute.Spec) {
	w, _, _ := compute.WeightInput(op)
	if _, n := widens(op, out, l.activations); n > 0 && !l.wide[w] {
		if l.wide == nil {
			l.wide = map[compute.Weight]bool{}
		}
		l.wide[w] = true
		l.held += n
	}
}

// run is Run that tells whether the op ends a piece of work.
func (l *ledger) run(op compute.Op, out, in []compute.Spec) bool {
	l.note(l.work(op, out, in))
	c := op.Cost(in)
	l.ops, l.load = l.ops+1, l.load+c.Bytes+c.FLOPs/flopsOfByte
	isEnd := l.ops >= pieceOps && l.load >= pieceLoad || l.ops >= pieceMost || isWhole(op)
	if isEnd {
		copy(l.gone[1:], l.gone[:])
		l.gone[0], l.ops, l.load = 0, 0, 0
	}
	return isEnd
}

// A piece of work is queued at once: about a layer of a training step, or a token of a small model, whose ops are over
// sooner than a piece is queued. A command buffer of either is far from what macOS takes for one that hangs.
const (
	pieceOps    = 16      // at least
	pieceLoad   = 8 << 20 // bytes, at least
	pieceMost   = 256     // ops
	flopsOfByte = 16      // floating-point operations that take the time of a byte, about
)

// Most is what was held at once; none of it is on Go's heap.
func (l *ledger) Most() (all, heap int64) { return l.most, 0 }

// Weight is what an imported matrix takes.
func (l *ledger) Weight(m *quant.Matrix) int64 {
	if a, ok := m.ToAffine(quant.F32); ok {
		m = a
	}
	return l.stored(m)
}

// stored is what a matrix takes that is copied as it is, or dense.
func (l *ledger) stored(m *quant.Matrix) int64 {
	if isPacked(m.Format) {
		n := int64(len(m.Data) + len(m.Scales) + len(m.Biases))
		if was, is := m.Format.DType, scalesOf(m.Format, l.activations); is != was {
			n += int64(len(m.Scales)+len(m.Biases)) / int64(was.Size()) * int64(is.Size()-was.Size())
		}
		return n
	}
	return int64(m.Rows) * int64(m.Cols) * int64(denseType(m.Format, l.activations).Size())
}

// isWhole tells ops that end a piece of work: those over all tokens of a dictionary, whose results are read next.
func isWhole(op compute.Op) bool {
	switch op.(type) {
	case compute.CrossEntropy, compute.CrossEntropyLogits, compute.ArgMax, compute.Sample:
		return true
	}
	return false
}

// work is what an op holds at once beside its inputs and outputs, in float32.
func (l *ledger) work(op compute.Op, out, in []compute.Spec) int64 {
	f32 := func(s compute.Spec) int64 { return 4 * int64(s.Shape.Elems()) }
	switch o := op.(type) {
	case compute.CrossEntropy:
		rows, v := int64(in[0].Shape[0]), int64(o.Weight.Rows)
		logits := 4 * min(rows, int64(lossRows(o.Weight.Rows))) * v
		switch { // as TestPlanOfMLX measured
		case o.Grad && isPacked(o.Weight.Format):
			return 5 * logits
		case o.Grad:
			return 4 * logits
		}
		return 2 * logits
	case compute.Attention:
		return scores(o, in, 2) + f32(in[0])
	case compute.AttentionGrad:
		return scores(o.Attention, in, 4) + f32(out[0]) + f32(out[1]) + f32(out[2])
	case compute.SwiGLUGrad:
		return 4 * f32(out[0])
	case compute.ExpertGradWeight:
		return 2*f32(out[0]) + productBytes
	case compute.RowSquares:
		return productBytes
	}
	var most, widened int64
	for _, s := range out {
		if s.DType.IsFloat() {
			most = max(most, f32(s))
		}
	}
	for _, i := range compute.Activations(op) {
		if in[i].DType != compute.F32 {
			widened += f32(in[i])
		}
	}
	return most + widened
}

// scores are n arrays of the scores of a piece of queries, of segments alike in length.
func scores(o compute.Attention, in []compute.Spec, n int) int64 {
	t, segments := in[0].Shape[0], max(1, in[3].Shape[0]-1)
	queries, keys := min(most(o, t), (t+segments-1)/segments), (t+segments-1)/segments
	return int64(n) * 4 * int64(o.Heads) * int64(queries) * int64(keys)
}
