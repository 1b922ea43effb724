package export

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// ropeFactorsKey marks, until the tensors are listed, that the file needs the
// tensor rope_freqs.
const ropeFactorsKey = "lentil.rope_factors"

// settings returns the metadata without the tokenizer's, or what llama.cpp
// would run otherwise than it was trained.
func (g *ggufExport) settings() (map[string]any, error) {
	c, f := g.config, g.arch
	a, ok := weights.GGUFFamilyOf(c.ModelType)
	if !ok {
		return nil, fmt.Errorf("model_type %q cannot be written as GGUF yet", c.ModelType)
	}
	g.family = a
	if c.RopeTraditional && !a.Paired {
		return nil, fmt.Errorf("rope_traditional has no counterpart in llama.cpp's %s", a.Architecture)
	}
	if q := c.NumAttentionHeads * f.HeadDim; a.FixedHeads && q != c.HiddenSize {
		return nil, fmt.Errorf("%d heads of head_dim %d for hidden_size %d have no counterpart in llama.cpp's %s, where the two are as wide", c.NumAttentionHeads, f.HeadDim, c.HiddenSize, a.Architecture)
	}
	context, err := g.context(a)
	if err != nil {
		return nil, err
	}
	if err := g.checkBiases(a); err != nil {
		return nil, err
	}
	for i := range c.NumHiddenLayers {
		if has := !slices.Contains(f.NoRope, i); has != a.HasRope(i) {
			return nil, fmt.Errorf("no_rope_layers: layer %d has rotary embedding: %v, but in llama.cpp's %s: %v", i, has, a.Architecture, !has)
		}
	}
	m := map[string]any{
		"general.architecture":         a.Architecture,
		"general.type":                 "model",
		"general.name":                 g.options.Name,
		"general.file_type":            g.options.Type.fileType,
		"general.quantization_version": uint32(2),
	}
	for key, n := range map[string]int{
		"context_length": context, "embedding_length": c.HiddenSize, "block_count": c.NumHiddenLayers,
		"feed_forward_length": c.IntermediateSize, "attention.head_count": c.NumAttentionHeads, "attention.head_count_kv": f.KVHeads,
		"attention.key_length": f.HeadDim, "attention.value_length": f.HeadDim, "rope.dimension_count": f.HeadDim, "vocab_size": c.VocabSize,
	} {
		m[a.Architecture+"."+key] = uint32(n)
	}
	m[a.Architecture+".attention.layer_norm_rms_epsilon"] = float32(c.RMSNormEps)
	m[a.Architecture+".rope.freq_base"] = float32(f.Theta)
	if err := g.expertSettings(m, a); err != nil {
		return nil, err
	}
	return m, g.ropeSettings(m, a)
}

// leastContext is the shortest context that a file is worth writing for.
const leastContext = 512

// context is the context length of the file. llama.cpp has no attention windows in these
// families, so a file is right as far as the shortest window reaches, and that is what it gets.
func (g *ggufExport) context(a weights.GGUFFamily) (int, error) {
	context := g.config.MaxPositionEmbeddings
	if context <= 0 {
		context = 2048
	}
	reach := context
	for _, w := range g.arch.Windows {
		if w > 0 {
			reach = min(reach, w)
		}
	}
	switch {
	case reach == context:
		return context, nil
	case reach < leastContext:
		return 0, fmt.Errorf("layers with sliding-window attention over %d tokens have no counterpart in llama.cpp's %s, which would be right for no longer texts", reach, a.Architecture)
	}
	g.report.Window = reach
	return reach, nil
}

// expertSettings adds the sizes of a mixture of experts. llama.cpp has experts in every
// layer, and scales their outputs so that the weights add up to 1.
func (g *ggufExport) expertSettings(m map[string]any, a weights.GGUFFamily) error {
	x := g.arch.Experts
	switch {
	case x.Count == 0:
		return nil
	case len(x.Dense) > 0:
		return fmt.Errorf("layers %v have no experts (decoder_sparse_step, mlp_only_layers), but llama.cpp's %s has them in every layer; Lentil itself runs the model as it is", x.Dense, a.Architecture)
	case !x.Normalize:
		return fmt.Errorf("norm_topk_prob is false, but llama.cpp's %s makes the weights of a token's experts add up to 1; Lentil itself runs the model as it is", a.Architecture)
	}
	m[a.Architecture+".expert_count"], m[a.Architecture+".expert_used_count"] = uint32(x.Count), uint32(x.PerToken)
	if a.Experts != nil && a.Experts.OwnWidth {
		m[a.Architecture+".expert_feed_forward_length"] = uint32(x.Width)
	}
	return nil
}

