package model

// mixtral is mistral with eight experts in place of the MLP, two for each token. Without
// sliding_window it has no windows.
func mixtral(c *Config) Architecture {
	theta, scaling := c.rope(1e6)
	perToken := 2
	if c.NumExpertsPerTok != nil {
		perToken = *c.NumExpertsPerTok
	}
	return Architecture{
		Theta: theta, Scaling: scaling, Tied: c.tied(false),
		Experts: Experts{
			Module: "block_sparse_moe", Count: max(c.NumLocalExperts, c.NumExperts), PerToken: perToken,
			Width: c.IntermediateSize, Normalize: true,
		},
		sliding: sliding{layer: everyLayer, same: true},
	}
}
