package adapter

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
)

// Config says which projections get a low-rank update, and which shape it has:
// lora_parameters and num_layers of adapter_config.json.
type Config struct {
	Rank           int
	Scale, Dropout float32
	Keys           []string // relative to a block, or whole module paths; nil is every projection of a block
	NumLayers      int      // last blocks; <= 0 is all
	DoRA           bool     // with magnitudes
}

// maxRank bounds what a file can make us allocate; useful ranks are far below.
const maxRank = 1 << 13

// New puts a LoRA beside every projection that c chooses, in place of what adapters there
// are, and returns them in the order of attachment. A is uniform in ±1/sqrt(in), drawn
// from the stream keys exactly as mlx-lm draws it; B is zero. With DoRA the magnitudes are
// the norms of the base's rows.
func New(m *model.Model, c Config, keys compute.Key) ([]*nn.LoRA, error) {
	chosen, err := c.choose(m)
	if err != nil {
		return nil, err
	}
	m.Detach()
	var out []*nn.LoRA
	for _, l := range chosen {
		// mlx-lm draws a throw-away base layer before each lora_a.
		keys, _ = keys.Split()
		var use compute.Key
		keys, use = keys.Split()
		bound := float32(1 / math.Sqrt(float64(l.In())))
		a := use.Uniform(max(l.Experts, 1)*l.In()*c.Rank, -bound, bound)
		lora, err := nn.NewLoRA(m.Device(), l, c.Rank, c.Scale, c.Dropout, a, nil)
		if err != nil {
			m.Detach()
			return nil, fmt.Errorf("%s: %w", l.Name, err)
		}
		l.Adapter = lora
		out = append(out, lora)
		if c.DoRA {
			if err := lora.AddMagnitude(m.Device(), l); err != nil {
				m.Detach()
				return nil, fmt.Errorf("%s: %w", l.Name, err)
			}
		}
	}
	return out, nil
}

// choose lists the projections that c names: those of the last blocks by
// relative path first, then whole paths anywhere in the model.
func (c Config) choose(m *model.Model) ([]*nn.Linear, error) {
	if c.Rank <= 0 || c.Rank > maxRank {
		return nil, fmt.Errorf("lora_parameters: rank is %d, expected 1 to %d", c.Rank, maxRank)
	}
	if c.NumLayers > len(m.Blocks) {
		return nil, fmt.Errorf("num_layers is %d, but the model has %d layers (-1 is all)", c.NumLayers, len(m.Blocks))
	}
	wanted := map[string]bool{}
	for _, k := range c.Keys {
		wanted[k] = false
	}
	var out []*nn.Linear
	seen := map[*nn.Linear]bool{}
	pick := func(l *nn.Linear, key string) {
		if _, ok := wanted[key]; (ok || c.Keys == nil) && !seen[l] {
			seen[l], wanted[key] = true, true
			out = append(out, l)
		}
	}
	for _, b := range m.LastBlocks(c.NumLayers) {
		at := len(fmt.Sprintf("model.layers.%d.", b.Index))
		for _, l := range b.Linears() {
			pick(l, l.Name[at:])
		}
	}
	if c.Keys != nil {
		for _, l := range m.Linears() {
			pick(l, l.Name)
		}
	}
	for _, k := range c.Keys {
		if !wanted[k] {
			return nil, fmt.Errorf("lora_parameters: key %q names no projection of this model; known are %s%s", k, strings.Join(keysOf(m), ", "), headHint(m))
		}
	}
	return out, nil
}

// keysOf are the names of projections in a block, over all blocks.
func keysOf(m *model.Model) []string {
	var out []string
	for _, b := range m.Blocks {
		at := len(fmt.Sprintf("model.layers.%d.", b.Index))
		for _, l := range slices.Backward(b.Linears()) {
			if key := l.Name[at:]; !slices.Contains(out, key) {
				out = append(out, key)
			}
		}
	}
	return out
}

func headHint(m *model.Model) string {
	if m.Tied {
		return " (this model's head is its embedding, which cannot take a LoRA)"
	}
	return " and lm_head"
}
