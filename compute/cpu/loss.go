package cpu

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// crossEntropy is compute.CrossEntropy.
func (d *Device) crossEntropy(o compute.CrossEntropy, out, in []compute.Array) error {
	m := o.Weight.Of(in[3])
	h, targets, weight, loss := in[0].F32(), in[1].I32(), in[2].F32(), out[0].F32()
	if err := inRange(targets, m.Rows, "target"); err != nil || len(loss) == 0 {
		return err
	}
	if o.GradWeight {
		return d.headLoss(m, loss, out[1].F32(), out[2].F32(), h, targets, weight)
	}
	e := entropy{m: m, h: h, targets: targets, weight: weight, loss: loss}
	if o.Grad {
		e.dh = out[1].F32()
	}
	e.parts = min(entropyTasks*d.pool.threads, blocksOf(m.Rows, entropyWords))
	return d.headEntropy(e, entropySums/e.parts/max(m.Cols, entropyWords))
}

// The loss of rows h over a vocabulary, with its gradient, is attention without bounds
// in which the head W is both keys and values. One pass over W gives the sums of
// exponentials and Σ exp(h·w)·w, corrected whenever a larger logit comes up (Dao et
// al., 2022). Each weight is unpacked once for each of the two products, for all rows,
// and logits exist for a block of words only.
//
// A task has a part of the vocabulary and its own sums; these are put together in order.
// The sums leave out the target's word. Its probability less one, which the gradient
// needs, is minus the sum of the others, so nothing cancels out.
const (
	entropyWords = blockK  // words of a block
	entropyDims  = blockK  // columns of W that are packed at once for the second product
	entropySums  = 8 << 20 // most float32 values of all parts' sums
	leastEntropy = 32      // fewest rows that go through the head together
	entropyTasks = 2       // parts of the vocabulary for each worker: each has sums of its own
)

// entropy is the loss of some rows.
type entropy struct {
	m       *quant.Matrix
	parts   int       // of the vocabulary
	h       []float32 // [rows, dims]
	targets []int32
	weight  []float32
	loss    []float32
	dh      []float32 // nil when only the loss is wanted
}

// headEntropy computes the loss of at most most rows at a time.
func (d *Device) headEntropy(e entropy, most int) error {
	n, dims := len(e.loss), e.m.Cols
	most = max(most, leastEntropy)
	chunks := blocksOf(n, most)
	for i := range chunks {
		r0, r1 := i*n/chunks, (i+1)*n/chunks
		part := e
		part.h, part.targets, part.weight, part.loss = e.h[r0*dims:r1*dims], e.targets[r0:r1], e.weight[r0:r1], e.loss[r0:r1]
		if e.dh != nil {
			part.dh = e.dh[r0*dims : r1*dims]
		}
		if err := d.runEntropy(part); err != nil {
			return err
		}
	}
	return nil
}

// entropyPart is what a task found in its part of the vocabulary.
type entropyPart struct {
	top, sum []float32 // largest logit of each row, and Σ exp(logit - top)
	out      []float32 // [rows, dims] Σ exp(logit - top)·w
}

