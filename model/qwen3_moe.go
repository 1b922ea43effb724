package model

import "slices"

// qwen3MoE is qwen3 with experts, in all layers but those that the config leaves out.
func qwen3MoE(c *Config) layout {
	l := qwen3(c)
	l.tied = c.tied(false)
	step, perToken := 1, 8
	if c.DecoderSparseStep != nil {
		step = max(*c.DecoderSparseStep, 1)
	}
	if c.NumExpertsPerTok != nil {
		perToken = *c.NumExpertsPerTok
	}
	l.mixture = &mixture{
		module: "mlp", experts: max(c.NumExperts, c.NumLocalExperts), perToken: perToken,
		width: c.MoEIntermediateSize, normalize: c.NormTopkProb, routerBits: 8,
		dense: func(layer int) bool { return (layer+1)%step != 0 || slices.Contains(c.MLPOnlyLayers, layer) },
	}
	return l
}
