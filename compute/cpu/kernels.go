package cpu

import (
	"fmt"
	"os"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// kernels is one family of inner loops. Each family is a whole table: the code above
// never asks which processor it runs on. A pointer is that of the first element. The
// generic kernels say in Go what the others do.
type kernels struct {
	name string

	// tile is the matrix product's inner loop on panels of mr rows of a and nr
	// columns of b, see tileGeneric.
	mr, nr int
	tile   func(k int, a, b, c *float32, ldc int, add bool)
	// narrowTile is a product of 8 by 8 with a read by strides, see narrowTileGeneric.
	narrowTile func(k int, a *float32, line, step int, b, c *float32, add bool)

	// interleave4 writes four rows of src as columns, interleave2 two.
	interleave4, interleave2 func(dst *float32, width int, src *float32, ld, n int)
	// scatter copies n pieces of nr values to places stride apart.
	scatter func(dst *float32, stride int, src *float32, n int)
	// prefetch asks for the cache lines at three places. They are never read to their
	// end.
	prefetch func(a, b, c *byte)
	// affineRow widens groups of packed weights, see affineRowGeneric.
	affineRow func(dst []float32, src []byte, scales, biases []float32, bits int)
	// widenQ4K and widenQ6K unpack one GGUF super-block, see kquant_generic.go.
	widenQ4K func(dst *[superBlock]float32, q *[128]byte, sm *[16]float32)
	widenQ6K func(dst *[superBlock]float32, q *[192]byte, scales *[16]float32)
	// e8m0 and e4m3 widen scales of small floats, fp4Row and fp8Row groups of
	// such weights, see fp_generic.go.
	e8m0, e4m3 func(dst []float32, src []byte, factor float32)
	fp4Row     func(dst []float32, src []byte, halves []float32)
	fp8Row     func(dst []float32, src []byte, scales []float32)
	// widen converts F16 or BF16 values to float32, narrow rounds to them.
	widenF16, widenBF16   func(dst []float32, src []byte)
	narrowF16, narrowBF16 func(dst []byte, src []float32)

	// bytes multiply 8-bit numbers, see gemm8.go.
	bytes byteKernels

	dotKernels
	laneKernels
	vectors
}

// dotKernels multiply rows of weights with one vector, see gemv_generic.go.
type dotKernels struct {
	quantize64 func(q []int8, scale, sum, x []float32)
	quantize32 func(q []int8, scale, sum, x []float32)
	dotQ4K     func(y []float32, w []byte, x []int8, scale, sum []float32)
	dotQ6K     func(y []float32, w []byte, x []int8, scale, sum []float32)
	dotQ4      func(y []float32, w []byte, scales, biases []float32, x []int8, scale, sum []float32)
	// rowwise multiplies with several rows of x, each as dotQ4 and dotFP4 do with one;
	// nil where there is no such kernel, see rowwise_tile.go.
	rowwise func(rows int, t *rowwiseTile, kind quant.Kind)
	// The next three are nil where there is nothing faster than widening, see fp_generic.go.
	starts    func(start []int32, x []int8)
	dotFP4    func(y []float32, w []byte, halves []float32, x []int8, scale []float32, start []int32)
	dotFP8    func(y []float32, w []byte, scales, x []float32)
	dotAffine func(y []float32, w []byte, scales, biases, x []float32, bits int)
	// dotWide multiplies widened affine weights with several rows of x, each as dotAffine does
	// with one, see dotWideGeneric; nil where there is no such kernel.
	dotWide   func(y []float32, ldy int, w, x []float32, n, rows int)
	dotDense  func(y []float32, w []byte, x []float32, t compute.DType)
	dotRows   func(y, x []float32, ld int, q []float32)
	addRows   func(y, p, x []float32, ld int)
	dotHalves func(y []float32, x []byte, ld int, q []float32) // dotRows for x in F16
	addHalves func(y, p []float32, x []byte, ld int)
}

// laneKernels work on panels of w = nr lanes, see attention.go.
type laneKernels struct {
	softmaxLanes func(s []float32, n, w int, scale float32, st *lanes)
	gradLanes    func(s, dp []float32, n, w int, scale float32, st *lanes)
	scaleLanes   func(x []float32, n, w int, keep *[maxLanes]float32)
}

// vectors are the loops over vectors; vector_generic.go says what each does.
type vectors struct {
	dot        func(a, b []float32) float32
	dot3       func(a, b, c []float32) float32
	max        func(x []float32) float32
	addScaled  func(y, a []float32, alpha float32, b []float32)
	scale      func(y []float32, alpha float32, x []float32)
	scaleMul   func(y []float32, alpha float32, x, w []float32)
	mulAdd     func(y []float32, alpha float32, a, b []float32)
	normGrad   func(y, dy, w, x []float32, inv, mean float32, add bool)
	expSum     func(y, x []float32, shift, alpha float32) float32
	swiglu     func(y, gate, up []float32)
	swigluGrad func(dgate, dup, gate, up, dy []float32)
	rotate     func(ya, yb, a, b, c, s []float32)
	adam       func(p2, m2, v2, p, g, m, v []float32, o *adamStep)
}

var genericDots = dotKernels{
	quantize64: quantize64Generic,
	quantize32: quantize32Generic,
	dotQ4K:     dotQ4KGeneric,
	dotQ6K:     dotQ6KGeneric,
	dotQ4:      dotQ4Generic,
	starts:     startsGeneric,
	dotFP4:     dotFP4Generic,
	dotFP8:     dotFP8Generic,
	dotAffine:  dotAffineGeneric,
	dotDense:   dotDenseGeneric,
	dotRows:    dotRowsGeneric,
	addRows:    addRowsGeneric,
	dotHalves:  dotHalvesGeneric,
	addHalves:  addHalvesGeneric,
}

var genericVectors = vectors{
	dot:        dotGeneric,
	dot3:       dot3Generic,
	max:        maxGeneric,
	addScaled:  addScaledGeneric,
	scale:      scaleGeneric,
	scaleMul:   scaleMulGeneric,
	mulAdd:     mulAddGeneric,
	normGrad:   normGradGeneric,
	expSum:     expSumGeneric,
	swiglu:     swigluGeneric,
	swigluGrad: swigluGradGeneric,
	rotate:     rotateGeneric,
	adam:       adamGeneric,
}

// families lists what this program has for this machine, the best first; the
// generic one, last, is always there.
func families() []*kernels { return append(machineKernels(), generic) }

// generic is the family in plain Go, by which the others are tested.
var generic = &kernels{
	name:        "generic",
	mr:          4,
	nr:          4,
	tile:        tile4x4,
	narrowTile:  narrowTileGeneric,
	interleave4: interleave4Generic,
	interleave2: interleave2Generic,
	scatter:     scatter4,
	prefetch:    func(_, _, _ *byte) {},
	affineRow:   affineRowGeneric,
	widenQ4K:    widenQ4KGeneric,
	widenQ6K:    widenQ6KGeneric,
	e8m0:        e8m0Generic,
	e4m3:        e4m3Generic,
	fp4Row:      fp4RowGeneric,
	fp8Row:      fp8RowGeneric,
	widenF16:    widenF16Generic,
	widenBF16:   widenBF16Generic,
	narrowF16:   narrowF16Generic,
	narrowBF16:  narrowBF16Generic,
	dotKernels:  genericDots,
	bytes:       genericBytes,
	laneKernels: laneKernels{softmaxLanesGeneric, gradLanesGeneric, scaleLanesGeneric},
	vectors:     genericVectors,
}

// chooseKernels picks a family by name; empty means LENTIL_CPU, else the best.
func chooseKernels(name string) (*kernels, error) {
	from := "kernels"
	if name == "" {
		name, from = os.Getenv("LENTIL_CPU"), "LENTIL_CPU"
	}
	all := families()
	if name == "" {
		return all[0], nil
	}
	var have []string
	for _, k := range all {
		if k.name == name {
			return k, nil
		}
		have = append(have, k.name)
	}
	return nil, fmt.Errorf("cpu: %s asks for %q, this machine can run %s", from, name, strings.Join(have, ", "))
}
