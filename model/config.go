package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/weights"
)

// Config is config.json with the field names of Hugging Face's transformers.
// Pointers tell a missing field from a zero one: defaults differ per model_type.
type Config struct {
	ModelType             string       `json:"model_type"`
	HiddenSize            int          `json:"hidden_size"`
	NumHiddenLayers       int          `json:"num_hidden_layers"`
	IntermediateSize      int          `json:"intermediate_size"`
	NumAttentionHeads     int          `json:"num_attention_heads"`
	NumKeyValueHeads      *int         `json:"num_key_value_heads"`
	HeadDim               *int         `json:"head_dim"`
	RMSNormEps            float64      `json:"rms_norm_eps"`
	VocabSize             int          `json:"vocab_size"`
	MaxPositionEmbeddings int          `json:"max_position_embeddings"`
	RopeTheta             *float64     `json:"rope_theta"`
	RopeScaling           *RopeScaling `json:"rope_scaling"`
	RopeParameters        *RopeScaling `json:"rope_parameters"` // transformers v5: theta and scaling in one place
	RopeTraditional       bool         `json:"rope_traditional"`
	AttentionBias         bool         `json:"attention_bias"`
	MLPBias               bool         `json:"mlp_bias"`
	TieWordEmbeddings     *bool        `json:"tie_word_embeddings"`
	SlidingWindow         *int         `json:"sliding_window"`
	UseSlidingWindow      *bool        `json:"use_sliding_window"`
	MaxWindowLayers       *int         `json:"max_window_layers"` // the first layer with a window
	LayerTypes            []string     `json:"layer_types"`
	NoRopeLayers          []int        `json:"no_rope_layers"`
	NoRopeLayerInterval   *int         `json:"no_rope_layer_interval"`
	NumLocalExperts       int          `json:"num_local_experts"`
	NumExperts            int          `json:"num_experts"` // another name of the same
	NumExpertsPerTok      *int         `json:"num_experts_per_tok"`
	MoEIntermediateSize   int          `json:"moe_intermediate_size"`
	DecoderSparseStep     *int         `json:"decoder_sparse_step"`
	MLPOnlyLayers         []int        `json:"mlp_only_layers"`
	NormTopkProb          bool         `json:"norm_topk_prob"`
	HiddenAct             string       `json:"hidden_act"`
	ModelFile             string       `json:"model_file"`
	TorchDtype            string       `json:"torch_dtype"`
	Dtype                 string       `json:"dtype"`

	PartialRotaryFactor *float64 `json:"partial_rotary_factor"`
	OriginalMaxPosition *float64 `json:"original_max_position_embeddings"`

	given map[string]json.RawMessage // all of the file: a field that is null is there
}

// RopeScaling is the rope_scaling (or rope_parameters) object.
type RopeScaling struct {
	Type                string    `json:"type"`
	RopeType            string    `json:"rope_type"`
	RopeTheta           *float64  `json:"rope_theta"`
	Factor              *float64  `json:"factor"`
	LowFreqFactor       *float64  `json:"low_freq_factor"`
	HighFreqFactor      *float64  `json:"high_freq_factor"`
	OriginalMaxPosition *float64  `json:"original_max_position_embeddings"`
	BetaFast            *float64  `json:"beta_fast"`
	BetaSlow            *float64  `json:"beta_slow"`
	Mscale              *float64  `json:"mscale"`
	MscaleAllDim        *float64  `json:"mscale_all_dim"`
	AttentionFactor     *float64  `json:"attention_factor"`
	LongFactor          []float64 `json:"long_factor"`
	Factors             []float64 `json:"factors"` // GGUF: a divisor for each frequency
	PartialRotaryFactor *float64  `json:"partial_rotary_factor"`
	Truncate            *bool     `json:"truncate"`
}

// Kind is the scaling's name, "default" for none: "type" wins over "rope_type".
func (r *RopeScaling) Kind() string {
	if r == nil {
		return "default"
	}
	for _, k := range []string{r.Type, r.RopeType} {
		if k != "" {
			return k
		}
	}
	return "default"
}

// ReadConfig is ParseConfig for the model of a source. Where the config does not say whether
// the head is the embedding, it is if the model has no head of its own.
func ReadConfig(src weights.Source) (*Config, error) {
	c, err := ParseConfig(src.Config(), src.Path()+": config.json")
	if err == nil && c.TieWordEmbeddings == nil && c.ModelType != "smollm3" {
		tied := !src.Has("lm_head")
		c.TieWordEmbeddings = &tied
	}
	return c, err
}

// partial is the part of each head that is turned, nil for all of it.
func (r *RopeScaling) partial() *float64 {
	if r == nil {
		return nil
	}
	return r.PartialRotaryFactor
}

