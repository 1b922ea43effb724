package export

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// GGUFAdapter writes a LoRA adapter as a GGUF file that llama.cpp loads beside
// the base model, which src is. There must be no file at path yet.
func GGUFAdapter(f *adapter.Adapter, src weights.Source, path string) error {
	if f.DoRA() {
		return fault.At("fine_tune_type", "the adapter is a DoRA, whose magnitudes llama.cpp's adapter files have no place for").
			Try("Fuse it into the model with %v, or train with %v lora.", fault.Setting("export_gguf"), fault.Setting("fine_tune_type"))
	}
	c, err := model.ParseConfig(src.Config(), src.Path()+": config.json")
	if err != nil {
		return err
	}
	facts, err := c.Facts()
	if err != nil {
		return err
	}
	a, ok := ggufArchitectures[c.ModelType]
	if !ok {
		return fmt.Errorf("model_type %q cannot be written as GGUF yet", c.ModelType)
	}
	g := ggufExport{config: c, facts: facts, joined: a.joined && !c.RopeTraditional}
	if err := f.CheckCopies(src); err != nil {
		return err
	}
	if err := f.FitTo(c); err != nil {
		return err
	}
	rank, scale := f.Uniform()
	var entries []weights.GGUFEntry
	for _, u := range f.Updates {
		name, ok := weights.GGUFName(u.Module + ".weight")
		if !ok || !src.Has(u.Module) {
			return fmt.Errorf("%s is no module of %s: the adapter belongs to another model", u.Module, src.Path())
		}
		m, err := src.Outline(u.Module)
		if err != nil {
			return err
		}
		if !slices.Equal(m.Shape(), u.Shape()) {
			return fmt.Errorf("%s is %v in %s, the adapter is for %v", u.Module, m.Shape(), src.Path(), u.Shape())
		}
		down, up := u.Transposed() // [rank, In], [Out, rank], or of each expert
		shapeA, shapeB := []int{rank, u.In}, []int{u.Out, rank}
		if u.Experts > 0 {
			shapeA, shapeB = slices.Insert(shapeA, 0, u.Experts), slices.Insert(shapeB, 0, u.Experts)
		}
		upData := floatBytes(up)
		if heads := g.pairedHeads(u.Module + "."); heads > 0 {
			upData = weights.JoinPairs(upData, u.Out, heads)
		}
		entries = append(entries,
			bytesEntry(name+".lora_a", floatBytes(down), shapeA...), bytesEntry(name+".lora_b", upData, shapeB...))
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already: give another name, or remove it", path)
	}
	return weights.WriteGGUF(path, map[string]any{
		"general.architecture": a.name, "general.type": "adapter", "general.name": "LoRA", "general.file_type": uint32(0),
		"general.quantization_version": uint32(2),
		"adapter.type":                 "lora", "adapter.lora.alpha": float32(rank) * scale,
	}, entries)
}

func floatBytes(values []float32) []byte {
	data := make([]byte, 4*len(values))
	quant.PutFloats(data, values, quant.F32)
	return data
}

func bytesEntry(name string, data []byte, shape ...int) weights.GGUFEntry {
	return weights.GGUFEntry{Name: name, Type: weights.GGUFType{DType: quant.F32}, Shape: shape, Bytes: func() ([]byte, error) { return data, nil }}
}
