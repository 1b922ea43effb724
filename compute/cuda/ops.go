package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/quant"
)

func (d *Device) ropeTable(o compute.RopeTable, out, in []*buffer) {
	n := out[0].array.Shape.Elems()
	d.kernel("rope_table").arrays(out[0].array, out[1].array, in[0].array, in[1].array).int(in[1].array.Shape[0]).long(int64(n)).float(o.Scale).each(n)
}

func (d *Device) rope(o compute.RoPE, out, in []*buffer) {
	if t := (turn{o, in[1].array, in[2].array}); out[0].ptr != in[0].ptr || !d.holdTurn(t, in[0].array) {
		d.turn(t, out[0].array, in[0].array)
	}
}

// A turn is a rotation by tables of cosines and sines.
type turn struct {
	op       compute.RoPE
	cos, sin array
}

// sign is that of the sines.
func (t turn) sign() float32 {
	if t.op.Inverse {
		return -1
	}
	return 1
}

func (d *Device) turn(t turn, y, x array) {
	d.kernel("rope_"+letter(x.DType)).arrays(y, x, t.cos, t.sin).int(x.Shape[1], t.op.HeadDim, t.cos.Shape[1]).flag(t.op.Traditional).float(t.sign()).blocks(x.Shape[0])
}

// elements queues a kernel over all elements of arrays of one type, with a factor.
func (d *Device) elements(name string, alpha float32, a ...array) {
	n := a[0].Shape.Elems()
	d.kernel(name + "_" + letter(a[0].DType)).arrays(a...).float(alpha).long(int64(n)).each8(n)
}

// gated is elements without a factor.
func (d *Device) gated(name string, a ...array) {
	n := a[0].Shape.Elems()
	d.kernel(name + "_" + letter(a[0].DType)).arrays(a...).long(int64(n)).each8(n)
}

// mostScaled is how many elements scaleBy takes: a grid has so many blocks of 64.
const mostScaled = 65535 * 64

func (d *Device) dropout(o compute.Dropout, out, in []*buffer) {
	x := in[0].array
	n := x.Shape.Elems()
	limit, scale := o.Bound()
	d.kernel("dropout_"+letter(x.DType)).arrays(out[0].array, x).ptr(in[1].ptr + driver.Ptr(8*o.Row)).long(int64(n)).float(limit).float(scale).each(n)
}

func (d *Device) embedGrad(o compute.EmbedGrad, out, in []*buffer) {
	dy, ids := in[0].array, in[1].array
	d.kernel("embed_grad_"+letter(dy.DType)).status().arrays(out[0].array, dy, ids).int(ids.Shape[0], dy.Shape[1], o.Rows).blocks(ids.Shape[0])
}

// scaleBy is a product with a matrix of one element.
func (d *Device) scaleBy(out, in []*buffer) {
	column := func(a array) array {
		return array{compute.Spec{Shape: compute.Shape{a.Shape.Elems(), 1}, DType: a.DType}, a.ptr}
	}
	d.general(column(out[0].array), column(in[0].array), in[1].array, 1, 1, 1, 1, 1, 1, false, nil)
}

func (d *Device) copyRows(o compute.CopyRows, out, in []*buffer) {
	x := in[0].array
	n, from, to := o.Taken(x.Spec).Shape.Elems(), letter(x.DType), letter(o.To)
	if o.To == compute.U32 { // moved, whatever the bits are
		from, to = "f", "f"
	}
	d.kernel("cast_"+to+from).arrays(out[0].array, x).long(int64(n)).each(n)
}

func (d *Device) gatherRows(out, in []*buffer) {
	x, rows := in[0].array, in[1].array
	d.kernel("gather").status().arrays(out[0].array, x, rows).int(x.Shape[1]*x.DType.Size()/2, x.Shape[0]).blocks(rows.Shape[0])
}

func (d *Device) scatterRows(o compute.ScatterRows, out, in []*buffer) {
	dy, rows := in[0].array, in[1].array
	d.kernel("scatter_"+letter(dy.DType)).status().arrays(out[0].array, dy, rows).int(rows.Shape[0], dy.Shape[1], o.Rows).blocks(o.Rows)
}

func (d *Device) embed(o compute.Embed, out, in []*buffer) {
	d.weightRows(out[0].array, in[1], in[0].ptr, o.Weight.Rows, o.Weight.Cols, in[0].array.Shape[0])
}

func (d *Device) sumRows(o compute.SumRows, out, in []*buffer) {
	x := in[0].array
	d.kernel("sum_rows_"+letter(x.DType)).arrays(out[0].array, x).int(x.Shape[0], x.Shape[1]).flag(o.Accumulate).blocks((x.Shape[1] + 31) / 32)
}

