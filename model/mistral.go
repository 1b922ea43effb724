package model

// mistral is Mistral 7B, Nemo and Ministral: Llama without biases, and with the same
// window in all layers unless layer_types says otherwise.
func mistral(c *Config) Architecture {
	a := llama(c)
	a.Tied = c.tied(false)
	a.sliding = sliding{layer: everyLayer, byDefault: windowDefault}
	return a
}
