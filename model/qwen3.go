package model

// qwen3 normalizes each head of q and k before RoPE and has a head_dim of its own.
func qwen3(c *Config) layout {
	theta, scaling := c.rope(1e6)
	return layout{
		theta: theta, scaling: scaling, tied: c.tied(true), qkNorm: true,
		qkvBias: c.AttentionBias, oBias: c.AttentionBias,
	}
}
