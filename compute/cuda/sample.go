package cuda

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// mostKept is how many tokens a launch can name that XTC never drops.
const mostKept = 17

func (d *Device) sample(o compute.Sample, out, in []*buffer) {
	x, keys := in[0].array, in[1].array
	rows, v := x.Shape[0], x.Shape[1]
	if rows == 0 {
		return
	}
	p, e := d.scratch(compute.F32, rows, v), d.scratch(compute.U8, 8*rows*v)
	of := func(i int) sampler { return samplerOf(o.Row(i)) }
	for from := 0; from < rows; { // rows of one setting go together
		to := from + 1
		for to < rows && (len(o.Rows) == 1 || of(to) == of(from)) {
			to++
		}
		words := of(from)
		d.kernel("sample_" + letter(x.DType)).ptr(out[0].ptr + driver.Ptr(4*from)).ptr(x.rows(from, to).ptr).ptr(keys.ptr + driver.Ptr(8*from)).
			ptr(p.rows(from, to).ptr).ptr(e.ptr + driver.Ptr(8*from*v)).int(v).words(words[:]...).launch(driver.Grid{X: to - from, Threads: 1024})
		from = to
	}
}

// A sampler is the struct Sampler of sample.cuh.
type sampler [15]uint64

func samplerOf(o compute.Sampling) (s sampler) {
	for i, v := range []float64{o.Temp, o.TopP, o.MinP, o.XTCProbability, o.XTCThreshold} {
		s[i] = math.Float64bits(v)
	}
	ints := append([]int{o.MinTokensToKeep, o.TopK, len(o.XTCKeep)}, make([]int, mostKept)...)
	for i, id := range o.XTCKeep {
		ints[3+i] = int(id)
	}
	for i, v := range ints {
		s[5+i/2] |= uint64(uint32(v)) << (32 * (i % 2))
	}
	return s
}
