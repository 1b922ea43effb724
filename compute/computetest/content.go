package computetest

import (
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// A gen makes the content of buffers. Its seed is the name of a case, so that a case has
// the same content wherever it stands in the table.
type gen struct{ *rand.Rand }

func newGen(name string) gen {
	h := fnv.New64a()
	h.Write([]byte(name))
	return gen{rand.New(rand.NewPCG(h.Sum64(), 1))}
}

func zeros(s compute.Spec) compute.Array {
	return compute.Array{Spec: s, Data: make([]byte, s.Bytes())}
}

func spec(t compute.DType, shape ...int) compute.Spec { return compute.Spec{Shape: shape, DType: t} }

func floatArray(values []float32, shape ...int) compute.Array {
	a := zeros(spec(compute.F32, shape...))
	copy(a.F32(), values)
	return a
}

func intArray(values ...int32) compute.Array {
	a := zeros(spec(compute.I32, len(values)))
	copy(a.I32(), values)
	return a
}

// normal is standard normal F32.
func (g gen) normal(shape ...int) compute.Array { return g.floats(compute.F32, 1, shape...) }

// floats is normal of a float type with the given standard deviation.
func (g gen) floats(t compute.DType, sigma float64, shape ...int) compute.Array {
	a := zeros(spec(t, shape...))
	v := make([]float32, a.Shape.Elems())
	for i := range v {
		v[i] = float32(sigma * g.NormFloat64())
	}
	a.SetFloats(v)
	return a
}

// positive is the square of a normal variable: an optimizer's second moment.
func (g gen) positive(shape ...int) compute.Array {
	a := g.normal(shape...)
	for i, v := range a.F32() {
		a.F32()[i] = v * v
	}
	return a
}

// ints are n values in [0, limit).
func (g gen) ints(n, limit int) compute.Array {
	a := zeros(spec(compute.I32, n))
	for i := range a.I32() {
		a.I32()[i] = int32(g.IntN(limit))
	}
	return a
}

// weight is the content of a weight matrix with values of realistic size. Packed weights
// are random bits with scales of both signs.
func (g gen) weight(w compute.Weight) compute.Array {
	const size = 0.1 // of the largest weights
	a := zeros(w.Spec())
	m := w.Of(a) // views of a
	a.Matrix = m
	switch {
	case w.Format.Kind == quant.Dense:
		copy(a.Data, g.floats(w.Format.DType, size/2, w.Rows, w.Cols).Data)
		return a
	case w.Format.Kind == quant.Affine:
		g.affine(m, size)
		return a
	}
	for i := range m.Data {
		m.Data[i] = byte(g.Uint32())
	}
	if w.Format.Kind.IsFP() {
		g.smallFloats(m.Data, m.Scales, w.Format.Kind)
	} else {
		g.blockScales(m.Data, w.Format.Kind)
	}
	return a
}

// affine fills a matrix with random integers, and scales of both signs.
func (g gen) affine(m *quant.Matrix, size float32) {
	for i := range m.Data {
		m.Data[i] = byte(g.Uint32())
	}
	top := float32(int(1)<<m.Format.Bits - 1)
	s, b := make([]float32, m.Rows*m.Cols/m.Format.Group), make([]float32, m.Rows*m.Cols/m.Format.Group)
	for i := range s {
		s[i] = 2 * size / top * (0.5 + g.Float32())
		if g.IntN(2) == 0 {
			s[i] = -s[i]
		}
		b[i] = -s[i] * top / 2 * (0.8 + 0.4*g.Float32())
	}
	quant.PutFloats(m.Scales, s, m.Format.DType)
	quant.PutFloats(m.Biases, b, m.Format.DType)
}

// smallFloats turns random bytes into elements and scales of weights below 1. Elements of
// 8 bits become less than 2, and none a NaN.
func (g gen) smallFloats(data, scales []byte, kind quant.Kind) {
	for i := range data {
		if kind == quant.MXFP8 {
			data[i] &^= 0x40
		}
	}
	for i := range scales {
		switch kind {
		case quant.MXFP4:
			scales[i] = byte(119 + g.IntN(4))
		case quant.MXFP8:
			scales[i] = byte(121 + g.IntN(4))
		default: // E4M3
			scales[i] = byte(2 + g.IntN(8))
		}
	}
}

// blockScales overwrites the float16 scales in GGUF super-blocks of random bytes, so that
// the weights are small and finite. Q4_K begins with a scale and a minimum, which go
// with 6-bit scales and 4-bit weights; Q6_K ends with a scale, which goes with 8-bit
// scales and 6-bit weights.
func (g gen) blockScales(data []byte, kind quant.Kind) {
	put := func(at []byte, v float64) {
		bits := quant.F32ToF16(float32(v * (0.5 + g.Float64())))
		at[0], at[1] = byte(bits), byte(bits>>8)
	}
	size := quant.BlockQ4K.Bytes()
	if kind == quant.Q6K {
		size = quant.BlockQ6K.Bytes()
	}
	for ; len(data) >= size; data = data[size:] {
		if kind == quant.Q6K {
			put(data[size-2:], 0.1/(128*32))
			continue
		}
		put(data, 0.1/(63*15)*2)
		put(data[2:], 0.1/63)
	}
}

// poison sets the rows of a, from row on, to a float that spoils every sum: they must
// not be read.
func poison(a compute.Array, row int) {
	cols := a.Shape.Cols()
	v := a.Floats()
	for i := row * cols; i < len(v); i++ {
		v[i] = float32(math.NaN())
	}
	a.SetFloats(v)
}

func specsOf(arrays []compute.Array) []compute.Spec {
	s := make([]compute.Spec, len(arrays))
	for i, a := range arrays {
		s[i] = a.Spec
	}
	return s
}