func (d *Device) runEntropy(e entropy) error {
	kn, count, dims := d.kernels, len(e.loss), e.m.Cols
	width := roundUp(count, kn.mr)
	packed, err := d.scratch.floats(width * dims)
	if err != nil {
		return err
	}
	s := side{op: rowMajor{e.h, dims}, n: count, w: kn.mr}
	s.cut(d.pool.threads)
	d.pool.run(s.blocks, func(_, task int) {
		i0, n := s.block(task)
		for l := 0; l < dims; l += blockK {
			kc := min(blockK, dims-l)
			s.op.pack(kn, packed[l*width+i0*kc:][:roundUp(n, kn.mr)*kc], kn.mr, i0, n, l, kc, nil)
		}
	})
	picked, err := d.scratch.floats(count) // the targets' logits
	if err != nil {
		return err
	}
	parts := make([]entropyPart, e.parts)
	for i := range parts {
		size := 2 * count
		if e.dh != nil {
			size += count * dims
		}
		mem, err := d.scratch.floats(size)
		if err != nil {
			return err
		}
		parts[i] = entropyPart{top: mem[:count], sum: mem[count : 2*count], out: mem[2*count:]}
	}
	words := roundUp(entropyWords, kn.nr)
	sizes := []int{words * blockK, count * words, width * words, tmpFloats, kn.mr * kn.nr}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return err
	}
	d.pool.run(e.parts, func(worker, task int) {
		f := cut(private[worker*each:], sizes)
		w := entropyTask{entropy: e, entropyPart: parts[task], kn: kn, rows: count, width: width, packed: packed, picked: picked,
			mem: f[0], logits: f[1], probs: f[2], tmp: f[3], edge: f[4]}
		blocks := blocksOf(e.m.Rows, entropyWords)
		w.run(task*blocks/e.parts*entropyWords, min((task+1)*blocks/e.parts*entropyWords, e.m.Rows))
	})
	d.pool.run(count, func(_, r int) { e.finish(kn, r, parts, picked[r]) })
	return nil
}

// entropyTask is the work area of a task.
type entropyTask struct {
	entropy
	entropyPart
	kn     *kernels
	rows   int
	width  int       // rows in whole panels
	packed []float32 // h in panels, one run of blockK columns after another
	picked []float32
	mem    []float32 // packed weights
	logits []float32 // [rows, words of a block], then their exponentials
	probs  []float32 // the same in panels
	tmp    []float32
	edge   []float32
}

// run goes through the words [v0, v1).
func (w *entropyTask) run(v0, v1 int) {
	kn, dims := w.kn, w.m.Cols
	for r := range w.rows {
		w.top[r], w.sum[r] = emptyTop, 0
	}
	for v := v0; v < v1; v += entropyWords {
		n := min(entropyWords, v1-v)
		for l := 0; l < dims; l += blockK {
			kc := min(blockK, dims-l)
			weightRowsOf(w.m).pack(kn, w.mem[:roundUp(n, kn.nr)*kc], kn.nr, v, n, l, kc, w.tmp)
			kn.block(w.packed[l*w.width:], w.mem, w.rows, n, kc, w.logits, n, l > 0, w.edge)
		}
		for r := range w.rows {
			w.exponentials(r, v, w.logits[r*n:(r+1)*n], v > v0)
		}
		if w.dh == nil {
			continue
		}
		logits := rowMajor{w.logits, n}
		logits.pack(kn, w.probs[:w.width*n], kn.mr, 0, w.rows, 0, n, nil)
		for j := 0; j < dims; j += entropyDims {
			nj := min(entropyDims, dims-j)
			weightColsOf(w.m).pack(kn, w.mem[:roundUp(nj, kn.nr)*n], kn.nr, j, nj, v, n, w.tmp)
			kn.block(w.probs, w.mem, w.rows, nj, n, w.out[j:], dims, v > v0, w.edge)
		}
	}
}

// exponentials raises top to the largest of a row's logits x of the words from v on,
// turns x into exp(x - top) and adds it up.
func (w *entropyTask) exponentials(r, v int, x []float32, started bool) {
	if t := int(w.targets[r]) - v; t >= 0 && t < len(x) {
		w.picked[r] = x[t]
		x[t] = float32(math.Inf(-1))
	}
	if top := w.kn.max(x); top > w.top[r] {
		keep := exp(w.top[r] - top)
		w.top[r] = top
		w.sum[r] *= keep
		if started && w.dh != nil {
			sums := w.out[r*w.m.Cols : (r+1)*w.m.Cols]
			w.kn.scale(sums, keep, sums)
		}
	}
	w.sum[r] += w.kn.expSum(x, x, w.top[r], 1)
}

