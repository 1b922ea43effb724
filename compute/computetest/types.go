package computetest

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// table is cases, and what they become on a device that keeps activations in another type
// than F32.
func table(activations compute.DType) []testCase {
	all := cases()
	if activations == 0 || activations == compute.F32 {
		return all
	}
	for _, c := range slices.Clone(all) {
		all = append(all, c.typed(activations)...)
	}
	return all
}

// A typing says which of an op's inputs are activations of the device's type, the others
// being F32, and whether To is that type.
type typing struct {
	inputs []int
	to     bool
}

// typings are the combinations of types that package tensor runs an op with.
func typings(op compute.Op) []typing {
	all := compute.Activations(op)
	switch op.(type) {
	case compute.Embed:
		return []typing{{nil, true}}
	case compute.MatMul: // with the F32 matrices of adapters, and the gradient of a weight
		return []typing{{[]int{0}, false}, {[]int{1}, false}, {nil, true}, {[]int{0, 1}, false}}
	case compute.Linear: // logits are F32
		return []typing{{all, true}, {all, false}}
	case compute.LinearGradInput:
		return []typing{{all, true}, {nil, true}}
	case compute.ExpertLinear, compute.ExpertGradInput: // stacks of adapters have F32 between their two matrices
		return []typing{{all, true}, {all, false}, {nil, true}}
	case compute.ExpertGradWeight:
		return []typing{{all, false}, {[]int{0}, false}, {[]int{1}, false}}
	case compute.CrossEntropyLogits, compute.ArgMax, compute.Sample:
		return nil
	}
	if all == nil {
		return nil
	}
	return []typing{{all, true}}
}

// typed are the case's variants for activations of type t.
func (c testCase) typed(t compute.DType) []testCase {
	var list []testCase
	for _, typing := range typings(c.op) {
		v := c
		v.types = fmt.Sprintf(" %v %v", t, typing.inputs)
		if typing.to {
			v.op = compute.WithOutput(c.op, t)
			v.types += " to"
		}
		v.inputs = func(g gen) []compute.Array {
			in := c.inputs(g)
			for _, i := range typing.inputs {
				a := zeros(spec(t, in[i].Shape...))
				a.SetFloats(in[i].Floats())
				in[i] = a
			}
			return in
		}
		if !moves(c.op) {
			v.tol, v.statistic = c.tol+activationTolerance(t), c.tol
			if c.op.Name() == (compute.AttentionGrad{}).Name() {
				// Probabilities are rounded to t, and the first keys' are many times those of the others.
				v.tol += activationTolerance(t)
			}
			v.tol += tolerance(c.uneven) * activationTolerance(t)
		}
		list = append(list, v)
	}
	return list
}

// moves reports whether op only moves or stores numbers, in one defined way.
func moves(op compute.Op) bool {
	switch op.(type) {
	case compute.GatherRows, compute.StoreRows:
		return true
	}
	return false
}

// isStatistic reports whether an output is a sum over a row that is as exact as on a
// device of F32 activations: a loss, or the logarithm of a sum. Losses are if the head's
// weights have no more bits than activations, as tensor cores round them to that type.
func isStatistic(op compute.Op, output int) bool {
	switch o := op.(type) {
	case compute.Attention:
		return output == 1
	case compute.CrossEntropy:
		f := o.Weight.Format
		return output == 0 && (f.Kind.IsFP() || f.Kind == quant.Dense && f.DType == quant.BF16)
	}
	return false
}
