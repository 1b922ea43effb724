package model

// qwen2 is Qwen 2 and 2.5: Llama with biases on q, k and v only.
func qwen2(c *Config) Architecture {
	theta, scaling := c.rope(1e6)
	return Architecture{Theta: theta, Scaling: scaling, Tied: c.tied(true), QKVBias: true, sliding: c.slidingQwen()}
}
