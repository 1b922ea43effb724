package cpu

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// expertIDs is an array of ids [len/k, k].
func expertIDs(k int, ids ...int32) compute.Array {
	return compute.Array{Spec: compute.Spec{Shape: compute.Shape{len(ids) / k, k}, DType: compute.I32}, Data: compute.IntBytes(ids)}
}

// TestExpertsRowWise: every pair of a row and an expert gets, to the bit, what the product
// of that row alone with that one matrix gives.
func TestExpertsRowWise(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(41)
		const experts, k = 4, 2
		for i, f := range formats() {
			tokens, rows, cols := []int{2, 5, 20}[i%3], []int{37, 8, 64}[i%3], []int{768, 256, 512}[i%3]
			w, data := randomWeight(r, f, experts*rows, cols)
			ids := make([]int32, tokens*k)
			for j := range ids {
				ids[j] = int32((j/k*(j/k) + i + j%k) % 3) // the last expert has none
			}
			for _, exact := range []bool{false, true} {
				for _, own := range []bool{false, true} {
					n, share := tokens, k
					if own {
						n, share = tokens*k, 1
					}
					x := random(r, compute.F32, n, cols)
					op := compute.ExpertLinear{Weight: w, Experts: experts, Own: own, Exact: exact, RowWise: true}
					got := run(t, d, op, nil, append([]compute.Array{x, expertIDs(k, ids...)}, data...))[0]
					op.RowWise = false
					for j, e := range ids {
						one, weight := expertOf(w, experts, int(e), data[0])
						in := []compute.Array{rowOf(x, j/share), weight}
						checkRow(t, f.String()+" by itself", got, j, run(t, d, compute.Linear{Weight: one, Exact: exact}, nil, in)[0])
					}
					for j := 0; j < tokens*k && !own; j += k {
						alone := run(t, d, op, nil, append([]compute.Array{rowOf(x, j/k), expertIDs(k, ids[j:j+k]...)}, data...))[0]
						for i := range k {
							checkRow(t, f.String()+" of one token", got, j+i, rowOf(alone, i))
						}
					}
				}
			}
		}
	})
}

// TestExpertsRowWiseUpdates is for the narrow matrices of low-rank updates.
func TestExpertsRowWiseUpdates(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(44)
		const experts = 3
		for _, rank := range []int{1, 3, 8, 16, 33} {
			for _, shape := range [][2]int{{rank, 576}, {100, rank}} {
				w, data := randomWeight(r, quant.Format{Kind: quant.Dense, DType: quant.F32}, experts*shape[0], shape[1])
				for _, tokens := range []int{2, 3, 9, 40} {
					ids := make([]int32, tokens)
					for i := range ids {
						ids[i] = int32(i * i % 3) // the last expert has none
					}
					x := random(r, compute.F32, tokens, shape[1])
					op := compute.ExpertLinear{Weight: w, Experts: experts, RowWise: true}
					got := run(t, d, op, nil, []compute.Array{x, expertIDs(1, ids...), data[0]})[0]
					op.RowWise = false
					for i, e := range ids {
						checkRow(t, "update", got, i, run(t, d, op, nil, []compute.Array{rowOf(x, i), expertIDs(1, e), data[0]})[0])
					}
				}
			}
		}
	})
}

// TestExpertsOutOfRange: an id without an expert is an error, not a panic.
func TestExpertsOutOfRange(t *testing.T) {
	d := newDevice(t, 2, "")
	r := newRand(42)
	w, data := randomWeight(r, quant.Format{Kind: quant.Dense, DType: quant.F32}, 12, 8)
	x, y, scores := random(r, compute.F32, 2, 8), random(r, compute.F32, 4, 4), random(r, compute.F32, 2, 2)
	for _, bad := range []int32{-1, 3, 1 << 30} {
		ids := expertIDs(2, 0, 1, 2, bad)
		for _, c := range []struct {
			op compute.Op
			in []compute.Array
		}{
			{compute.ExpertLinear{Weight: w, Experts: 3}, []compute.Array{x, ids, data[0]}},
			{compute.ExpertGradInput{Weight: w, Experts: 3}, []compute.Array{y, ids, data[0]}},
			{compute.ExpertGradWeight{Experts: 3, Alpha: 1}, []compute.Array{y, x, ids}},
			{compute.RouteGrad{}, []compute.Array{random(r, compute.F32, 2, 3), ids, scores}},
		} {
			want, err := compute.Infer(c.op, specs(c.in))
			if err != nil {
				t.Fatal(err)
			}
			out, err := d.Alloc(want[0].Shape, want[0].DType)
			if err != nil {
				t.Fatal(err)
			}
			var in []compute.Buffer
			for _, a := range c.in {
				in = append(in, input(t, d, a))
			}
			if err := d.Run(c.op, []compute.Buffer{out}, in); err == nil || !strings.Contains(err.Error(), "expert") {
				t.Errorf("%s with expert %d of 3: error %v", c.op.Name(), bad, err)
			}
			out.Free()
		}
	}
}

// TestExpertPickedTwice: a row whose experts are one and the same counts twice.
func TestExpertPickedTwice(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(43)
		const experts, k, rows, cols = 3, 4, 5, 2048
		f := quant.Format{Kind: quant.Affine, DType: quant.F32, Bits: 4, Group: 64}
		w, data := randomWeight(r, f, experts*rows, cols)
		ids := expertIDs(k, 1, 1, 1, 1, 2, 1, 2, 1)
		op := compute.ExpertGradInput{Weight: w, Experts: experts}
		in := append([]compute.Array{random(r, compute.F32, 2*k, rows), ids}, data...)
		check(t, d, op, nil, in, sumTolerance)
		check(t, d, compute.ExpertGradWeight{Experts: experts, Alpha: 1}, nil, []compute.Array{in[0], random(r, compute.F32, 2, cols), ids}, sumTolerance)
		check(t, d, compute.ExpertLinear{Weight: w, Experts: experts, Exact: true}, nil, append([]compute.Array{random(r, compute.F32, 2, cols), ids}, data...), sumTolerance)
	})
}
