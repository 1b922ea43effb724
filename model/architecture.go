package model

import (
	"math"
	"slices"
)

// Architecture is what a config means: its settings with the defaults of its model_type
// filled in. The decoder is built from it, and models in other formats are written by it.
type Architecture struct {
	HeadDim, KVHeads int
	Tied             bool // lm_head is the embedding

	QKVBias, OBias, MLPBias bool
	QKNorm                  bool // each head of q and k is normalized before RoPE

	Theta   float64      // base of the rotary frequencies
	Scaling *RopeScaling // nil for none
	// RopeFactors divide the rotary frequencies pair by pair, and RopeScale multiplies cos
	// and sin: what Scaling amounts to.
	RopeFactors []float32
	RopeScale   float32
	frequencies []float32 // angle per token of each pair

	NoRope  []int   // layers without rotary embedding
	Windows []int   // attention window of each layer, 0 for all keys
	Experts Experts // Count 0: a dense model

	sliding sliding
}

// Experts are the mixtures of experts of an architecture.
type Experts struct {
	Module    string // of a block, which router and experts are in: "mlp"; empty in dense families
	Count     int
	PerToken  int   // chosen by the router
	Width     int   // intermediate size of each
	Normalize bool  // the scores of the chosen experts add up to 1
	Dense     []int // layers that have an MLP in their place

	RouterBits int // least bits that its publishers want the router quantized to; 0: as the rest
}

// Router is the router's name in a block.
func (e Experts) Router() string { return e.Module + ".gate" }

// in tells whether layer i has experts.
func (e Experts) in(i int) bool { return e.Count > 0 && !slices.Contains(e.Dense, i) }

// Architecture works out what the config means.
func (c *Config) Architecture() (Architecture, error) {
	a := c.architecture()
	var err error
	if a.frequencies, a.RopeScale, err = ropeFrequencies(c, a.HeadDim, a.Theta, a.Scaling); err != nil {
		return a, err
	}
	for i, freq := range a.frequencies {
		plain := math.Pow(a.Theta, -2*float64(i)/float64(a.HeadDim))
		factor := plain / float64(freq)
		if math.Abs(factor-1) < 1e-6 { // freq is a float32: the quotient is off in the last digit
			factor = 1
		}
		a.RopeFactors = append(a.RopeFactors, float32(factor))
	}
	return a, nil
}

// architecture is Architecture without what Scaling amounts to.
func (c *Config) architecture() Architecture {
	a := architectures[c.ModelType](c)
	a.HeadDim, a.KVHeads = c.headDim(), c.kvHeads()
	a.Windows = c.windows(a.sliding)
	return a
}

// layers lists the layers for which is tells true.
func (c *Config) layers(is func(layer int) bool) (list []int) {
	for i := range c.NumHiddenLayers {
		if is(i) {
			list = append(list, i)
		}
	}
	return list
}

// TensorShape is a tensor by its name in Hugging Face's files.
type TensorShape struct {
	Name  string
	Shape []int // of a stack of experts [experts, out, in]
}

// Tensors lists the tensors that a model of the config is loaded from, experts as stacks:
// embedding, head and final norm, then block by block.
func (c *Config) Tensors() []TensorShape {
	var all shapes
	b := &builder{store: &all}
	b.build(&Model{}, c, c.architecture())
	return all.list
}
