package cpu

import (
	"fmt"
	"os"
	"strings"
)

// kernels is one family of inner loops. Each family is a whole table, so that
// the code above never asks which processor it runs on. Pointers stand for the
// first element; the generic kernels say in Go what the others do.
type kernels struct {
	name string

	// tile is the matrix product's inner loop on panels of mr rows of a and nr
	// columns of b, see tileGeneric.
	mr, nr int
	tile   func(k int, a, b, c *float32, ldc int, add bool)

	// interleave4 writes four rows of src as columns, see interleave4Generic.
	interleave4 func(dst *float32, width int, src *float32, ld, n int)
	// affineRow widens groups of packed weights, see affineRowGeneric.
	affineRow func(dst []float32, src []byte, scales, biases []float32, bits int)
	// widen converts F16 or BF16 values to float32.
	widenF16, widenBF16 func(dst []float32, src []byte)
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
	interleave4: interleave4Generic,
	affineRow:   affineRowGeneric,
	widenF16:    widenF16Generic,
	widenBF16:   widenBF16Generic,
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
