package nn

import "github.com/lentil-lm/lentil/tensor"

// MoE is a mixture of experts: a router chooses K of them for each token, and their
// outputs are added up, weighted by its scores (Shazeer et al., 2017, arXiv 1701.06538).
// Each expert is an MLP.
type MoE struct {
	Router         *Linear // [experts, D]
	Gate, Up, Down *Linear // stacks
	K              int
	Normalize      bool // the scores of the chosen experts add up to 1
}

// Forward is [T, D] -> [T, D].
func (m *MoE) Forward(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
	ids, scores := t.Route(m.Router.Forward(t, x), m.K, m.Normalize)                // [T, K] both
	h := t.SwiGLU(m.Gate.ForwardExperts(t, x, ids), m.Up.ForwardExperts(t, x, ids)) // [T·K, width]
	return t.Combine(m.Down.ForwardExperts(t, h, ids), scores)
}

// Linears are the experts' matrices and the router.
func (m *MoE) Linears() []*Linear { return []*Linear{m.Down, m.Up, m.Gate, m.Router} }