// checkBiases refuses biases that llama.cpp would not read.
func (g *ggufExport) checkBiases(a weights.GGUFFamily) error {
	for _, name := range g.src.Names() {
		module, ok := strings.CutSuffix(name, ".bias")
		if ok && !a.Biases.Has(module) {
			return fmt.Errorf("tensor %q has no counterpart in llama.cpp's %s (biases there: %s)", name, a.Architecture, a.Biases)
		}
	}
	return nil
}

// ropeSettings adds the scaling of rotary positions: as a factor, as YaRN or, in families
// that have it, as a table of factors.
func (g *ggufExport) ropeSettings(m map[string]any, a weights.GGUFFamily) error {
	s, factors := g.arch.Scaling, g.arch.RopeFactors
	key := func(name string) string { return a.Architecture + ".rope.scaling." + name }
	factor, original := g.config.Stretch(s)
	attention := float64(g.arch.RopeScale)
	switch kind := s.Kind(); {
	case kind == "linear":
		m[key("type")], m[key("factor")] = "linear", float32(factor)
	case !slices.ContainsFunc(factors, func(f float32) bool { return f != 1 }): // none
	case kind == "yarn" && g.yarnOfLlamaCpp(factor, original):
		m[key("type")], m[key("factor")], m[key("original_context_length")] = "yarn", float32(factor), uint32(original)
		attention /= 1 + 0.1*math.Log(max(factor, 1)) // llama.cpp multiplies with this one itself
	case a.RopeFactors:
		m[ropeFactorsKey] = true
	case kind == "yarn":
		return fmt.Errorf("rope_scaling \"yarn\" with these settings has no counterpart in llama.cpp's %s: it knows beta_fast 32 and beta_slow 1, truncated, and whole original_max_position_embeddings", a.Architecture)
	default:
		return fmt.Errorf("rope_scaling %q has no counterpart in llama.cpp's %s", kind, a.Architecture)
	}
	if math.Abs(attention-1) > 1e-6 {
		m[key("attn_factor")] = float32(attention)
	}
	return nil
}

// yarnOfLlamaCpp tells whether YaRN is what llama.cpp makes of the two settings that it reads.
func (g *ggufExport) yarnOfLlamaCpp(factor, original float64) bool {
	if original != math.Trunc(original) || original < 1 || original > math.MaxUint32 {
		return false
	}
	c := *g.config
	c.RopeTheta, c.RopeScaling = &g.arch.Theta, &model.RopeScaling{Type: "yarn", Factor: &factor, OriginalMaxPosition: &original}
	theirs, err := c.Architecture()
	return err == nil && sameFactors(theirs.RopeFactors, g.arch.RopeFactors)
}

// ggufEndKeys are the places for tokens that end an answer.
var ggufEndKeys = []string{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}

// endTokens names the tokens that end an answer: the tokenizer's own comes first,
// then those that llama.cpp does not know by their texts, which need a place.
func (g *ggufExport) endTokens(tok *tokenizer.Tokenizer) {
	pieces, _ := g.metadata["tokenizer.ggml.tokens"].([]string)
	ends := slices.DeleteFunc(model.EndTokens(g.src.Config(), g.src.Path(), tok), func(id int32) bool { return int(id) >= len(pieces) })
	known := weights.GGUFEnds(pieces)
	own, hasOwn := tok.EOS()
	rank := func(id int32) int {
		switch {
		case hasOwn && id == own:
			return 0
		case !slices.Contains(known, int(id)):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(ends, func(a, b int32) int { return cmp.Compare(rank(a), rank(b)) })
	for i, id := range ends {
		switch {
		case i < len(ggufEndKeys):
			g.metadata[ggufEndKeys[i]] = uint32(id)
		case rank(id) < 2:
			g.report.LostEnds = append(g.report.LostEnds, pieces[id])
		}
	}
}
