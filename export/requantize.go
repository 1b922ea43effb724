package export

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// entries are the tensors that a module's matrix is written as.
func (f *fusion) entries(module string) ([]weights.Entry, error) {
	held, _ := f.model.Matrix(module)
	f.report.Parameters += int64(held.Rows) * int64(held.Cols)
	lora := f.adapters[module]
	base, err := held.Host(f.model.Device())
	if err != nil {
		return nil, err
	}
	to := f.target(base.Format)
	if lora == nil && to == base.Format {
		return f.matrixEntries(module, base), nil
	}
	if lora == nil && to.Kind == quant.Affine {
		if same, ok := base.ToAffine(to.DType); ok {
			return f.matrixEntries(module, same), nil
		}
	}
	if to.Kind == quant.Dense { // its size is known, so it can wait until it is written
		return tensorsOf(module, to, base.Shape(), func() (*quant.Matrix, error) { return f.fuse(module, base, lora, to) }), nil
	}
	m, err := f.fuse(module, base, lora, to)
	if err != nil {
		return nil, err
	}
	return f.matrixEntries(module, m), nil
}

// fuse puts the adapter into the base and stores that in the format to, or one
// with more bits.
func (f *fusion) fuse(module string, base *quant.Matrix, lora *nn.LoRA, to quant.Format) (*quant.Matrix, error) {
	w := base.Floats() // [out, in]
	var delta []float32
	if lora != nil {
		var err error
		if delta, err = adapt(f.model.Device(), w, lora); err != nil {
			return nil, err
		}
	}
	m, err := f.encode(module, base, w, delta, to)
	if err != nil {
		return nil, err
	}
	m.Experts = base.Experts
	return m, nil
}

// target is the format to write what the base has in format from.
func (f *fusion) target(from quant.Format) quant.Format {
	switch {
	case from.Kind == quant.Dense:
		return from
	case f.options.Dequantize:
		return quant.Format{Kind: quant.Dense, DType: from.Floats()}
	case from.HasScales():
		return from
	case from.Kind == quant.Q4K: // groups of 32 with 4 bits, as MLX knows them
		return quant.Format{Kind: quant.Affine, DType: quant.F16, Bits: 4, Group: 32}
	}
	return quant.Format{Kind: quant.Affine, DType: quant.F16, Bits: 8, Group: 32}
}

// adapt puts an adapter into the weights w [out, in] and returns what it changed.
func adapt(dev compute.Device, w []float32, l *nn.LoRA) (delta []float32, err error) {
	if delta, err = updateOf(dev, l); err != nil {
		return nil, err
	}
	var magnitude []float32
	if l.Magnitude != nil {
		if magnitude, err = tensor.ReadFloats(dev, l.Magnitude.M); err != nil {
			return nil, err
		}
	}
	cols := l.A.Rows()
	for r, m := range magnitude {
		stretch(w[r*cols:(r+1)*cols], delta[r*cols:(r+1)*cols], m)
	}
	for i, d := range delta {
		if d-d != 0 { // NaN or infinite
			return nil, errors.New("the adapter's update is not finite: its training has diverged")
		}
		w[i] += d
	}
	return delta, nil
}

// stretch makes delta what takes a row w to the direction of w + delta and to the
// length m: DoRA (see nn.Magnitude). It is w's share of that and delta's, since the
// difference of the whole from w would be rounding alone where little changes.
func stretch(w, delta []float32, m float32) {
	const rounding = 1e-6 // of lengths, which are float32: m has not been trained
	var squares float64
	for i, v := range w {
		sum := float64(v + delta[i])
		squares += sum * sum
	}
	longer := -1.0
	if squares > 0 {
		longer = float64(m)/math.Sqrt(squares) - 1
	}
	if math.Abs(longer) < rounding {
		return
	}
	for i, v := range w {
		delta[i] = float32(longer*float64(v) + (1+longer)*float64(delta[i]))
	}
}

