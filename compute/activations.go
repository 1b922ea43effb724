package compute

// Activations lists the inputs of op that are activations or their gradients: those that
// may be of any float type. All others have the type that the op's comment names.
func Activations(op Op) []int {
	switch op.(type) {
	case Linear, LinearGradInput, SumRows, EmbedGrad, ExpertLinear, ExpertGradInput, Route, RouteGrad, Combine, Magnitude,
		CrossEntropy, CrossEntropyLogits, RMSNorm, RoPE, Scale, GatherRows, ScatterRows, Dropout, StoreRows, CacheAttention,
		ScaleBy, ScaleRows, LowRankRows, ArgMax, Sample:
		return first
	case MatMul, ExpertGradWeight, CombineGrad, SwiGLU, Add:
		return firstTwo
	case RMSNormGrad:
		return firstAndThird
	case MagnitudeGrad:
		return firstAndFourth
	case SwiGLUGrad, Attention:
		return firstThree
	case AttentionGrad:
		return attentionGradInputs
	}
	return nil
}

var (
	first               = []int{0}
	firstTwo            = []int{0, 1}
	firstThree          = []int{0, 1, 2}
	firstAndThird       = []int{0, 2}
	firstAndFourth      = []int{0, 3}
	attentionGradInputs = []int{0, 1, 2, 4, 6}
)

// WithOutput is op with the attribute To set, for ops that have it.
func WithOutput(op Op, to DType) Op {
	switch o := op.(type) {
	case Embed:
		o.To = to
		return o
	case Linear:
		o.To = to
		return o
	case LinearGradInput:
		o.To = to
		return o
	case MatMul:
		o.To = to
		return o
	case ExpertLinear:
		o.To = to
		return o
	case ExpertGradInput:
		o.To = to
		return o
	case LowRankRows:
		o.To = to
		return o
	}
	return op
}
