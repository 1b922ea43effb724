package adapter

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// Resume copies the tensors of a file over the trainable ones of the same names, which
// must have the same shapes. Trainable tensors that the file lacks stay as they are. A
// file with more than is trained is refused, since what is saved would lack it, and so is
// one of another kind of fine-tuning.
func Resume(m *model.Model, f *weights.Safetensors) error {
	params := trainableByName(m)
	is, trained := fineTuneType(f.Names()), fineTuneType(slices.Collect(maps.Keys(params)))
	if is != trained {
		return fault.Value("fine_tune_type", trained, fmt.Sprintf("%s, which trains what %s holds", is, f.Path())).
			Try("Give %v %s, or %v a file of the other type.", fault.Setting("fine_tune_type"), is, fault.Setting("resume_adapter_file"))
	}
	if lost := untrained(m, f.Names(), params); len(lost) > 0 {
		return wouldLose(m, f.Path(), lost, params)
	}
	return loadTrainable(m, f)
}

// loadTrainable copies the tensors of a file over the trainable ones of the same names.
// All of them must have a place; the error lists those that have none.
func loadTrainable(m *model.Model, f *weights.Safetensors) error {
	params := trainableByName(m)
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
	if wrong = append(wrong, unknown...); len(wrong) > 0 {
		return otherModel(f.Path(), wrong)
	}
	for name, p := range fit {
		x, _ := f.Tensor(name)
		if err := m.Device().Write(p.Buffer(), compute.FloatBytes(x.Floats())); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return m.RefreshAdapters()
}

func trainableByName(m *model.Model) map[string]nn.Param {
	params := map[string]nn.Param{}
	for _, p := range m.Trainable() {
		params[p.Name] = p
	}
	return params
}

// fineTuneType tells from the names of tensors which kind of training changes them.
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

// loadFull puts the weights of full fine-tuning in the place of the base's. They are used
// where they lie: the model closes f.
func loadFull(m *model.Model, f *weights.Safetensors) error {
	var wrong []string
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		if shape, ok := m.ShapeOf(name); !ok || !slices.Equal(x.Shape, shape) || !x.DType.IsWeight() {
			wrong = append(wrong, fmt.Sprintf("%s (%v %v)", name, x.DType, x.Shape))
		}
	}
	if len(wrong) > 0 {
		f.Close()
		return otherModel(f.Path(), wrong)
	}
	m.Keep(f) // after an error too: some weights may be in place
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		if err := m.Replace(x); err != nil {
			return fmt.Errorf("%s: %s: %w", f.Path(), name, err)
		}
	}
	return nil
}

// SaveWeights writes what training changes to one safetensors file: adapters as F32,
// parameters of the base in the type that the base has them in. Numbers that are NaN or
// infinite are refused, and the file that is there stays.
func SaveWeights(m *model.Model, path string) error {
	var out []weights.Tensor
	for _, p := range m.Trainable() {
		values, err := tensor.ReadFloats(m.Device(), p.Tensor)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if !finite(values) {
			return fmt.Errorf("%s: not written: %w", path, diverged(p.Name))
		}
		dtype := fileType(m, p)
		data := make([]byte, len(values)*dtype.Size())
		quant.PutFloats(data, values, dtype)
		out = append(out, weights.Tensor{Name: p.Name, DType: dtype, Shape: p.FileShape(), Data: data})
	}
	return weights.WriteSafetensors(path, out, nil)
}

// fileType is the type that files have a parameter in.
func fileType(m *model.Model, p nn.Param) quant.DType {
	if base, ok := m.Source().Tensor(p.Name); ok && base.DType.IsWeight() {
		return base.DType
	}
	return quant.F32
}

// FileBytes is how many bytes the numbers take that SaveWeights writes.
func FileBytes(m *model.Model) (n int64) {
	for _, p := range m.Trainable() {
		n += int64(p.Shape().Elems()) * int64(fileType(m, p).Size())
	}
	return n
}

// Save writes what training changes as a folder that [Load] and mlx-lm read:
// adapters.safetensors and adapter_config.json, which replace those that are there.
func Save(m *model.Model, dir string) error {
	if len(m.Adapted()) > 0 {
		a, err := Of(m)
		if err != nil {
			return fmt.Errorf("%s: not written: %w", dir, err)
		}
		return a.writeMLX(dir)
	}
	if len(m.Trainable()) == 0 {
		return fmt.Errorf("%s: not written: the model has no adapter, and nothing of it is trained", dir)
	}
	config := map[string]any{"fine_tune_type": "full", "model": m.Source().Path(), "num_layers": -1}
	return writeFolder(dir, config, func(set *atomicfile.Set) error { return SaveWeights(m, filepath.Join(set.Dir(), File)) })
}

// diverged is the error for a tensor with NaN or infinite numbers.
func diverged(name string) error {
	return fault.Advise(fmt.Errorf("%s holds a number that is not finite: training has diverged", name),
		"Go back to the last saved file and use a smaller %v.", fault.Setting("learning_rate"))
}

func finite(values []float32) bool {
	for _, v := range values {
		if v-v != 0 { // Inf-Inf and NaN-NaN are NaN
			return false
		}
	}
	return true
}
