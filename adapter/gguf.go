package adapter

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// ggufTypes lists the model types that are an architecture of llama.cpp together, where
// its name is not the only one.
var ggufTypes = map[string][]string{"llama": {"llama", "mistral", "mixtral"}, "qwen3moe": {"qwen3_moe"}}

// pairedArchitectures have rows of queries and keys in rotated pairs in llama.cpp's files.
var pairedArchitectures = map[string]bool{"llama": true, "smollm3": true}

// isGGUF tells a file of llama.cpp from an adapter folder.
func isGGUF(path string) bool { return strings.EqualFold(filepath.Ext(path), ".gguf") }

// readGGUF reads an adapter in llama.cpp's layout: NAME.lora_a is Aᵀ, [Rank, In],
// and NAME.lora_b is Bᵀ, [Out, Rank], with llama.cpp's name of the base's tensor. Those
// of a stack have the experts as a dimension before that.
func readGGUF(path string) (*Adapter, error) {
	file, err := weights.OpenGGUFFile(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m := file.Metadata
	if m["general.type"] != "adapter" || m["adapter.type"] != "lora" {
		return nil, fmt.Errorf("%s: general.type is %v and adapter.type %v, expected adapter and lora: it is no LoRA adapter", path, m["general.type"], m["adapter.type"])
	}
	f := &Adapter{Layout: "llama.cpp"}
	f.architecture, _ = m["general.architecture"].(string)
	alpha, ok := m["adapter.lora.alpha"].(float32)
	if !ok || alpha-alpha != 0 {
		return nil, fmt.Errorf("%s: adapter.lora.alpha is %v, expected a finite float32", path, m["adapter.lora.alpha"])
	}
	pairs := pairsOf{path: path, transposed: true, at: map[string]*Update{}}
	for _, x := range file.Tensors {
		name, isA := strings.CutSuffix(x.Name, ".lora_a")
		if !isA {
			var isB bool
			if name, isB = strings.CutSuffix(x.Name, ".lora_b"); !isB {
				return nil, fmt.Errorf("%s: tensor %q is no part of a LoRA", path, x.Name)
			}
		}
		hf, err := weights.HFName(f.architecture, name)
		module, ok := strings.CutSuffix(hf, ".weight")
		if err != nil || !ok || module == "model.embed_tokens" {
			return nil, fmt.Errorf("%s: tensor %q changes no projection of a known architecture", path, x.Name)
		}
		dims, elements := 2, 1
		if strings.Contains(module, ".switch_mlp.") {
			dims = 3
		}
		if len(x.Shape) != dims {
			return nil, fmt.Errorf("%s: tensor %q has shape %v, expected %d dimensions", path, x.Name, x.Shape, dims)
		}
		for _, n := range x.Shape {
			elements *= n
		}
		values := make([]float32, elements)
		if x.Type.DType != 0 {
			quant.Floats(values, x.Data, x.Type.DType)
		} else {
			x.Type.Block.Decode(values, x.Data)
		}
		if err := pairs.add(module, isA, x.Name, x.Shape, values); err != nil {
			return nil, err
		}
	}
	return f, f.take(pairs, func(_ string, rank int) float32 {
		if alpha == 0 { // as llama.cpp does
			return 1
		}
		return alpha / float32(rank)
	})
}

// needsModel tells that rows of query and key are in llama.cpp's order.
func (f *Adapter) needsModel() bool { return pairedArchitectures[f.architecture] }

// FitTo takes from the model's config what an adapter's file does not tell. What was
// read from a GGUF file gets the order of rows that everything else has, which depends
// on the number of heads; what was read expert by expert gets all experts.
func (f *Adapter) FitTo(c *model.Config) error {
	if err := f.addExperts(c); err != nil {
		return err
	}
	if f.architecture == "" {
		return nil
	}
	types := ggufTypes[f.architecture]
	if types == nil {
		types = []string{f.architecture}
	}
	if !slices.Contains(types, c.ModelType) {
		return fmt.Errorf("the adapter is for llama.cpp's architecture %q, the model's type is %q", f.architecture, c.ModelType)
	}
	facts, err := c.Facts()
	if err != nil {
		return err
	}
	for i := range f.Updates {
		u := &f.Updates[i]
		heads := 0
		switch {
		case !f.needsModel() || c.RopeTraditional:
		case strings.HasSuffix(u.Module, ".q_proj"):
			heads = c.NumAttentionHeads
		case strings.HasSuffix(u.Module, ".k_proj"):
			heads = facts.KVHeads
		}
		if heads == 0 {
			continue
		}
		if u.Out%(2*heads) != 0 {
			return fmt.Errorf("%s has %d outputs in the adapter, expected a multiple of twice the model's %d heads", u.Module, u.Out, heads)
		}
		_, b := u.Transposed() // [Out, Rank]
		data := make([]byte, 4*len(b))
		quant.PutFloats(data, b, quant.F32)
		quant.Floats(b, weights.SplitPairs(data, u.Out, heads), quant.F32)
		u.B = transposeEach(b, u.Out, u.Rank)
	}
	f.architecture = ""
	return nil
}
