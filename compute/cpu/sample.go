package cpu

import (
	"slices"
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
)

// argMax looks for the largest logit of each row, and for one that is not finite, in parts
// of the row.
func (d *Device) argMax(out, in []compute.Array) {
	logits, tokens, v := in[0].Floats(), out[0].I32(), in[0].Shape[1]
	const part = 1 << 13
	parts := blocksOf(v, part)
	best := make([]int32, len(tokens)*parts)
	d.pool.run(len(best), func(_, i int) {
		row, from := logits[i/parts*v:][:v], i%parts*part
		best[i] = d.kernels.largest(row[from:min(from+part, v)])
		if best[i] >= 0 {
			best[i] += int32(from)
		} else {
			best[i] -= int32(from)
		}
	})
	for r := range tokens {
		row := logits[r*v:][:v]
		of := best[r*parts:][:parts]
		tokens[r] = of[0]
		for _, b := range of[1:] {
			if tokens[r] >= 0 && (b < 0 || row[b] > row[tokens[r]]) {
				tokens[r] = b
			}
		}
	}
}

// largest is the index of the largest value, or -1-i for the first value i that is NaN or
// infinite. The sum of squares tells that there is none, unless values are enormous.
func (kn *kernels) largest(v []float32) int32 {
	if sum := kn.dot(v, v); sum-sum == 0 {
		return int32(slices.Index(v, kn.max(v)))
	}
	at, top := 0, v[0]
	for i, x := range v {
		if x-x != 0 {
			return -1 - int32(i)
		}
		if x > top {
			at, top = i, x
		}
	}
	return int32(at)
}

// sample chooses rows at the same time, each on one thread.
func (d *Device) sample(o compute.Sample, out, in []compute.Array) error {
	tokens, keys, v := out[0].I32(), in[1].Keys(), in[0].Shape[1]
	logits, err := d.scratch.floats(len(tokens) * v)
	if err != nil {
		return err
	}
	copy(logits, in[0].Floats())
	memory, err := d.scratch.bytes(8 * v * d.pool.threads)
	if err != nil {
		return err
	}
	weights := unsafe.Slice((*float64)(unsafe.Pointer(unsafe.SliceData(memory))), v*d.pool.threads)
	d.pool.run(len(tokens), func(worker, i int) {
		tokens[i] = o.Row(i).Pick(logits[i*v:(i+1)*v], weights[worker*v:(worker+1)*v], keys[i])
	})
	return nil
}
