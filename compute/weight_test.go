package compute

import (
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

// TestWeightSpec: a weight's buffer has room for all of its Specs, and an input of another size or type is refused.
func TestWeightSpec(t *testing.T) {
	for _, f := range []quant.Format{
		{Kind: quant.Dense, DType: quant.BF16},
		{Kind: quant.Affine, DType: quant.BF16, Bits: 4, Group: 64},
		{Kind: quant.Affine, DType: quant.F32, Bits: 3, Group: 32},
		{Kind: quant.MXFP4, DType: quant.U8, Bits: 4, Group: 32},
		{Kind: quant.NVFP4, DType: quant.U8, Bits: 4, Group: 16},
		{Kind: quant.MXFP8, DType: quant.U8, Bits: 8, Group: 32},
		{Kind: quant.Q4K}, {Kind: quant.Q6K},
	} {
		w := Weight{Format: f, Rows: 3, Cols: 512}
		var sum int64
		for _, s := range w.Specs() {
			sum += s.Bytes()
		}
		spec := w.Spec()
		if spec.Bytes() != sum {
			t.Errorf("%v: %v, its parts have %d bytes", f, spec, sum)
		}
		if err := w.check([]Spec{spec}, 0); err != nil {
			t.Errorf("%v: %v", f, err)
		}
		for _, other := range []Spec{{Shape{3, spec.Shape[1] + 1}, spec.DType}, {Shape{4, spec.Shape[1]}, spec.DType}, {Shape{3, spec.Shape[1]}, I32}, {Shape{3}, spec.DType}} {
			if w.check([]Spec{other}, 0) == nil {
				t.Errorf("%v: took %v for %v", f, other, spec)
			}
		}
	}
}
