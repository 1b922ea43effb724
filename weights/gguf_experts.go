package weights

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// hfExpertModules are the modules inside of a family's module of experts: the router,
// and stacks of one matrix for each expert.
var hfExpertModules = map[string]string{
	"ffn_gate_inp":  "gate",
	"ffn_gate_exps": "switch_mlp.gate_proj",
	"ffn_up_exps":   "switch_mlp.up_proj",
	"ffn_down_exps": "switch_mlp.down_proj",
}

// otherExperts are tensors of mixtures that no known family has, by what their
// names contain.
var otherExperts = []struct {
	name   *regexp.Regexp
	reason string
}{
	{regexp.MustCompile(`\.ffn_(gate|up|down)\.\d+\.`), "one tensor for each expert is the layout of old files; convert the model again with a newer llama.cpp"},
	{regexp.MustCompile(`_shexp\b`), "experts that all tokens share are not supported"},
	{regexp.MustCompile(`ffn_gate_up_exps`), "gate and up projections in one tensor are not supported"},
	{regexp.MustCompile(`exp_probs_b`), "a router with biases is not supported"},
	{regexp.MustCompile(`_(ch)?exps\.|ffn_gate_inp`), "this layout of experts is not supported"},
}

// checkOtherExperts says why a tensor of a mixture of experts that has no place here is
// not read.
func checkOtherExperts(name string) error {
	for _, o := range otherExperts {
		if o.name.MatchString(name) {
			return fmt.Errorf("tensor %q: %s", name, o.reason)
		}
	}
	return nil
}

// setFamily chooses a family of the architecture: one with experts if the file has any.
func (c *ggufConfig) setFamily() error {
	families := GGUFFamilies(c.architecture)
	with := func(experts bool) int {
		return slices.IndexFunc(families, func(f GGUFFamily) bool { return experts == (f.Experts != nil) })
	}
	dense, mixture := with(false), with(true)
	n, given := number(c.metadata[c.key("expert_count")])
	switch {
	case dense >= 0 && (!given || n == 0):
		c.family = families[dense]
		return nil
	case mixture < 0:
		return fmt.Errorf("%v experts in architecture %q: mixtures of experts are known in %s", n, c.architecture, strings.Join(ggufArchitectures(true), ", "))
	}
	c.family = families[mixture]
	return c.setExperts()
}

// setExperts takes the sizes of a mixture of experts.
func (c *ggufConfig) setExperts() (err error) {
	if c.experts, err = c.whole("expert_count", 0); err != nil {
		return err
	}
	if c.expertsUsed, err = c.whole("expert_used_count", 0); err != nil {
		return err
	}
	if c.expertsUsed > c.experts {
		return fmt.Errorf("metadata %q is %d, more than the %d experts", c.key("expert_used_count"), c.expertsUsed, c.experts)
	}
	return c.checkRouting()
}

// checkRouting refuses what llama.cpp's other architectures do with experts.
func (c *ggufConfig) checkRouting() error {
	for _, key := range []struct {
		name string
		fine []float64 // values that ask for nothing
	}{
		{"expert_weights_scale", []float64{0, 1}},
		{"expert_gating_func", []float64{0, 1}}, // 1: softmax
		{"expert_shared_count", []float64{0}},
		{"expert_shared_feed_forward_length", []float64{0}},
		{"expert_group_count", []float64{0, 1}},
		{"expert_group_used_count", []float64{0, 1}},
		{"leading_dense_block_count", []float64{0}},
		{"moe_every_n_layers", []float64{0, 1}},
		{"interleave_moe_layer_step", []float64{0, 1}},
	} {
		v, there := c.metadata[c.key(key.name)]
		if n, ok := number(v); there && !(ok && slices.Contains(key.fine, n)) {
			return fmt.Errorf("metadata %q is %v: experts of this kind are not supported", c.key(key.name), v)
		}
	}
	if norm, there := c.metadata[c.key("expert_weights_norm")]; there && norm != true {
		return fmt.Errorf("metadata %q is %v: weights of experts that do not add up to 1 are not supported", c.key("expert_weights_norm"), norm)
	}
	return nil
}

var expertTensor = regexp.MustCompile(`^blk\.\d+\.ffn_(gate_inp|gate|up|down)(_exps)?\.(weight|bias)$`)

// expertsOf returns the number of matrices that are stacked in a tensor, or 0 if it is no
// stack. Shapes of router and stacks have to agree with the metadata.
func (c *ggufConfig) expertsOf(t ggufTensor) (int, error) {
	m := expertTensor.FindStringSubmatch(t.name)
	if m == nil {
		return 0, nil
	}
	router, stack := m[1] == "gate_inp", m[2] != ""
	switch {
	case c.experts == 0 && (router || stack):
		return 0, fmt.Errorf("tensor %q belongs to a mixture of experts, but metadata %q is missing or 0", t.name, c.key("expert_count"))
	case c.experts == 0:
		return 0, nil
	case !router && !stack:
		return 0, fmt.Errorf("tensor %q: layers without experts beside ones with %d are not supported", t.name, c.experts)
	case m[3] == "bias":
		return 0, fmt.Errorf("tensor %q: experts with biases are not supported", t.name)
	case stack && (len(t.shape) != 3 || t.shape[0] != c.experts):
		return 0, fmt.Errorf("tensor %q has shape %v, expected 3 dimensions, the first of %d experts", t.name, t.shape, c.experts)
	case router && (len(t.shape) != 2 || t.shape[0] != c.experts || t.shape[1] != c.hidden):
		return 0, fmt.Errorf("tensor %q has shape %v, expected [%d, %d]", t.name, t.shape, c.experts, c.hidden)
	case stack:
		return c.experts, nil
	}
	return 0, nil
}

// hfExperts are the fields that a mixture of experts has in config.json, each family
// under its own names.
type hfExperts struct {
	NumLocalExperts     int  `json:"num_local_experts,omitempty"`
	NumExperts          int  `json:"num_experts,omitempty"`
	NumExpertsPerTok    int  `json:"num_experts_per_tok,omitempty"`
	MoEIntermediateSize int  `json:"moe_intermediate_size,omitempty"`
	DecoderSparseStep   int  `json:"decoder_sparse_step,omitempty"`
	MLPOnlyLayers       any  `json:"mlp_only_layers,omitempty"`
	NormTopKProb        bool `json:"norm_topk_prob,omitempty"`
}

// hfExperts returns the fields of the file's family; inner is intermediate_size.
func (c *ggufConfig) hfExperts(inner int) (out hfExperts, err error) {
	x, width := c.family.Experts, inner
	if x == nil {
		return out, nil
	}
	if x.OwnWidth { // without the key, llama.cpp divides the width among the experts of a token
		if width, err = c.whole("expert_feed_forward_length", max(inner/c.expertsUsed, 1)); err != nil {
			return out, err
		}
	}
	return x.config(c.experts, c.expertsUsed, width), nil
}
