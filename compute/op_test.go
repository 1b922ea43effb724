package compute

import (
	"errors"
	"math"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

func array(v []float32, shape ...int) Array {
	return Array{Spec: Spec{shape, F32}, Data: FloatBytes(append([]float32(nil), v...))}
}

func indices(v ...int32) Array { return Array{Spec: Spec{Shape{len(v)}, I32}, Data: IntBytes(v)} }

// run runs an op's definition on fresh outputs.
func run(t *testing.T, op Op, in ...Array) []Array {
	t.Helper()
	specs := make([]Spec, len(in))
	for i, a := range in {
		specs[i] = a.Spec
	}
	outSpecs, err := Infer(op, specs)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]Array, len(outSpecs))
	for i, s := range outSpecs {
		out[i] = Array{Spec: s, Data: make([]byte, s.Bytes())}
	}
	op.Define(out, in)
	return out
}

func counted(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(float64(3*i + 1)))
	}
	return v
}

// TestAccumulate: what an op adds to its output is what it writes to zeros.
func TestAccumulate(t *testing.T) {
	w := Weight{quant.Format{Kind: quant.Dense, DType: F32}, 3, 4}
	x, y, weight := array(counted(8), 2, 4), array(counted(6), 2, 3), array(counted(12), 3, 4)
	tests := []struct {
		name       string
		plain, add Op
		output     int
		in         []Array
	}{
		{"linear_grad_input", LinearGradInput{Weight: w}, LinearGradInput{Weight: w, Accumulate: true}, 0, []Array{y, weight}},
		{"matmul", MatMul{Alpha: 3}, MatMul{Alpha: 3, Accumulate: true}, 0, []Array{y, weight}},
		{"sum_rows", SumRows{}, SumRows{Accumulate: true}, 0, []Array{x}},
		{"rmsnorm_grad dx", RMSNormGrad{}, RMSNormGrad{Accumulate: true}, 0, []Array{x, array(counted(4), 4), x}},
		{"rmsnorm_grad dw", RMSNormGrad{Weight: true}, RMSNormGrad{Weight: true}, 1, []Array{x, array(counted(4), 4), x}},
		{"embed_grad", EmbedGrad{Rows: 5}, EmbedGrad{Rows: 5}, 0, []Array{x, indices(4, 4)}},
		{"cross_entropy dW", CrossEntropy{Weight: w, Grad: true, GradWeight: true}, CrossEntropy{Weight: w, Grad: true, GradWeight: true}, 2,
			[]Array{x, indices(2, 0), array(counted(2), 2), weight}},
		{"sum_squares", SumSquares{}, SumSquares{Accumulate: true}, 0, []Array{x}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fresh := run(t, tt.plain, tt.in...)
			added := run(t, tt.add, tt.in...)
			for i := range added {
				for j := range added[i].F32() {
					added[i].F32()[j] = 10
				}
			}
			tt.add.Define(added, tt.in)
			const rounding = 1e-5 // of a sum of about 10
			for j, v := range added[tt.output].F32() {
				if want := fresh[tt.output].F32()[j] + 10; !(math.Abs(float64(v-want)) <= rounding) {
					t.Errorf("element %d is %v, want %v", j, v, want)
				}
			}
		})
	}
}

func TestCopyRowsKeepsOthers(t *testing.T) {
	out := []Array{array([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 4, 2)}
	CopyRows{Rows: 4, To: F32}.Define(out, []Array{array([]float32{-1, -2, -3, -4}, 2, 2)})
	for i, want := range []float32{-1, -2, -3, -4, 5, 6, 7, 8} {
		if got := out[0].F32()[i]; got != want {
			t.Errorf("element %d is %v, want %v", i, got, want)
		}
	}
}

func TestSpecCheck(t *testing.T) {
	tests := []struct {
		name  string
		shape Shape
		ok    bool
	}{
		{"scalar", nil, true},
		{"empty", Shape{0, 5}, true},
		{"plain", Shape{3, 5}, true},
		{"negative", Shape{3, -5}, false},
		{"large", Shape{1 << 40}, true}, // for the device to judge
		{"overflow", Shape{1 << 32, 1 << 32}, false},
		{"overflow to zero", Shape{1 << 62, 4}, false},
	}
	for _, tt := range tests {
		if err := (Spec{tt.shape, F32}).Check(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := (Spec{Shape{1 << 62, 4}, F32}).Check(); !errors.Is(err, ErrNoMemory) {
		t.Errorf("overflow gives %v, want ErrNoMemory", err)
	}
}
