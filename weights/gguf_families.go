package weights

import (
	"slices"
	"strings"
)

// A GGUFFamily is what llama.cpp makes of a model_type. A new family is one entry of
// ggufFamilies.
type GGUFFamily struct {
	ModelType    string // in config.json
	Architecture string // general.architecture: families may share one
	oldName      string // general.architecture in files of other programs: read, not written

	// Paired says that the rows of q and k lie in rotated pairs, as in Meta's own files.
	Paired bool
	Biases GGUFBiases // of projections
	// FixedHeads says that heads · head_dim has to be the hidden size.
	FixedHeads bool
	// RopeFactors says that llama.cpp reads the tensor rope_freqs.
	RopeFactors bool
	// NoRopeInterval n leaves every n-th layer without rotary embedding. It is fixed in
	// llama.cpp and not written to files. 0: all layers have it.
	NoRopeInterval int
	Experts        *GGUFExperts // nil: a dense model
}

// GGUFExperts is how a family names its mixtures of experts.
type GGUFExperts struct {
	Module string // of a block, with router and experts in it: "mlp"
	// OwnWidth says that experts have a width of their own, not feed_forward_length.
	OwnWidth bool
	// config is the fields of config.json for count experts of a width, used by each token.
	config func(count, used, width int) hfExperts
}

// GGUFBiases tells which biases of projections llama.cpp reads.
type GGUFBiases string

// The biases that families have.
const (
	NoBiases  GGUFBiases = "none"
	QKVBiases GGUFBiases = "q, k and v"
	AllBiases GGUFBiases = "all projections"
)

// ggufFamilies lists the families. Where several share an architecture, a file belongs to
// the first one, with experts or without.
var ggufFamilies = []GGUFFamily{
	{ModelType: "llama", Architecture: "llama", Paired: true, Biases: AllBiases, RopeFactors: true},
	{ModelType: "mistral", Architecture: "llama", oldName: "mistral", Paired: true, Biases: AllBiases, RopeFactors: true},
	{ModelType: "mixtral", Architecture: "llama", Paired: true, Biases: NoBiases, RopeFactors: true,
		Experts: &GGUFExperts{Module: "block_sparse_moe", config: mixtralExperts}},
	{ModelType: "qwen2", Architecture: "qwen2", Biases: QKVBiases, FixedHeads: true},
	{ModelType: "qwen3", Architecture: "qwen3", Biases: NoBiases},
	{ModelType: "qwen3_moe", Architecture: "qwen3moe", Biases: NoBiases,
		Experts: &GGUFExperts{Module: "mlp", OwnWidth: true, config: qwen3Experts}},
	{ModelType: "smollm3", Architecture: "smollm3", Paired: true, Biases: NoBiases, NoRopeInterval: 4},
}

func mixtralExperts(count, used, _ int) hfExperts {
	return hfExperts{NumLocalExperts: count, NumExpertsPerTok: used}
}

func qwen3Experts(count, used, width int) hfExperts {
	return hfExperts{NumExperts: count, NumExpertsPerTok: used, MoEIntermediateSize: width, DecoderSparseStep: 1, MLPOnlyLayers: []int{}, NormTopKProb: true}
}

// GGUFFamilyOf is the family of a model_type. ok is false if llama.cpp runs no such models.
func GGUFFamilyOf(modelType string) (f GGUFFamily, ok bool) {
	i := slices.IndexFunc(ggufFamilies, func(f GGUFFamily) bool { return f.ModelType == modelType })
	if i < 0 {
		return f, false
	}
	return ggufFamilies[i], true
}

// GGUFFamilies lists the families that a file of an architecture may be of.
func GGUFFamilies(architecture string) (list []GGUFFamily) {
	for _, f := range ggufFamilies {
		if architecture != "" && (f.Architecture == architecture || f.oldName == architecture) {
			list = append(list, f)
		}
	}
	return list
}

// ggufArchitectures lists the architectures of all families, or of those with experts.
func ggufArchitectures(withExperts bool) (names []string) {
	for _, f := range ggufFamilies {
		for _, name := range []string{f.Architecture, f.oldName} {
			if name != "" && (!withExperts || f.Experts != nil) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// PairedHeads is the number of heads of a tensor or module with rows in rotated pairs, 0
// for all others.
func (f GGUFFamily) PairedHeads(name string, heads, kvHeads int) int {
	name += "."
	switch {
	case !f.Paired:
	case strings.Contains(name, ".q_proj."):
		return heads
	case strings.Contains(name, ".k_proj."):
		return kvHeads
	}
	return 0
}

// HasRope tells whether layer i has rotary embedding in llama.cpp.
func (f GGUFFamily) HasRope(i int) bool {
	return f.NoRopeInterval == 0 || (i+1)%f.NoRopeInterval != 0
}

// Has tells whether the bias of a module is among them.
func (b GGUFBiases) Has(module string) bool {
	switch b {
	case AllBiases:
		return true
	case QKVBiases:
		return strings.HasSuffix(module, ".q_proj") || strings.HasSuffix(module, ".k_proj") || strings.HasSuffix(module, ".v_proj")
	}
	return false
}
