package cpu

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// The product of several rows of 8-bit activations with a quantized weight: a
// prompt, a batch, or tokens to be checked in speculative decoding.
//
// A task takes a strip of the weight, one tile wide. It unpacks a block of the strip to
// one byte a weight, in the first-level cache, and multiplies it with all rows of x.
// The panels of x serve all tasks. Values that share a scale are summed up in integers.
const (
	leastRows8 = 3   // fewest rows of x worth panels: fewer go one by one, see gemv
	blockDepth = 640 // greatest depth of a block: 20 KB of a strip 32 wide
	piece      = 16  // values of one row of x that lie together in a panel
	byteRun    = 32  // codes of a byte that a columnsKernel takes at once
	leastParts = 8   // fewest panels of x worth a task of their own
	// leastRounded is the fewest values of a panel worth a task to round them.
	leastRounded = 2048
)

// byteTile is one call of a tile kernel: c (+)= x wᵀ for rows rows of x and cols rows of
// the weight. A group shares a scale of the weight, a run shares that and a scale of x.
type byteTile struct {
	x      *int8    // [groups·runs·pieces, rows, piece]
	scale  *float32 // [groups·runs, rows], of x
	sum    *float32 // [groups, rows]: scale · Σ x of a group
	w      *byte    // [groups·runs·pieces·piece/4, cols, 4], the weights' codes
	ws, wb *float32 // [groups, cols]: weight = ws · code + wb
	start  *int32   // [groups·runs, rows]: where the sums of a run start; in place of sum and wb
	c      *float32 // [rows, cols]
	ldc    int      // from row to row of c
	groups int
	runs   int     // of a group
	pieces int     // of a run
	next   uintptr // address of what is wanted next, nextBytes for each piece; it is never read
	add    bool
}

// nextBytes is how much a tile kernel asks for while it multiplies a piece, if it does.
const nextBytes = 128

// byteKernels multiply tiles of 8-bit numbers, see gemm8_generic.go.
type byteKernels struct {
	// tileRows and tileCols are the extent of a tile; none exists when tileRows is 0.
	// Tiles of any smaller even number of rows take what is left.
	tileRows, tileCols int
	maxCode            int // the largest code that the kernel takes
	tile               func(rows int, t *byteTile)
	tileAsks           bool // for what is wanted next
	// packed multiplies packed weights with up to packedMost rows of x, see packed.go;
	// nil where there is no such kernel.
	packed       func(rows int, t *packedTile, kind quant.Kind)
	scaleColumns func(dst []float32, src []byte, f quant.Format)
	// nibbles are the columns of packed 4-bit codes in runs of nibbleRun, nibblesFP4 those
	// of E2M1 weights, nibblesQ4K those of super-blocks, and bytes those of codes of a
	// byte each, in runs of byteRun.
	nibbles, nibblesFP4, nibblesQ4K, bytes columnsKernel
	// codes unpacks a row of codes, see codesGeneric.
	codes func(dst, src []byte, bits int)
	// codesQ6K unpacks the codes of super-blocks, superScales their scales.
	codesQ6K    func(dst, src []byte)
	superScales func(scales, biases []float32, src []byte, kind quant.Kind)
	// dotCodes multiplies four rows of codes with one of x, see dotCodesGeneric.
	dotCodes func(y []float32, codes []byte, scales []float32, x []int8, scale []float32)
}

// A columnsKernel writes runs of codes of eight rows, ld bytes apart, as columns of a
// strip with lines stride apart. The bytes ahead of those it reads are wanted next.
type columnsKernel func(dst []byte, stride int, src []byte, ld, ahead, runs int)

// product8 is one call of linear8, or one expert of experts8.
type product8 struct {
	kn     *kernels
	k      *byteKernels
	plan   stripPlan
	m      *quant.Matrix
	x      panels8
	y      []float32
	places []int32 // row i of all of x goes to row places[i] of y; nil when in order
	add    bool    // to y
}

func (d *Device) newProduct8(m *quant.Matrix, y, bias []float32) *product8 {
	return &product8{kn: d.kernels, k: &d.kernels.bytes, m: m, y: y, add: bias != nil}
}

// linear8 computes y = x Wᵀ + bias for several rows of x, or says that it does not
// take this case.
func (d *Device) linear8(o compute.Linear, m *quant.Matrix, x, y, bias []float32, t int) (done bool, err error) {
	if o.Exact || o.RowWise || t < 2 {
		return false, nil
	}
	p := d.newProduct8(m, y, bias)
	if p.k.packed != nil && t <= packedMost && packsNibbles(m.Format, m.Cols) {
		return true, d.linearPacked(p, x, bias, t)
	}
	if t < leastRows8 {
		return false, nil
	}
	if p.plan, done = d.kernels.planStrips(m); !done {
		return false, nil
	}
	return true, d.linearStrips(p, x, bias, t)
}

// linearStrips computes y = x Wᵀ + bias strip by strip. Where strips are few, several
// tasks share one: each takes a part of x.
func (d *Device) linearStrips(p *product8, x, bias []float32, t int) (err error) {
	m, rows, cols := p.m, p.k.tileRows, p.k.tileCols
	if p.x, err = d.panels8(x, t, m.Cols, rows, m.Format); err != nil {
		return err
	}
	if bias != nil {
		d.fillRows(p.y, bias)
	}
	strips, err := d.strips(p, rows)
	if err != nil {
		return err
	}
	n, panels := blocksOf(m.Rows, cols), blocksOf(t, rows)
	parts := min(blocksOf(tasksEach*d.pool.threads, n), blocksOf(panels, leastParts))
	d.pool.streams(n*parts, func(worker, task int) {
		part := task % parts
		strips[worker].run(p, task/parts*cols, part*panels/parts*rows, min((part+1)*panels/parts*rows, t))
	})
	return nil
}

// fillRows copies row to every row of y.
func (d *Device) fillRows(y, row []float32) {
	d.pool.split(len(y)/len(row), rowGrain(len(row)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			copy(y[i*len(row):(i+1)*len(row)], row)
		}
	})
}
