package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// Names of an adapter folder's files, as mlx-lm reads them.
const (
	File       = "adapters.safetensors"
	ConfigFile = "adapter_config.json"
)

// mlxConfig is the part of adapter_config.json that loading needs.
type mlxConfig struct {
	FineTuneType string `json:"fine_tune_type"`
	NumLayers    int    `json:"num_layers"`
	LoRA         *struct {
		Rank    int      `json:"rank"`
		Scale   float32  `json:"scale"`
		Dropout float32  `json:"dropout"`
		Keys    []string `json:"keys"`
	} `json:"lora_parameters"`
}

// readConfig reads dir/adapter_config.json.
func readConfig(dir string) (mlxConfig, error) {
	path := filepath.Join(dir, ConfigFile)
	c := mlxConfig{FineTuneType: "lora"}
	data, err := weights.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, fault.At("adapter_path", "%s is not there: %s is not an adapter folder", ConfigFile, dir).Try("Give the folder that training wrote.")
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, jsonpos.Locate(data, err))
	}
	switch {
	case c.FineTuneType == "full":
	case c.FineTuneType != "lora" && !c.dora():
		return c, fmt.Errorf("%s: fine_tune_type %q is not supported; known are lora, dora, full", path, c.FineTuneType)
	case c.LoRA == nil:
		return c, fmt.Errorf("%s: lora_parameters is missing; expected rank, scale and dropout", path)
	}
	return c, nil
}

func (c mlxConfig) dora() bool { return c.FineTuneType == "dora" }

// Load attaches the adapter of a folder: LoRA or DoRA beside the
// projections it names, or the weights that full fine-tuning changed. The
// folder may be one of PEFT; instead of a folder it may be llama.cpp's GGUF file.
func Load(m *model.Model, dir string) error {
	if isPEFT(dir) || isGGUF(dir) {
		f, err := Read(dir)
		if err != nil {
			return err
		}
		if err := f.Attach(m); err != nil {
			return fmt.Errorf("%s does not fit this model: %w", dir, err)
		}
		return nil
	}
	c, err := readConfig(dir)
	if err != nil {
		return err
	}
	f, err := weights.OpenSafetensors(filepath.Join(dir, File))
	if err != nil {
		return err
	}
	if c.FineTuneType == "full" {
		return loadFull(m, f)
	}
	defer f.Close()
	if err := checkRank(f, c.LoRA.Rank); err != nil {
		return err
	}
	lora := Config{Rank: c.LoRA.Rank, Scale: c.LoRA.Scale, Dropout: c.LoRA.Dropout, Keys: c.LoRA.Keys, NumLayers: c.NumLayers, DoRA: c.dora()}
	chosen, err := lora.choose(m)
	if err != nil {
		return fmt.Errorf("%s does not fit this model: %w", filepath.Join(dir, ConfigFile), err)
	}
	if lora.Keys, err = inFile(f, chosen, lora); err != nil {
		return err
	}
	if _, err := New(m, lora, compute.NewKey(0)); err != nil {
		return fmt.Errorf("%s does not fit this model: %w", filepath.Join(dir, ConfigFile), err)
	}
	if err := loadTrainable(m, f, true); err != nil {
		m.Detach()
		return err
	}
	return nil
}

// checkRank compares the rank of adapter_config.json with the file's, before
// matrices of that rank are made.
func checkRank(f *weights.Safetensors, rank int) error {
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		if strings.HasSuffix(name, ".lora_a") && (len(x.Shape) == 2 || len(x.Shape) == 3) && x.Shape[1] != rank && rank > 0 && rank <= maxRank {
			return fmt.Errorf("%s: tensor %s is %v, but lora_parameters in %s say rank %d: the two files do not belong together", f.Path(), name, x.Shape, ConfigFile, rank)
		}
	}
	return nil
}

// inFile lists the chosen projections that the file changes. Of each of them it has to
// hold all tensors, in the shapes that c gives them, so that nothing is made for what
// is not there. It may leave projections out, as it may with mlx-lm: adapters from the
// time when that trained two of a block by default do not name them in their settings.
func inFile(f *weights.Safetensors, chosen []*nn.Linear, c Config) (modules []string, err error) {
	modules = []string{}
	var wrong []string
	for _, l := range chosen {
		shapes := map[string][]int{".lora_a": {l.In(), c.Rank}, ".lora_b": {c.Rank, l.Out()}}
		if l.Experts > 0 {
			shapes = map[string][]int{".lora_a": {l.Experts, c.Rank, l.In()}, ".lora_b": {l.Experts, l.Out(), c.Rank}}
		} else if c.DoRA {
			shapes[".m"] = []int{l.Out()}
		}
		var missing []string
		for _, part := range slices.Sorted(maps.Keys(shapes)) {
			x, ok := f.Tensor(l.Name + part)
			switch shape := shapes[part]; {
			case !ok:
				missing = append(missing, fmt.Sprintf("%s (is missing, the model takes %v)", l.Name+part, shape))
			case !slices.Equal(x.Shape, shape) || !x.DType.IsWeight():
				wrong = append(wrong, misfit(x, shape))
			}
		}
		if len(missing) < len(shapes) {
			modules, wrong = append(modules, l.Name), append(wrong, missing...)
		}
	}
	if len(wrong) > 0 {
		return nil, otherModel(f.Path(), wrong)
	}
	return modules, nil
}

