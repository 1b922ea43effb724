package weights

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/quant"
)

// ggufConfig collects what config.json needs from a file's metadata.
type ggufConfig struct {
	architecture string
	family       GGUFFamily
	metadata     map[string]any
	layers       int
	hidden       int
	heads        int
	kvHeads      int
	headDim      int
	experts      int       // 0: dense
	expertsUsed  int       // by each token
	factors      []float32 // rope_freqs
}

func newGGUFConfig(metadata map[string]any) (*ggufConfig, error) {
	c := &ggufConfig{metadata: metadata}
	c.architecture, _ = metadata["general.architecture"].(string)
	if len(GGUFFamilies(c.architecture)) == 0 {
		return nil, fmt.Errorf("architecture %q is not supported; known are %s", c.architecture, strings.Join(ggufArchitectures(false), ", "))
	}
	if n, _ := number(metadata["split.count"]); n > 1 {
		return nil, fmt.Errorf("this is one of %v parts of a split model; join them with: llama-gguf-split --merge", n)
	}
	if err := c.setFamily(); err != nil {
		return nil, err
	}
	for _, want := range []struct {
		key      string
		to       *int
		fallback int // 0: required
	}{
		{"block_count", &c.layers, 0},
		{"embedding_length", &c.hidden, 0},
		{"attention.head_count", &c.heads, 0},
	} {
		n, err := c.whole(want.key, want.fallback)
		if err != nil {
			return nil, err
		}
		*want.to = n
	}
	var err error
	if c.kvHeads, err = c.whole("attention.head_count_kv", c.heads); err != nil {
		return nil, err
	}
	if c.headDim, err = c.whole("attention.key_length", c.hidden/c.heads); err != nil {
		return nil, err
	}
	rotated, err := c.whole("rope.dimension_count", c.headDim)
	if err != nil {
		return nil, err
	}
	if rotated != c.headDim {
		return nil, fmt.Errorf("rotary embedding of %d out of %d dimensions is not supported yet", rotated, c.headDim)
	}
	return c, nil
}

// key returns the full key of an architecture's own metadata.
func (c *ggufConfig) key(name string) string { return c.architecture + "." + name }

// whole returns a positive whole number. Some files have a list with a number for each
// layer instead: its numbers must all be the same.
func (c *ggufConfig) whole(name string, fallback int) (int, error) {
	v, ok := c.metadata[c.key(name)]
	if !ok {
		if fallback <= 0 {
			return 0, fmt.Errorf("metadata has no %q", c.key(name))
		}
		return fallback, nil
	}
	switch list := v.(type) {
	case []uint32:
		v = same(list)
	case []int32:
		v = same(list)
	}
	const most = 1 << 30 // far beyond any model, and safe to multiply
	f, ok := number(v)
	if !ok || f < 1 || f > most || f != math.Trunc(f) {
		return 0, fmt.Errorf("metadata %q is %v, expected a positive whole number", c.key(name), v)
	}
	return int(f), nil
}

// same returns the one value of a list, or the list if there are several.
func same[T comparable](list []T) any {
	if len(list) == 0 || slices.ContainsFunc(list, func(v T) bool { return v != list[0] }) {
		return list
	}
	return list[0]
}

