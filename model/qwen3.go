package model

// qwen3 normalizes each head of q and k before RoPE and has a head_dim of its own.
func qwen3(c *Config) Architecture {
	theta, scaling := c.rope(1e6)
	return Architecture{
		Theta: theta, Scaling: scaling, Tied: c.tied(true), QKNorm: true,
		QKVBias: c.AttentionBias, OBias: c.AttentionBias,
		sliding: c.slidingQwen(),
	}
}
