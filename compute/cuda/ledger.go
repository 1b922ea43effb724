package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/quant"
)

// A ledger reckons what a device takes: the sizes of its blocks, and the work memory of ops, for which it runs their code
// on a device without a card that launches nothing.
type ledger struct {
	dry *Device
}

// Ledger is an account of a device without buffers.
func (d *Device) Ledger() compute.Ledger {
	dry := &Device{card: d.card, image: d.image, name: d.name}
	dry.call = &call{d: dry}
	return &ledger{dry}
}

// Take is memory without a card.
func (l *ledger) Take(bytes int64) int64 {
	_, n, _ := l.dry.memory(bytes)
	return n
}

// Free is release without a card.
func (l *ledger) Free(size int64) { l.dry.release(dryAddress, size) }

// Most is the peak that Memory would tell, without weights, and the small blocks that are kept.
func (l *ledger) Most() (all, heap int64) { return l.dry.peak, 0 }

// Weight is what ImportWeight takes and keeps.
func (l *ledger) Weight(m *quant.Matrix) int64 {
	return blockSize(storedBytes(m.Format, m.Rows, m.Cols))
}

// Run runs the op's code on buffers of these specs.
func (l *ledger) Run(op compute.Op, out, in []compute.Spec) {
	d := l.dry
	if !d.has(op, out, in) {
		return
	}
	outs, ins := d.dryBuffers(out), d.dryBuffers(in)
	if w, i, ok := compute.WeightInput(op); ok && in[i].DType == compute.U8 {
		ins[i].weight, ins[i].stored = &quant.Matrix{Format: w.Format, Rows: w.Rows, Cols: w.Cols}, storedAs(w.Format)
	}
	d.dispatch(op, outs, ins)
	d.emit()
	d.freeAreas()
}

// dryAddress is where buffers without a card lie.
const dryAddress driver.Ptr = 1 << 20

func (d *Device) dryBuffers(specs []compute.Spec) []*buffer {
	list := make([]*buffer, len(specs))
	for i, s := range specs {
		list[i] = &buffer{array: array{s, dryAddress}, dev: d}
	}
	return list
}