func (d *Device) argMax(out, in []*buffer) {
	x := in[0].array
	rows, parts := x.Shape[0], 1
	if rows <= countersHeld {
		parts = max(1, min(x.Shape[1]/2048, 2*d.card.Multiprocessors/max(rows, 1), 64))
	}
	var found array
	if parts > 1 {
		found = d.scratch(compute.I32, rows, 3, parts)
	}
	if rows > 0 {
		d.kernel("argmax_"+letter(x.DType)).arrays(out[0].array, x).int(x.Shape[1]).arrays(found).ptr(d.counters).launch(driver.Grid{X: parts, Y: rows, Threads: 512})
	}
}

const (
	// logitRows is how many rows have logits at a time.
	logitRows = 512
	// heldLogits is the shared memory that keeps logits of a row, on cards that have so much, between their sum and their gradient.
	heldLogits = 208 << 10
	// gradBytes is about how much memory the gradients of logits take: those of more rows than logitRows go into one product.
	gradBytes = 768 << 20
)

// crossEntropy makes the logits of some rows at a time, and forgets them; gradients of logits are multiplied for more rows
// at once.
func (d *Device) crossEntropy(o compute.CrossEntropy, out, in []*buffer) {
	h, targets, weight := in[0].array, in[1].array, in[2].array
	v, cols, rows := o.Weight.Rows, o.Weight.Cols, h.Shape[0]
	if rows == 0 {
		return
	}
	piece := min(rows, max(1, gradBytes/h.DType.Size()/v))
	if piece > logitRows {
		piece = piece / logitRows * logitRows
	}
	few := min(piece, logitRows)
	var logits, grads array
	if h.DType != compute.F32 || !o.Grad {
		logits = d.scratch(compute.F32, few, v)
	}
	if o.Grad {
		grads = d.scratch(h.DType, piece, v)
	}
	for at := 0; at < rows; at += piece {
		n := min(piece, rows-at)
		for i := 0; i < n; i += few {
			m := min(few, n-i)
			part, dl := logits, grads
			if o.Grad {
				dl = grads.rows(i, i+m)
			}
			if part = dl; h.DType != compute.F32 || !o.Grad { // float32 gradients lie where their logits were
				part = logits.rows(0, m)
			}
			row := at + i
			d.multiply(product{x: h.rows(row, row+m), y: part, w: in[3], rows: v, cols: cols})
			d.entropy(out[0].ptr+driver.Ptr(4*row), dl, part, targets.ptr+driver.Ptr(4*row), weight.ptr+driver.Ptr(4*row), o.Grad)
		}
		if o.Grad {
			d.multiply(product{x: grads.rows(0, n), y: out[1].array.rows(at, at+n), w: in[3], rows: v, cols: cols, back: true})
		}
		if o.GradWeight {
			d.general(out[2].array, grads.rows(0, n), h.rows(at, at+n), n, 1, int64(v), int64(cols), 1, 1, true, nil)
		}
	}
}

// entropy queues the losses of rows of logits, and their gradient.
func (d *Device) entropy(loss driver.Ptr, g, logits array, targets, weight driver.Ptr, grad bool) {
	if v := logits.Shape[1]; grad && logits.DType == compute.F32 && g.DType == compute.BF16 && v%4 == 0 && d.card.SharedMemory >= heldLogits {
		d.kernel("cross_entropy_held").status().ptr(loss).arrays(g, logits).ptr(targets).ptr(weight).int(v, heldLogits/16).launch(driver.Grid{X: logits.Shape[0], Threads: 1024})
		return
	}
	name := "cross_entropy_" + letter(logits.DType) + letter(g.DType)
	if !grad {
		g.ptr, name = 0, "cross_entropy_"+letter(logits.DType)+letter(logits.DType)
	}
	d.kernel(name).status().ptr(loss).arrays(g, logits).ptr(targets).ptr(weight).int(logits.Shape[1]).launch(driver.Grid{X: logits.Shape[0], Threads: 512})
}

// storeRows writes each span's rows into its cache.
func (d *Device) storeRows(o compute.StoreRows, out, in []*buffer) {
	if !isDense(o.Format) {
		d.storeIntegers(o, out, in)
		return
	}
	s := storeSpan{x: in[0].array, spans: in[1].array, to: make([]array, len(out))}
	for i, b := range out {
		s.to[i] = b.array
	}
	if !d.holdStore(s) {
		d.store(s)
	}
}

// A storeSpan is rows x [T, cols] for caches, to each those of its span.
type storeSpan struct {
	x, spans array
	to       []array
}

func (d *Device) store(s storeSpan) {
	for from := 0; from < len(s.to); from += mostCaches {
		list := s.to[from:min(from+mostCaches, len(s.to))]
		cols := list[0].Shape[1]
		d.kernel("store_rows_" + letter(list[0].DType) + letter(s.x.DType)).status().arrays(s.x).ptr(s.spans.ptr + driver.Ptr(16*from)).int(cols).arraysOf(list).
			launch(driver.Grid{X: s.x.Shape[0], Y: len(list), Threads: min(256, max(32, (cols+31)&^31))})
	}
}

// isDense reports whether a cache holds floats.
func isDense(f quant.Format) bool { return f.Kind == quant.Dense }
