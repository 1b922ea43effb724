package model

// llama is Meta's Llama 2 and 3 and whatever copies it (SmolLM, TinyLlama, ...):
// attention_bias puts biases on all four attention projections.
func llama(c *Config) layout {
	theta, scaling := c.rope(10000)
	return layout{
		theta: theta, scaling: scaling,
		tied:    c.tied(true), // mlx-lm's default; transformers writes the field always
		qkvBias: c.AttentionBias, oBias: c.AttentionBias, mlpBias: c.MLPBias,
	}
}
