package model

// qwen3MoE is qwen3 with experts, in all layers but those that the config leaves out.
func qwen3MoE(c *Config) Architecture {
	a := qwen3(c)
	a.Tied = c.tied(false)
	a.sliding.layer, a.sliding.same = func(int) bool { return c.usesWindow() }, true
	step, perToken := 1, 8
	if c.DecoderSparseStep != nil {
		step = max(*c.DecoderSparseStep, 1)
	}
	if c.NumExpertsPerTok != nil {
		perToken = *c.NumExpertsPerTok
	}
	mlpOnly := map[int]bool{} // a hostile list may be long
	for _, i := range c.MLPOnlyLayers {
		mlpOnly[i] = true
	}
	a.Experts = Experts{
		Module: "mlp", Count: max(c.NumExperts, c.NumLocalExperts), PerToken: perToken,
		Width: c.MoEIntermediateSize, Normalize: c.NormTopkProb, RouterBits: 8,
		Dense: c.layers(func(i int) bool { return (i+1)%step != 0 || mlpOnly[i] }),
	}
	return a
}
