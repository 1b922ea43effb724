package model

// llama is Meta's Llama 2 and 3 and whatever copies it (SmolLM, TinyLlama, ...):
// attention_bias puts biases on all four attention projections.
func llama(c *Config) Architecture {
	theta, scaling := c.rope(10000)
	return Architecture{
		Theta: theta, Scaling: scaling,
		Tied:    c.tied(true), // mlx-lm's default; transformers writes the field always
		QKVBias: c.AttentionBias, OBias: c.AttentionBias, MLPBias: c.MLPBias,
	}
}