// updateOf is the update scale·(A B)ᵀ as [out, in], of a stack [experts·out, in].
func updateOf(dev compute.Device, l *nn.LoRA) ([]float32, error) {
	if l.Experts > 0 {
		return expertUpdates(dev, l)
	}
	op := compute.MatMul{TransA: true, TransB: true, Alpha: l.Scale} // Bᵀ [out, r] · Aᵀ [r, in]
	return product(dev, op, compute.Shape{l.B.Cols(), l.A.Rows()}, l.B, l.A)
}

// product runs a matrix product and reads its result [M, N].
func product(dev compute.Device, op compute.MatMul, shape compute.Shape, a, b *tensor.Tensor) ([]float32, error) {
	out, err := tensor.New(dev, shape, compute.F32, nil)
	if err != nil {
		return nil, err
	}
	defer out.Free()
	if err := dev.Run(op, []compute.Buffer{out.Buffer()}, []compute.Buffer{a.Buffer(), b.Buffer()}); err != nil {
		return nil, err
	}
	return tensor.ReadFloats(dev, out)
}

// encode stores w = base + delta in the format to, with more bits where too
// little of delta would survive, and reports it.
func (f *fusion) encode(module string, base *quant.Matrix, w, delta []float32, to quant.Format) (*quant.Matrix, error) {
	var first float64
	for i := 0; ; i++ {
		m, kept, update, err := f.best(base, w, delta, to)
		if err != nil {
			return nil, err
		}
		if delta == nil {
			return m, nil
		}
		if i == 0 {
			first = kept
		}
		more, ok := moreBits(to, base.Cols)
		if kept < EnoughSurvival && ok && !f.options.KeepBits && !f.options.Dequantize {
			to = more
			continue
		}
		f.report.Layers = append(f.report.Layers, FusedLayer{
			Module: module, From: base.Format.String(), To: to.String(), AtBase: first, Survival: kept, update: update, dense: to.Kind == quant.Dense,
		})
		return m, nil
	}
}

// best stores w in the format to in the way that loses least. Quantizing anew
// gives every weight a rounding error as large as the base's own, even where
// the update is tiny: a second loss on top of the first. The base's grid, made
// finer with more bits, leaves the weights that do not change exactly as they
// are. The smaller error wins, but with 8 bits, whose rounding hurts no model,
// a fresh grid may also serve updates that are smaller than the refined step.
func (f *fusion) best(base *quant.Matrix, w, delta []float32, to quant.Format) (m *quant.Matrix, kept, update float64, err error) {
	m, err = store(w, base.Rows, base.Cols, to, quant.F32, f.options.Rule)
	if err != nil || delta == nil {
		return m, 0, 0, err
	}
	kept, update = survival(base, m, delta)
	grid, ok := base, base.Format.Kind == quant.Affine && base.Format.DType == to.DType
	if !ok {
		grid, ok = base.ToAffine(to.DType)
	}
	if to.Kind != quant.Affine || !ok || grid.Format.Group != to.Group || grid.Format.Bits > to.Bits {
		return m, kept, update, nil
	}
	fine, err := grid.Refine(w, to.Bits)
	if err != nil {
		return nil, 0, 0, err
	}
	fineKept, _ := survival(base, fine, delta)
	if to.Bits == 8 && fineKept < EnoughSurvival && kept >= EnoughSurvival {
		return m, kept, update, nil
	}
	if squaredError(fine, w) <= squaredError(m, w) {
		return fine, fineKept, update, nil
	}
	return m, kept, update, nil
}

// squaredError is ‖stored - w‖².
func squaredError(stored *quant.Matrix, w []float32) float64 {
	row := make([]float32, stored.Cols)
	var sum float64
	for r := range stored.Rows {
		stored.Row(row, r)
		for c, v := range w[r*stored.Cols : (r+1)*stored.Cols] {
			d := float64(row[c] - v)
			sum += d * d
		}
	}
	return sum
}