// finish puts together the parts of row r. picked is the logit of its target.
func (e *entropy) finish(kn *kernels, r int, parts []entropyPart, picked float32) {
	top := picked
	for _, p := range parts {
		top = max(top, p.top[r])
	}
	var others float64 // Σ exp(logit - top) but for the target
	for _, p := range parts {
		others += float64(p.sum[r]) * math.Exp(float64(p.top[r]-top))
	}
	target := math.Exp(float64(picked - top))
	if picked == top {
		e.loss[r] = float32(math.Log1p(others))
	} else {
		e.loss[r] = float32(float64(top) - float64(picked) + math.Log(others+target))
	}
	if e.dh == nil {
		return
	}
	// The gradient is weight·(Σ probability·w - w of the target).
	n := e.m.Cols
	dh := e.dh[r*n : (r+1)*n]
	share := float64(e.weight[r]) / (others + target)
	var row, spare [blockK]float32
	unit := e.m.Format.RowMultiple()
	for i := 0; i < n; i += blockK / unit * unit {
		part := row[:min(blockK/unit*unit, n-i)]
		kn.weightRow(part, e.m, int(e.targets[r]), i, spare[:])
		kn.scale(dh[i:i+len(part)], float32(-share*others), part)
	}
	for _, p := range parts {
		kn.addScaled(dh, dh, float32(share*math.Exp(float64(p.top[r]-top))), p.out[r*n:(r+1)*n])
	}
}

// logitsFloats bounds the float32 logits that exist at once where the head is trained.
const logitsFloats = 8 << 20

// headLoss is the loss with the gradients of h and of the head, in float32. The head's
// gradient needs all logits of a row, so rows go through the head in chunks.
func (d *Device) headLoss(m *quant.Matrix, loss, dh, dw, h []float32, targets []int32, weight []float32) error {
	n := len(loss)
	step := min(max(logitsFloats/m.Rows, leastEntropy), n)
	step = blocksOf(n, blocksOf(n, step)) // chunks of equal size
	logits, err := d.scratch.floats(step * m.Rows)
	if err != nil {
		return err
	}
	for r := 0; r < n; r += step {
		c := min(step, n-r)
		logits := logits[:c*m.Rows] // the last chunk may be shorter
		hc, g := rowMajor{h[r*m.Cols : (r+c)*m.Cols], m.Cols}, rowMajor{logits, m.Rows}
		if err := d.gemm(product{m: c, n: m.Rows, k: m.Cols, a: hc, b: weightRowsOf(m), c: logits, ldc: m.Rows}); err != nil {
			return err
		}
		d.softmaxLoss(loss[r:r+c], logits, logits, targets[r:r+c], weight[r:r+c])
		if err := d.gemm(product{m: c, n: m.Cols, k: m.Rows, a: g, b: weightColsOf(m), c: dh[r*m.Cols:], ldc: m.Cols}); err != nil {
			return err
		}
		if err := d.gemm(product{m: m.Rows, n: m.Cols, k: c, a: colMajor(g), b: colMajor(hc), c: dw, ldc: m.Cols, add: true}); err != nil {
			return err
		}
	}
	return nil
}

// crossEntropyLogits is compute.CrossEntropyLogits.
func (d *Device) crossEntropyLogits(out, in []compute.Array) error {
	if err := inRange(in[1].I32(), in[0].Shape[1], "target"); err != nil {
		return err
	}
	d.softmaxLoss(out[0].F32(), out[1].F32(), in[0].F32(), in[1].I32(), in[2].F32())
	return nil
}

// softmaxLoss computes the loss of each row of logits and its gradient. grad may be
// logits.
func (d *Device) softmaxLoss(loss, grad, logits []float32, targets []int32, weight []float32) {
	n := len(loss)
	if n == 0 {
		return
	}
	v := len(logits) / n
	const part = 1 << 12 // words summed up in float32; a whole vocabulary takes float64
	d.pool.run(n, func(_, r int) {
		x, g := logits[r*v:(r+1)*v], grad[r*v:(r+1)*v]
		top := d.kernels.max(x)
		picked := float64(x[targets[r]])
		var sum float64
		for i := 0; i < v; i += part {
			j := min(i+part, v)
			sum += float64(d.kernels.expSum(g[i:j], x[i:j], top, 1))
		}
		loss[r] = float32(float64(top) + math.Log(sum) - picked)
		d.kernels.scale(g, float32(float64(weight[r])/sum), g)
		g[targets[r]] -= weight[r]
	})
}
