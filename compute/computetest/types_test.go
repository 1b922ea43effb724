package computetest

import (
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// TestActivations: the inputs that compute.Activations lists are those whose type the shape
// rule leaves open, but for weights and vectors of a model, and copies.
func TestActivations(t *testing.T) {
	open := map[string][]int{"linear": {2}, "rmsnorm": {1}, "rmsnorm_grad": {1}, "magnitude": {3}, "copy_rows": {0}, "quantize_rows": {0}}
	done := map[string]bool{}
	for _, c := range cases() {
		name := c.op.Name()
		if done[name] {
			continue
		}
		done[name] = true
		in := specsOf(c.inputs(newGen(c.name())))
		listed := compute.Activations(c.op)
		var all []int // listed ones that are float32 here, taken together
		for i, s := range in {
			if s.DType != compute.F32 {
				continue
			}
			half := compute.Spec{Shape: s.Shape, DType: compute.BF16}
			if slices.Contains(listed, i) {
				all = append(all, i)
			} else if _, err := compute.Infer(c.op, replaced(in, i, half)); err == nil && !slices.Contains(open[name], i) {
				if w, at, ok := compute.WeightInput(c.op); !ok || at != i {
					t.Errorf("%s takes input %d in BF16, and Activations does not list it (%v)", name, i, w)
				}
			}
		}
		halves := in
		for _, i := range all {
			halves = replaced(halves, i, compute.Spec{Shape: in[i].Shape, DType: compute.BF16})
		}
		if _, err := compute.Infer(c.op, halves); err != nil {
			t.Errorf("inputs %v in BF16: %v", all, err)
		}
	}
}
