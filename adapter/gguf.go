package adapter

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/weights"
)

// llama.cpp's layout: NAME.lora_a is Aᵀ [rank, in] and NAME.lora_b is Bᵀ [out, rank], with
// llama.cpp's name of the base's tensor. Stacks have the experts as a dimension before that.

// isGGUF tells a file of llama.cpp from an adapter folder.
func isGGUF(path string) bool { return strings.EqualFold(filepath.Ext(path), ".gguf") }

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
	a := &Adapter{Layout: "llama.cpp"}
	a.architecture, _ = m["general.architecture"].(string)
	alpha, ok := m["adapter.lora.alpha"].(float32)
	if !ok || alpha-alpha != 0 {
		return nil, fmt.Errorf("%s: adapter.lora.alpha is %v, expected a finite float32", path, m["adapter.lora.alpha"])
	}
	p := newPairs(path, false)
	for _, x := range file.Tensors {
		module, is, err := a.moduleOf(x)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if err := p.add(module, is, x.Name, x.Shape, x.Floats(), true); err != nil {
			return nil, err
		}
	}
	return a, p.into(a, func(_ string, rank int) float32 {
		if alpha == 0 { // as llama.cpp does
			return 1
		}
		return alpha / float32(rank)
	})
}

// moduleOf is the module that a tensor of llama.cpp's changes, and which part of its
// update the tensor is.
func (a *Adapter) moduleOf(x weights.GGUFTensor) (module string, is part, err error) {
	name, is := split(x.Name, ".lora_a", ".lora_b")
	if is == noPart {
		return "", is, fmt.Errorf("tensor %q is no part of a LoRA", x.Name)
	}
	hf, err := weights.HFName(a.architecture, name)
	module, ok := strings.CutSuffix(hf, ".weight")
	if err != nil || !ok || module == "model.embed_tokens" {
		return "", is, fmt.Errorf("tensor %q changes no projection of a known architecture", x.Name)
	}
	dims := 2
	if strings.Contains(module, ".switch_mlp.") {
		dims = 3
	}
	if len(x.Shape) != dims {
		return "", is, fmt.Errorf("tensor %q has shape %v, expected %d dimensions", x.Name, x.Shape, dims)
	}
	return module, is, nil
}

// paired tells that rows of queries and keys may lie in llama.cpp's order.
func (a *Adapter) paired() bool {
	return slices.ContainsFunc(weights.GGUFFamilies(a.architecture), func(f weights.GGUFFamily) bool { return f.Paired })
}

// splitPairs brings the rows of queries and keys from llama.cpp's order into the usual one.
func (a *Adapter) splitPairs(c *model.Config) error {
	if a.architecture == "" {
		return nil
	}
	families := weights.GGUFFamilies(a.architecture)
	at := slices.IndexFunc(families, func(f weights.GGUFFamily) bool { return f.ModelType == c.ModelType })
	if at < 0 {
		return fmt.Errorf("the adapter is for llama.cpp's architecture %q, the model's type is %q", a.architecture, c.ModelType)
	}
	arch, err := c.Architecture()
	if err != nil {
		return err
	}
	for i := range a.Updates {
		u := &a.Updates[i]
		heads := families[at].PairedHeads(u.Module, c.NumAttentionHeads, arch.KVHeads)
		if heads == 0 || c.RopeTraditional {
			continue
		}
		if u.Out%(2*heads) != 0 {
			return fmt.Errorf("%s has %d outputs in the adapter, expected a multiple of twice the model's %d heads", u.Module, u.Out, heads)
		}
		_, up := u.transposed() // [Out, Rank]
		u.B = transposeEach(weights.SplitPairs(up, u.Out, heads), u.Out, u.Rank)
	}
	a.architecture = ""
	return nil
}

// WriteGGUF writes a LoRA as a GGUF file that llama.cpp loads beside the base model, which
// src is. There must be no file at path yet, unless Overwrite is set.
func (a *Adapter) WriteGGUF(path string, src weights.Source) error {
	if a.DoRA() {
		return fault.At("fine_tune_type", "the adapter is a DoRA, whose magnitudes llama.cpp's adapter files have no place for").
			Try("Fuse it into the model with %v, or train with %v lora.", fault.Setting("export_gguf"), fault.Setting("fine_tune_type"))
	}
	c, err := model.ReadConfig(src)
	if err != nil {
		return err
	}
	family, ok := weights.GGUFFamilyOf(c.ModelType)
	if !ok {
		return fmt.Errorf("model_type %q cannot be written as GGUF yet", c.ModelType)
	}
	if err := a.checkCopies(src); err != nil {
		return err
	}
	if err := a.FitTo(c); err != nil {
		return err
	}
	rank, scale := a.Uniform()
	entries, err := a.ggufEntries(c, family, src)
	if err != nil {
		return err
	}
	if !a.Overwrite {
		if err := atomicfile.Vacant("save_path", path); err != nil {
			return err
		}
	}
	return weights.WriteGGUF(path, map[string]any{
		"general.architecture": family.Architecture, "general.type": "adapter", "general.name": "LoRA", "general.file_type": uint32(0),
		"general.quantization_version": uint32(2),
		"adapter.type":                 "lora", "adapter.lora.alpha": float32(rank) * scale,
	}, entries)
}

// ggufEntries are the tensors of the file, in the names and the order of rows that the
// base has in llama.cpp.
func (a *Adapter) ggufEntries(c *model.Config, family weights.GGUFFamily, src weights.Source) (entries []weights.GGUFEntry, err error) {
	arch, err := c.Architecture()
	if err != nil {
		return nil, err
	}
	for _, u := range a.Updates {
		name, ok := weights.GGUFName(u.Module + ".weight")
		if !ok || !src.Has(u.Module) {
			return nil, fmt.Errorf("%s is no module of %s: the adapter belongs to another model", u.Module, src.Path())
		}
		m, err := src.Outline(u.Module)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(m.Shape(), u.Shape()) {
			return nil, fmt.Errorf("%s is %v in %s, the adapter is for %v", u.Module, m.Shape(), src.Path(), u.Shape())
		}
		down, up := u.transposed() // [Rank, In], [Out, Rank], or of each expert
		if heads := family.PairedHeads(u.Module, c.NumAttentionHeads, arch.KVHeads); heads > 0 && !c.RopeTraditional {
			up = weights.JoinPairs(up, u.Out, heads)
		}
		entries = append(entries,
			weights.FloatTensor(name+".lora_a", down, u.stacked(u.Rank, u.In)...).GGUF(),
			weights.FloatTensor(name+".lora_b", up, u.stacked(u.Out, u.Rank)...).GGUF())
	}
	return entries, nil
}
