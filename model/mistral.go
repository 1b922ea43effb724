package model

// mistral is Mistral 7B, Nemo and Ministral: Llama without biases. A
// sliding_window without layer_types is not used, as in mlx-lm.
func mistral(c *Config) Architecture {
	a := llama(c)
	a.Tied = c.tied(false)
	return a
}
