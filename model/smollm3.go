package model

import "slices"

// smollm3 is Llama with every fourth layer free of positions (NoPE):
// no_rope_layers[i] is 0 there, or is derived from no_rope_layer_interval. With
// use_sliding_window those layers have a window.
func smollm3(c *Config) Architecture {
	a := llama(c)
	if c.RopeTheta == nil && (c.RopeParameters == nil || c.RopeParameters.RopeTheta == nil) {
		a.Theta = 2e6
	}
	interval := 4
	if c.NoRopeLayerInterval != nil && *c.NoRopeLayerInterval > 0 {
		interval = *c.NoRopeLayerInterval
	}
	a.NoRope = c.layers(func(i int) bool {
		if i < len(c.NoRopeLayers) {
			return c.NoRopeLayers[i] == 0
		}
		return (i+1)%interval == 0
	})
	a.sliding.layer = func(i int) bool { return c.usesWindow() && slices.Contains(a.NoRope, i) }
	return a
}