// number returns a metadata value of any numeric type.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case uint8:
		return float64(v), true
	case int8:
		return float64(v), true
	case uint16:
		return float64(v), true
	case int16:
		return float64(v), true
	case uint32:
		return float64(v), true
	case int32:
		return float64(v), true
	case uint64:
		return float64(v), true
	case int64:
		return float64(v), true
	case float32:
		return shortest(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// shortest returns the float64 with the fewest digits that rounds to f: 1e-5, not
// 9.999999747378752e-06.
func shortest(f float32) float64 {
	text, err := json.Marshal(f)
	if err != nil { // infinity or NaN
		return float64(f)
	}
	var d float64
	json.Unmarshal(text, &d)
	return d
}

// setFactors takes the divisors of the rotary frequencies.
func (c *ggufConfig) setFactors(t ggufTensor) error {
	if ggufTypes[t.kind].dtype != quant.F32 || len(t.shape) != 1 || t.shape[0] != c.headDim/2 {
		return fmt.Errorf("tensor %q has shape %v, expected F32 [%d]", t.name, t.shape, c.headDim/2)
	}
	c.factors = make([]float32, t.shape[0])
	quant.Floats(c.factors, t.data, quant.F32)
	for i, f := range c.factors {
		if !(f > 0 && f <= math.MaxFloat32) {
			return fmt.Errorf("tensor %q: factor %d is %v, expected a positive number", t.name, i, f)
		}
	}
	return nil
}

// hfConfig is the config.json of a GGUF file.
type hfConfig struct {
	ModelType             string         `json:"model_type"`
	HiddenSize            int            `json:"hidden_size"`
	NumHiddenLayers       int            `json:"num_hidden_layers"`
	IntermediateSize      int            `json:"intermediate_size"`
	NumAttentionHeads     int            `json:"num_attention_heads"`
	NumKeyValueHeads      int            `json:"num_key_value_heads"`
	HeadDim               int            `json:"head_dim"`
	RMSNormEps            float64        `json:"rms_norm_eps"`
	VocabSize             int            `json:"vocab_size"`
	MaxPositionEmbeddings int            `json:"max_position_embeddings,omitempty"`
	RopeTheta             float64        `json:"rope_theta"`
	RopeScaling           map[string]any `json:"rope_scaling,omitempty"`
	TieWordEmbeddings     bool           `json:"tie_word_embeddings"`
	AttentionBias         bool           `json:"attention_bias"`
	MLPBias               bool           `json:"mlp_bias,omitempty"`
	NoRopeLayers          []int          `json:"no_rope_layers,omitempty"`
	BOSTokenID            *int           `json:"bos_token_id,omitempty"`
	EOSTokenID            any            `json:"eos_token_id,omitempty"`
	hfExperts
}

// json makes config.json from the metadata and the list of tensors.
func (c *ggufConfig) json(tensors map[string]*ggufEntry) ([]byte, error) {
	embedding, ok := tensors["model.embed_tokens.weight"]
	if !ok || len(embedding.shape) != 2 {
		return nil, fmt.Errorf("no tensor \"token_embd.weight\" of 2 dimensions: not a language model")
	}
	_, head := tensors["lm_head.weight"]
	_, bias := tensors["model.layers.0.self_attn.q_proj.bias"]
	_, mlpBias := tensors["model.layers.0.mlp.gate_proj.bias"]
	out := hfConfig{
		ModelType:         c.family.ModelType,
		HiddenSize:        c.hidden,
		NumHiddenLayers:   c.layers,
		NumAttentionHeads: c.heads,
		NumKeyValueHeads:  c.kvHeads,
		HeadDim:           c.headDim,
		VocabSize:         embedding.shape[0],
		TieWordEmbeddings: !head,
		AttentionBias:     bias,
		MLPBias:           mlpBias,
		EOSTokenID:        c.eos(),
	}
	var err error
	if out.IntermediateSize, err = c.whole("feed_forward_length", 0); err != nil {
		return nil, err
	}
	if out.hfExperts, err = c.hfExperts(out.IntermediateSize); err != nil {
		return nil, err
	}
	if out.RMSNormEps, err = c.positive("attention.layer_norm_rms_epsilon", 0); err != nil {
		return nil, err
	}
	if out.RopeTheta, err = c.positive("rope.freq_base", 10000); err != nil {
		return nil, err
	}
	if out.RopeScaling, err = c.ropeScaling(); err != nil {
		return nil, err
	}
	if _, ok := c.metadata[c.key("context_length")]; ok {
		if out.MaxPositionEmbeddings, err = c.whole("context_length", 0); err != nil {
			return nil, err
		}
	}
	if id, ok := c.token("bos"); ok {
		out.BOSTokenID = &id
	}
	if c.family.NoRopeInterval > 0 {
		if c.layers > math.MaxUint16 {
			return nil, fmt.Errorf("metadata %q is %d", c.key("block_count"), c.layers)
		}
		for i := range c.layers {
			rotary := 1
			if !c.family.HasRope(i) {
				rotary = 0
			}
			out.NoRopeLayers = append(out.NoRopeLayers, rotary)
		}
	}
	return json.MarshalIndent(out, "", "  ")
}

// positive returns a positive number; a fallback of 0 makes it required.
func (c *ggufConfig) positive(name string, fallback float64) (float64, error) {
	v, ok := c.metadata[c.key(name)]
	if !ok {
		if fallback == 0 {
			return 0, fmt.Errorf("metadata has no %q", c.key(name))
		}
		return fallback, nil
	}
	f, ok := number(v)
	if !ok || !(f > 0 && f <= math.MaxFloat64) {
		return 0, fmt.Errorf("metadata %q is %v, expected a positive number", c.key(name), v)
	}
	return f, nil
}

// ropeScaling returns the scaling of rotary positions as llama.cpp reads it, nil for none.
func (c *ggufConfig) ropeScaling() (map[string]any, error) {
	kind, _ := c.metadata[c.key("rope.scaling.type")].(string)
	if c.factors != nil && kind != "" && kind != "none" {
		return nil, fmt.Errorf("both tensor \"rope_freqs.weight\" and rope scaling %q: expected one of them", kind)
	}
	if !slices.Contains([]string{"", "none", "linear", "yarn"}, kind) {
		return nil, fmt.Errorf("rope scaling %q is not supported; known are none, linear, yarn", kind)
	}
	factor, err := c.ropeFactor(kind)
	if err != nil {
		return nil, err
	}
	attention, err := c.positive("rope.scaling.attn_factor", 1)
	if err != nil {
		return nil, err
	}
	if kind == "yarn" {
		return c.yarn(factor, attention)
	}
	factors := c.factors
	if factors == nil && attention == 1 {
		if factor == 1 {
			return nil, nil
		}
		return map[string]any{"rope_type": "linear", "factor": factor}, nil
	}
	if factors == nil {
		factors = slices.Repeat([]float32{1}, c.headDim/2)
	}
	out := map[string]any{"rope_type": "gguf_factors", "factors": slices.Clone(factors)}
	if factor != 1 {
		for i := range factors {
			out["factors"].([]float32)[i] *= float32(factor)
		}
	}
	if attention != 1 {
		out["attention_factor"] = attention
	}
	return out, nil
}

// ropeFactor is the factor of linear scaling and YaRN, 1 for none. A file that names no kind
// of scaling has the linear one.
func (c *ggufConfig) ropeFactor(kind string) (float64, error) {
	if kind == "none" {
		return 1, nil
	}
	name := "rope.scaling.factor"
	if _, ok := c.metadata[c.key(name)]; !ok && kind == "" {
		name = "rope.scale_linear" // in files of old converters
	}
	v, ok := c.metadata[c.key(name)]
	if f, isNumber := number(v); kind == "" && (!ok || isNumber && f == 0) {
		return 1, nil
	}
	return c.positive(name, 0)
}

// yarn is YaRN with the settings that llama.cpp reads in these architectures: it passes over
// yarn_beta_fast, yarn_beta_slow, yarn_ext_factor and yarn_attn_factor.
func (c *ggufConfig) yarn(factor, attention float64) (map[string]any, error) {
	scaling := map[string]any{"rope_type": "yarn", "factor": factor}
	for _, name := range []string{"rope.scaling.original_context_length", "context_length"} { // the second is llama.cpp's default for the first
		if _, ok := c.metadata[c.key(name)]; !ok {
			continue
		}
		original, err := c.positive(name, 0)
		if err != nil {
			return nil, err
		}
		scaling["original_max_position_embeddings"] = original
		break
	}
	if attention != 1 {
		// There it multiplies YaRN's own factor, in config.json it replaces it.
		scaling["attention_factor"] = attention * (1 + 0.1*math.Log(max(factor, 1)))
	}
	return scaling, nil
}

// token returns the id of a special token such as "bos".
func (c *ggufConfig) token(name string) (int, bool) {
	f, ok := number(c.metadata["tokenizer.ggml."+name+"_token_id"])
	if !ok || f < 0 || f > math.MaxInt32 || f != math.Trunc(f) {
		return 0, false
	}
	return int(f), true
}

// eos returns the tokens that end an answer, as in llama.cpp: a number, or a list
// when there are several.
func (c *ggufConfig) eos() any {
	var ids []int
	for _, name := range []string{"eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep"} {
		if id, ok := c.token(name); ok {
			ids = append(ids, id)
		}
	}
	pieces, _ := c.metadata["tokenizer.ggml.tokens"].([]string)
	var once []int
	for _, id := range append(ids, GGUFEnds(pieces)...) {
		if !slices.Contains(once, id) {
			once = append(once, id)
		}
	}
	switch len(once) {
	case 0:
		return nil
	case 1:
		return once[0]
	}
	return once
}
