package adapter

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/weights"
)

// Load puts a saved adapter on a model, in place of what adapters there are: LoRA or DoRA
// beside the projections that it names, or the weights that full fine-tuning changed. path
// is a folder in mlx-lm's or PEFT's layout, or a GGUF file of llama.cpp.
func Load(m *model.Model, path string) error {
	if err := atomicfile.Finish(path); err != nil {
		return err
	}
	if !isPEFT(path) && !isGGUF(path) {
		return loadMLX(m, path)
	}
	a, err := Read(path)
	if err != nil {
		return err
	}
	if err := a.Attach(m); err != nil {
		return fmt.Errorf("%s does not fit this model: %w", path, err)
	}
	return nil
}

// loadMLX is Load for mlx-lm's layout, whose settings and tensors have to agree.
func loadMLX(m *model.Model, dir string) error {
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
	lora := c.config()
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
	if err := loadTrainable(m, f); err != nil {
		m.Detach()
		return err
	}
	return nil
}

// checkRank compares the rank of adapter_config.json with the file's. It comes before
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

// inFile lists the chosen projections that the file changes. The file has to hold all
// tensors of each of them, in the shapes that c gives them, so that nothing is made for
// what is not there. The file may leave projections out: mlx-lm used to train two of a
// block by default, and such adapters have no keys in their settings.
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

// mostListed is how many tensors an error names.
const mostListed = 5

func otherModel(path string, wrong []string) error {
	n := len(wrong)
	if n > mostListed {
		wrong = append(wrong[:mostListed], "...")
	}
	return fmt.Errorf("%s: %d tensors do not fit this model: %s; the adapter was made for another model or with other lora_parameters", path, n, strings.Join(wrong, ", "))
}