// ParseConfig reads config.json; path is for errors only.
func ParseConfig(data []byte, path string) (*Config, error) {
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, jsonpos.Error(path, data, err)
	}
	if err := json.Unmarshal(data, &c.given); err != nil {
		return nil, jsonpos.Error(path, data, err)
	}
	if c.ModelFile != "" {
		return nil, fmt.Errorf("%s: model_file %q asks to run Python code of the model's repository, which Lentil never does; use a model of a known model_type (%s)", path, c.ModelFile, knownTypes())
	}
	if _, ok := architectures[c.ModelType]; !ok {
		return nil, fmt.Errorf("%s: model_type %q is not supported; known are %s", path, c.ModelType, knownTypes())
	}
	for _, f := range []struct {
		name        string
		value, most int // most: far beyond any model, and little enough to allocate for
	}{{"hidden_size", c.HiddenSize, 1 << 24}, {"num_hidden_layers", c.NumHiddenLayers, 1 << 14}, {"intermediate_size", c.IntermediateSize, 1 << 24},
		{"num_attention_heads", c.NumAttentionHeads, 1 << 24}, {"vocab_size", c.VocabSize, 1 << 24}} {
		if f.value <= 0 || f.value > f.most {
			return nil, fmt.Errorf("%s: %s is %d, expected a size from 1 to %d", path, f.name, f.value, f.most)
		}
	}
	if c.HiddenAct != "" && c.HiddenAct != "silu" {
		return nil, fmt.Errorf("%s: hidden_act %q is not supported; these families use \"silu\"", path, c.HiddenAct)
	}
	if !(c.RMSNormEps > 0) {
		return nil, fmt.Errorf("%s: rms_norm_eps is %g, expected a small positive number", path, c.RMSNormEps)
	}
	if err := c.checkHeads(path); err != nil {
		return nil, err
	}
	if err := c.checkOthers(path); err != nil {
		return nil, err
	}
	if err := c.checkLayers(path); err != nil {
		return nil, err
	}
	return &c, c.checkExperts(path)
}

func (c *Config) checkHeads(path string) error {
	if d := c.headDim(); d <= 0 || d%2 != 0 || d > 1<<16 {
		return fmt.Errorf("%s: head_dim is %d, expected a positive even size", path, d)
	}
	if c.HeadDim == nil && c.HiddenSize%c.NumAttentionHeads != 0 {
		return fmt.Errorf("%s: hidden_size %d is not a multiple of num_attention_heads %d and there is no head_dim", path, c.HiddenSize, c.NumAttentionHeads)
	}
	if kv := c.kvHeads(); kv <= 0 || c.NumAttentionHeads%kv != 0 {
		return fmt.Errorf("%s: num_attention_heads %d is not a multiple of num_key_value_heads %d", path, c.NumAttentionHeads, kv)
	}
	for _, f := range []*float64{c.PartialRotaryFactor, c.RopeScaling.partial(), c.RopeParameters.partial()} {
		if f != nil && *f != 1 {
			return fmt.Errorf("%s: partial_rotary_factor is %g; these families turn whole heads", path, *f)
		}
	}
	return nil
}

// checkExperts checks the sizes of a mixture of experts.
func (c *Config) checkExperts(path string) error {
	x := architectures[c.ModelType](c).Experts
	if x.Module == "" {
		return nil
	}
	if x.Count < 1 || x.Count > 1<<14 {
		return fmt.Errorf("%s: num_experts (or num_local_experts) is %d, expected 1 to %d", path, x.Count, 1<<14)
	}
	if x.PerToken < 1 || x.PerToken > x.Count {
		return fmt.Errorf("%s: num_experts_per_tok is %d, expected 1 to the %d experts there are", path, x.PerToken, x.Count)
	}
	if x.Width < 1 || x.Width > 1<<24 {
		return fmt.Errorf("%s: moe_intermediate_size is %d, expected a size from 1 to %d", path, x.Width, 1<<24)
	}
	if c.DecoderSparseStep != nil && *c.DecoderSparseStep < 1 {
		return fmt.Errorf("%s: decoder_sparse_step is %d, expected a positive number", path, *c.DecoderSparseStep)
	}
	return nil
}

func (c *Config) headDim() int {
	if c.HeadDim != nil {
		return *c.HeadDim
	}
	return c.HiddenSize / c.NumAttentionHeads
}

func (c *Config) kvHeads() int {
	if c.NumKeyValueHeads != nil {
		return *c.NumKeyValueHeads
	}
	return c.NumAttentionHeads
}

// tied reports whether the head is the embedding matrix.
func (c *Config) tied(byDefault bool) bool {
	if c.TieWordEmbeddings != nil {
		return *c.TieWordEmbeddings
	}
	return byDefault
}

// rope returns base and scaling from either spelling; a base beside the scaling comes first.
func (c *Config) rope(byDefault float64) (theta float64, scaling *RopeScaling) {
	if scaling = c.RopeScaling; scaling == nil {
		scaling = c.RopeParameters
	}
	switch {
	case scaling != nil && scaling.RopeTheta != nil:
		return *scaling.RopeTheta, scaling
	case c.RopeTheta != nil:
		return *c.RopeTheta, scaling
	case c.RopeParameters != nil && c.RopeParameters.RopeTheta != nil:
		return *c.RopeParameters.RopeTheta, scaling
	}
	return byDefault, scaling
}

func knownTypes() string {
	return strings.Join(slices.Sorted(maps.Keys(architectures)), ", ")
}
