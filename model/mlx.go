package model

import (
	"encoding/json"
	"maps"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/weights"
)

// AsMLX is a source whose config says in so many words what mlx-lm takes it to mean, where
// transformers and Load take it to mean something else: attention windows, the settings of
// rotary scaling that are left out, and the head that is. The source is closed with it.
func AsMLX(src weights.Source) (weights.Source, error) {
	c, err := ReadConfig(src)
	if err != nil {
		return nil, err
	}
	config := maps.Clone(c.given)
	set := func(to map[string]json.RawMessage, key string, v any) {
		if text, err := json.Marshal(v); err == nil {
			to[key] = text
		}
	}
	if !slices.Contains(mlxLlamas, c.ModelType) {
		delete(config, "layer_types")
	}
	if config["layer_types"] == nil || c.LayerTypes == nil {
		set(config, "sliding_window", nil)
		set(config, "use_sliding_window", false)
	}
	if _, ok := config["tie_word_embeddings"]; !ok {
		set(config, "tie_word_embeddings", c.ModelType != "mixtral")
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		var scaling map[string]json.RawMessage
		if json.Unmarshal(config[key], &scaling) != nil || scaling == nil {
			continue
		}
		mlxScaling(scaling, c.RopeTheta != nil, set)
		set(config, key, scaling)
	}
	delete(config, "original_max_position_embeddings")
	text, err := json.Marshal(config)
	return &mlxSource{src, text}, err
}

// mlxLlamas are the families that are mlx-lm's llama, which alone reads layer_types.
var mlxLlamas = []string{"llama", "mistral", "smollm3"}

// mlxScaling fills in what mlx-lm takes rotary scaling to be; base says that config.json has a rope_theta outside of it.
func mlxScaling(scaling map[string]json.RawMessage, base bool, set func(map[string]json.RawMessage, string, any)) {
	var s RopeScaling
	text, _ := json.Marshal(scaling)
	if json.Unmarshal(text, &s) != nil {
		return // told when the config is parsed
	}
	if base {
		delete(scaling, "rope_theta") // the one of config.json itself counts
	}
	original := 4096.0
	switch s.Kind() {
	case "yarn":
		factor := or(s.Factor, 1)
		mscale := func(k float64) float64 { return 1 + 0.1*k*math.Log(max(factor, 1)) }
		set(scaling, "attention_factor", mscale(or(s.Mscale, 1))/mscale(or(s.MscaleAllDim, 0)))
		delete(scaling, "truncate")
	case "llama3":
		original = 8192
	case "longrope":
		delete(scaling, "attention_factor")
		delete(scaling, "factor")
	default:
		return
	}
	if s.OriginalMaxPosition == nil {
		set(scaling, "original_max_position_embeddings", original)
	}
}

// mlxSource is a source with another config.
type mlxSource struct {
	weights.Source
	config []byte
}

func (s *mlxSource) Config() []byte { return s.config }
