package model

import "fmt"

// windowDefault is sliding_window where a config leaves it out, in families that have one.
const windowDefault = 4096

// sliding is which layers of a family have a window where layer_types does not say so.
type sliding struct {
	layer     func(layer int) bool // nil: none
	byDefault int                  // sliding_window where the config has no such key; 0: none
	same      bool                 // all layers have the same: layer_types cannot say otherwise
	switched  bool                 // use_sliding_window: false forbids windows
}

// in tells whether layer i has a window.
func (s sliding) in(i int) bool { return s.layer != nil && s.layer(i) }

// checkLayers checks layer_types, and that the windows of all layers are known.
func (c *Config) checkLayers(path string) error {
	if n := len(c.LayerTypes); n != 0 && n != c.NumHiddenLayers {
		return fmt.Errorf("%s: layer_types has %d entries, num_hidden_layers is %d", path, n, c.NumHiddenLayers)
	}
	s := architectures[c.ModelType](c).sliding
	window, ok := c.slidingWindow(s)
	for i, kind := range c.LayerTypes {
		switch {
		case kind != "full_attention" && kind != "sliding_attention":
			return fmt.Errorf("%s: layer_types[%d] is %q; known are full_attention, sliding_attention", path, i, kind)
		case s.same && (kind == "sliding_attention") != (ok && s.in(i)):
			return fmt.Errorf("%s: layer_types[%d] is %q, but sliding_window and use_sliding_window say otherwise; all layers of %s have the same window", path, i, kind, c.ModelType)
		case kind == "full_attention":
		case !ok || window <= 0:
			return fmt.Errorf("%s: layer_types[%d] is %q, but sliding_window is no positive number", path, i, kind)
		case s.switched && c.UseSlidingWindow != nil && !*c.UseSlidingWindow:
			return fmt.Errorf("%s: layer_types[%d] is %q, but use_sliding_window is false", path, i, kind)
		}
	}
	if len(c.LayerTypes) == 0 && ok && window <= 0 {
		for i := range c.NumHiddenLayers {
			if s.in(i) {
				return fmt.Errorf("%s: sliding_window is %d, expected a positive number, or null for none", path, window)
			}
		}
	}
	return nil
}

// slidingWindow is the size of the windows. ok is false where null says that there are none,
// or the family's default.
func (c *Config) slidingWindow(s sliding) (size int, ok bool) {
	if c.SlidingWindow != nil {
		return *c.SlidingWindow, true
	}
	_, isNull := c.given["sliding_window"]
	return s.byDefault, !isNull && s.byDefault > 0
}

// windows is the attention window of each layer, 0 for all keys: that of the layers marked in
// layer_types or, without the list, of those that slide in transformers' model of the family.
func (c *Config) windows(s sliding) []int {
	windows := make([]int, c.NumHiddenLayers)
	size, ok := c.slidingWindow(s)
	if !ok {
		return windows
	}
	for i := range windows {
		if i < len(c.LayerTypes) && c.LayerTypes[i] == "sliding_attention" || len(c.LayerTypes) == 0 && s.in(i) {
			windows[i] = size
		}
	}
	return windows
}

func everyLayer(int) bool { return true }

// usesWindow tells whether use_sliding_window is on.
func (c *Config) usesWindow() bool { return c.UseSlidingWindow != nil && *c.UseSlidingWindow }

// slidingQwen is the rule of the dense Qwen families: windows from layer max_window_layers on.
func (c *Config) slidingQwen() sliding {
	first := 28
	if c.MaxWindowLayers != nil {
		first = *c.MaxWindowLayers
	}
	return sliding{
		layer:     func(i int) bool { return c.usesWindow() && i >= first },
		byDefault: windowDefault, switched: true,
	}
}
