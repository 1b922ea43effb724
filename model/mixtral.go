package model

// mixtral is mistral with eight experts in place of the MLP, two for each token.
func mixtral(c *Config) layout {
	theta, scaling := c.rope(1e6)
	perToken := 2
	if c.NumExpertsPerTok != nil {
		perToken = *c.NumExpertsPerTok
	}
	return layout{
		theta: theta, scaling: scaling, tied: c.tied(false),
		mixture: &mixture{
			module: "block_sparse_moe", experts: max(c.NumLocalExperts, c.NumExperts), perToken: perToken,
			width: c.IntermediateSize, normalize: true,
		},
	}
}