// misfit tells of a tensor that has another shape than the model's.
func misfit(x weights.Tensor, shape []int) string {
	return fmt.Sprintf("%s (is %v %v, the model takes %v)", x.Name, x.DType, x.Shape, shape)
}

// Resume copies the tensors of a file over the trainable ones of the same names,
// which must have the same shapes. Tensors that one of the two lacks stay as they
// are, but they must have some in common. A file of another kind of fine-tuning is
// refused: half of it might fit.
func Resume(m *model.Model, f *weights.Safetensors) error { return loadTrainable(m, f, false) }

// loadTrainable copies the tensors of a file over the trainable ones of the
// same names. With strict every tensor of the file must have its place, otherwise
// one must; the error lists those that have none.
func loadTrainable(m *model.Model, f *weights.Safetensors, strict bool) error {
	params := map[string]nn.Param{}
	for _, p := range m.Trainable() {
		params[p.Name] = p
	}
	is, trained := fineTuneType(f.Names()), fineTuneType(slices.Collect(maps.Keys(params)))
	if !strict && is != trained {
		return fault.Value("fine_tune_type", trained, fmt.Sprintf("%s, which trains what %s holds", is, f.Path())).
			Try("Give %v %s, or %v a file of the other type.", fault.Setting("fine_tune_type"), is, fault.Setting("resume_adapter_file"))
	}
	fit := map[string]nn.Param{}
	var wrong, unknown []string
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		p, ok := params[name]
		switch {
		case !ok:
			unknown = append(unknown, name+" (no such parameter)")
		case !slices.Equal(x.Shape, p.FileShape()) || !x.DType.IsWeight():
			wrong = append(wrong, misfit(x, p.FileShape()))
		default:
			fit[name] = p
		}
	}
	if strict || len(fit) == 0 {
		wrong = append(wrong, unknown...)
	}
	if len(wrong) > 0 {
		return otherModel(f.Path(), wrong)
	}
	for name, p := range fit {
		x, _ := f.Tensor(name)
		values := make([]float32, p.Shape().Elems())
		quant.Floats(values, x.Data, x.DType)
		if err := m.Device().Write(p.Buffer(), compute.FloatBytes(values)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return m.RefreshAdapters()
}

// fineTuneType tells from the names of tensors what kind of training changes them.
func fineTuneType(names []string) string {
	some := func(part string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, part) })
	}
	switch {
	case some(".m"):
		return "dora"
	case some(".lora_a"):
		return "lora"
	}
	return "full"
}

func otherModel(path string, wrong []string) error {
	n := len(wrong)
	if n > 5 {
		wrong = append(wrong[:5], "...")
	}
	return fmt.Errorf("%s: %d tensors do not fit this model: %s; the adapter was made for another model or with other lora_parameters", path, n, strings.Join(wrong, ", "))
}

// loadFull puts fully fine-tuned parameters in the place of the base's. They
// are used where they lie, so f stays open unless there is an error.
func loadFull(m *model.Model, f *weights.Safetensors) (err error) {
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	var wrong []string
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		if shape, ok := m.ShapeOf(name); !ok || !slices.Equal(x.Shape, shape) || !x.DType.IsWeight() {
			wrong = append(wrong, fmt.Sprintf("%s (%v %v)", name, x.DType, x.Shape))
		}
	}
	if len(wrong) > 0 {
		return otherModel(f.Path(), wrong)
	}
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		if err = m.Replace(x); err != nil {
			return fmt.Errorf("%s: %s: %w", f.Path(), name, err)
		}
	}
	return nil
}

// SaveWeights writes what training changes to one safetensors file:
// adapters as F32, parameters of the base in the type that the base has them
// in. It refuses to replace a file by one with NaN or infinite numbers.
func SaveWeights(m *model.Model, path string) error {
	var out []weights.Tensor
	for _, p := range m.Trainable() {
		values, err := tensor.ReadFloats(m.Device(), p.Tensor)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if !finite(values) {
			return fault.Advise(fmt.Errorf("%s: not written: %s holds a number that is not finite: training has diverged", path, p.Name),
				"Go back to the last saved file and use a smaller %v.", fault.Setting("learning_rate"))
		}
		dtype := quant.F32
		if base, ok := m.Source().Tensor(p.Name); ok && base.DType.IsWeight() {
			dtype = base.DType
		}
		data := make([]byte, len(values)*dtype.Size())
		quant.PutFloats(data, values, dtype)
		out = append(out, weights.Tensor{Name: p.Name, DType: dtype, Shape: p.FileShape(), Data: data})
	}
	return weights.WriteSafetensors(path, out, nil)
}

func finite(values []float32) bool {
	for _, v := range values {
		if v-v != 0 { // Inf-Inf and NaN-NaN are NaN
			return false
		}
	}
	return true
}