// moreBits is the next larger format for rows of cols weights; false when there
// is none. After the small floats come affine integers, which are finer bit for bit.
func moreBits(f quant.Format, cols int) (quant.Format, bool) {
	const group = 32
	dense := quant.Format{Kind: quant.Dense, DType: f.Floats()}
	switch {
	case f.Kind == quant.Dense:
		return f, false
	case f.Kind.IsFP() && cols%group == 0:
		return quant.Format{Kind: quant.Affine, DType: f.Floats(), Bits: map[int]int{4: 5, 8: 8}[f.Bits], Group: group}, true
	case f.Kind.IsFP():
		return dense, true
	}
	next := map[int]int{2: 3, 3: 4, 4: 5, 5: 6, 6: 8}[f.Bits]
	if next == 0 { // 8 bits were not enough: leave the matrix dense
		return dense, true
	}
	f.Bits = next
	return f, true
}

// store writes values in another format. source is the type that MLX would have
// them in before it quantizes them.
func store(w []float32, rows, cols int, to quant.Format, source quant.DType, rule quant.Rule) (*quant.Matrix, error) {
	switch {
	case to.Kind == quant.Affine:
		return quant.QuantizeAffine(w, rows, cols, to.Bits, to.Group, to.DType, rule)
	case to.Kind.IsFP():
		return quant.QuantizeFP(w, rows, cols, to.Kind, source, rule)
	case to.Kind != quant.Dense:
		return nil, fmt.Errorf("writing %v is not supported", to)
	}
	m := &quant.Matrix{Format: to, Rows: rows, Cols: cols, Data: make([]byte, len(w)*to.DType.Size())}
	return m, quant.Narrow(m.Data, w, to.DType)
}

// survival is how much of the update Δ is in stored - base: their inner
// product over ‖Δ‖², from 0 (rounded away) to 1. Rounding noise, which is not
// in Δ's direction, does not count for or against. update is ‖Δ‖².
func survival(base, stored *quant.Matrix, delta []float32) (kept, update float64) {
	was, is := make([]float32, base.Cols), make([]float32, base.Cols)
	var inner float64
	for r := range base.Rows {
		base.Row(was, r)
		stored.Row(is, r)
		for c, d := range delta[r*base.Cols : (r+1)*base.Cols] {
			inner += float64(is[c]-was[c]) * float64(d)
			update += float64(d) * float64(d)
		}
	}
	if update == 0 {
		return 1, 0
	}
	return min(max(inner/update, 0), 1), update
}

// matrixEntries are the tensors of a stored matrix, named as MLX names them.
func (f *fusion) matrixEntries(module string, m *quant.Matrix) []weights.Entry {
	if m.Format.Kind != quant.Dense {
		f.overrides[module] = m.Format
	}
	return tensorsOf(module, m.Format, m.Shape(), func() (*quant.Matrix, error) { return m, nil })
}

// tensorsOf are the tensors of a matrix that will be made in the given format:
// weight alone when dense, packed weight and scales, and biases when affine.
func tensorsOf(module string, f quant.Format, shape []int, matrix func() (*quant.Matrix, error)) []weights.Entry {
	last := len(shape) - 1
	cols := shape[last]
	part := func(suffix string, dtype quant.DType, cols int, pick func(*quant.Matrix) []byte) weights.Entry {
		return weights.Entry{Name: module + suffix, DType: dtype, Shape: append(slices.Clone(shape[:last]), cols), Bytes: func() ([]byte, error) {
			m, err := matrix()
			if err != nil {
				return nil, err
			}
			return pick(m), nil
		}}
	}
	data := func(m *quant.Matrix) []byte { return m.Data }
	if f.Kind == quant.Dense {
		return []weights.Entry{part(".weight", f.DType, cols, data)}
	}
	list := []weights.Entry{
		part(".weight", quant.U32, f.RowBytes(cols)/4, data),
		part(".scales", f.DType, cols/f.Group, func(m *quant.Matrix) []byte { return m.Scales }),
	}
	if f.Kind == quant.Affine {
		list = append(list, part(".biases", f.DType, cols/f.Group, func(m *quant.Matrix) []byte { return m.Biases }))
	}
	return list
}
