package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// Names of an adapter folder's files, as mlx-lm reads them.
const (
	AdapterFile       = "adapters.safetensors"
	AdapterConfigFile = "adapter_config.json"
)

// AdapterConfig is the part of adapter_config.json that loading needs.
type AdapterConfig struct {
	FineTuneType string `json:"fine_tune_type"`
	NumLayers    int    `json:"num_layers"`
	LoRA         *struct {
		Rank    int      `json:"rank"`
		Scale   float32  `json:"scale"`
		Dropout float32  `json:"dropout"`
		Keys    []string `json:"keys"`
	} `json:"lora_parameters"`
}

// ReadAdapterConfig reads dir/adapter_config.json.
func ReadAdapterConfig(dir string) (AdapterConfig, error) {
	path := filepath.Join(dir, AdapterConfigFile)
	c := AdapterConfig{FineTuneType: "lora"}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("%s is not there: %s is not an adapter folder; give --adapter-path the folder that training wrote", AdapterConfigFile, dir)
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, located(data, err))
	}
	switch {
	case c.FineTuneType == "full":
	case c.FineTuneType != "lora":
		return c, fmt.Errorf("%s: fine_tune_type %q is not supported; known are lora, full", path, c.FineTuneType)
	case c.LoRA == nil:
		return c, fmt.Errorf("%s: lora_parameters is missing; expected rank, scale and dropout", path)
	}
	return c, nil
}

// LoadAdapter attaches the adapter of a folder: LoRA matrices beside the
// projections they name, or the weights that full fine-tuning changed.
func (m *Model) LoadAdapter(dir string) error {
	c, err := ReadAdapterConfig(dir)
	if err != nil {
		return err
	}
	f, err := weights.OpenSafetensors(filepath.Join(dir, AdapterFile))
	if err != nil {
		return err
	}
	if c.FineTuneType == "full" {
		return m.loadFull(f) // f stays open: the weights are used where they lie
	}
	defer f.Close()
	lora := LoRAConfig{Rank: c.LoRA.Rank, Scale: c.LoRA.Scale, Dropout: c.LoRA.Dropout, Keys: c.LoRA.Keys, NumLayers: c.NumLayers}
	if _, err := m.AttachLoRA(lora, compute.NewKey(0)); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, AdapterConfigFile), err)
	}
	return m.LoadTrainable(f, true)
}

// LoadTrainable copies the tensors of a file over the trainable ones of the
// same names. With strict every tensor of the file must have its place; the
// error lists those that have none. Tensors missing from the file stay.
func (m *Model) LoadTrainable(f *weights.Safetensors, strict bool) error {
	params := map[string]nn.Param{}
	for _, p := range m.Trainable() {
		params[p.Name] = p
	}
	var wrong []string
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		p, ok := params[name]
		switch {
		case !ok:
			wrong = append(wrong, name+" (no such parameter)")
		case !slices.Equal(x.Shape, p.Shape()) || !isFloat(x.DType):
			wrong = append(wrong, fmt.Sprintf("%s (is %v %v, the model takes %v)", name, x.DType, x.Shape, []int(p.Shape())))
		default:
			values := make([]float32, p.Shape().Elems())
			quant.Floats(values, x.Data, x.DType)
			if err := m.dev.Write(p.Buffer(), compute.FloatBytes(values)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if strict && len(wrong) > 0 {
		return otherModel(f.Path(), wrong)
	}
	return nil
}

func otherModel(path string, wrong []string) error {
	n := len(wrong)
	if n > 5 {
		wrong = append(wrong[:5], "...")
	}
	return fmt.Errorf("%s: %d tensors do not fit this model: %s; the adapter was made for another model or with other lora_parameters", path, n, strings.Join(wrong, ", "))
}

// loadFull puts fully fine-tuned parameters in the place of the base's.
func (m *Model) loadFull(f *weights.Safetensors) error {
	var wrong []string
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		ok, err := m.replace(name, x)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", f.Path(), name, err)
		}
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s %v", name, x.Shape))
		}
	}
	if len(wrong) > 0 {
		return otherModel(f.Path(), wrong)
	}
	return nil
}

// replace swaps one parameter; false says that the model has no such one.
func (m *Model) replace(name string, x weights.Tensor) (bool, error) {
	if v, ok := m.vectors()[name]; ok {
		if !slices.Equal(x.Shape, v.Shape()) || !isFloat(x.DType) {
			return false, nil
		}
		values := make([]float32, v.Shape().Elems())
		quant.Floats(values, x.Data, x.DType)
		return true, m.dev.Write(v.Buffer(), compute.FloatBytes(values))
	}
	module := strings.TrimSuffix(name, ".weight")
	for _, slot := range m.matrices() {
		if slot.name != module || name == module || !isFloat(x.DType) || !slices.Equal(x.Shape, []int{slot.weight.Rows, slot.weight.Cols}) {
			continue
		}
		w, err := tensor.ImportWeight(m.dev, &quant.Matrix{
			Format: quant.Format{Kind: quant.Dense, DType: x.DType}, Rows: x.Shape[0], Cols: x.Shape[1], Data: x.Data,
		})
		if err != nil {
			return false, err
		}
		slot.set(w)
		return true, nil
	}
	return false, nil
}

// slot is a place of the model that holds a matrix.
type slot struct {
	name   string
	weight *tensor.Weight
	set    func(*tensor.Weight)
}

func (m *Model) matrices() []slot {
	out := []slot{{"model.embed_tokens", m.Embed, func(w *tensor.Weight) {
		m.Embed = w
		if m.Tied {
			m.Head.Weight = w
		}
	}}}
	for _, l := range m.Linears() {
		out = append(out, slot{l.Name, l.Weight, func(w *tensor.Weight) { l.Weight = w }})
	}
	return out
}

// vectors are the norms and biases by tensor name.
func (m *Model) vectors() map[string]*tensor.Tensor {
	out := map[string]*tensor.Tensor{"model.norm.weight": m.Norm}
	for _, l := range m.Linears() {
		if l.Bias != nil {
			out[l.Name+".bias"] = l.Bias
		}
	}
	for _, b := range m.Blocks {
		for i, v := range blockVectors(b) {
			out[blockVectorName(b, i)] = v
		}
	}
	return out
}

// SaveTrainable writes what training changes to one safetensors file:
// adapters as F32, parameters of the base in the type that the base has them in.
func (m *Model) SaveTrainable(path string) error {
	var out []weights.Tensor
	for _, p := range m.Trainable() {
		values, err := tensor.ReadFloats(m.dev, p.Tensor)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		dtype := quant.F32
		if base, ok := m.src.Tensor(p.Name); ok && isFloat(base.DType) {
			dtype = base.DType
		}
		data := make([]byte, len(values)*dtype.Size())
		quant.PutFloats(data, values, dtype)
		out = append(out, weights.Tensor{Name: p.Name, DType: dtype, Shape: p.Shape(), Data: data})
	}
	return weights.WriteSafetensors(path, out, nil)
}

// Matrix is the weight of a module by its path.
func (m *Model) Matrix(module string) (*tensor.Weight, bool) {
	for _, s := range m.matrices() {
		if s.name == module {
			return s.weight, true
		}
	}
	return nil, false
}

// Vector is a norm or bias by its tensor name.
func (m *Model) Vector(name string) (*tensor.Tensor, bool) {
	v, ok := m.vectors()[name]
	return v, ok
}
