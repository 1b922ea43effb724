package model

import "math"

// Facts are a config's settings with the defaults of its model_type filled in,
// for writing the model in other formats.
type Facts struct {
	HeadDim, KVHeads int
	Theta            float64      // base of the rotary frequencies
	Scaling          *RopeScaling // nil for none
	Tied             bool         // lm_head is the embedding
	// RopeFactors divide the rotary frequencies pair by pair, RopeScale
	// multiplies cos and sin: what Scaling amounts to.
	RopeFactors []float32
	RopeScale   float32
	// NoRope lists the layers without rotary embedding, Windows the attention
	// window of each layer, 0 for all keys.
	NoRope  []int
	Windows []int
	Experts ExpertFacts
}

// ExpertFacts are what a config says of its mixtures of experts.
type ExpertFacts struct {
	Count     int // 0: a dense model
	PerToken  int
	Width     int   // intermediate size of each
	Normalize bool  // the scores of the chosen experts add up to 1
	Dense     []int // layers without experts

	Router     string // the router's name in a layer, "mlp.gate"
	RouterBits int    // least bits that its publishers want it quantized to; 0: as the rest
}

// Facts works the settings out.
func (c *Config) Facts() (Facts, error) {
	a := architectures[c.ModelType](c)
	f := Facts{HeadDim: c.headDim(), KVHeads: c.kvHeads(), Theta: a.theta, Scaling: a.scaling, Tied: a.tied}
	if m := a.mixture; m != nil {
		f.Experts = ExpertFacts{Count: m.experts, PerToken: m.perToken, Width: m.width, Normalize: m.normalize, Router: m.module + ".gate", RouterBits: m.routerBits}
	}
	scaled, scale, err := ropeFrequencies(c, f.HeadDim, a.theta, a.scaling)
	if err != nil {
		return f, err
	}
	f.RopeScale = scale
	for i, freq := range scaled {
		plain := math.Pow(a.theta, -2*float64(i)/float64(f.HeadDim))
		factor := plain / float64(freq)
		if math.Abs(factor-1) < 1e-6 { // freq is a float32: the quotient is off in the last digit
			factor = 1
		}
		f.RopeFactors = append(f.RopeFactors, float32(factor))
	}
	for i := range c.NumHiddenLayers {
		if a.noRope != nil && a.noRope(i) {
			f.NoRope = append(f.NoRope, i)
		}
		f.Windows = append(f.Windows, c.window(i))
		if m := a.mixture; m != nil && m.dense != nil && m.dense(i) {
			f.Experts.Dense = append(f.Experts.Dense, i)
		}
	}
	return f, nil
}
