// Package export writes models to share: adapters fused into their base,
// quantized again where the base was, in the files that mlx-lm and transformers
// read.
package export

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// EnoughSurvival is the share of a matrix's update that has to survive
// quantization; below it Fuse gives the matrix more bits.
const EnoughSurvival = 0.90

// FuseOptions choose what Fuse writes.
type FuseOptions struct {
	AdapterPath string // folder of the adapter, which SavePath must not be
	SavePath    string
	Overwrite   bool     // replace a model at SavePath that Lentil did not write, or that was changed since
	Card        hub.Card // for README.md; without a Repo it gets the folder's name
	Dequantize  bool     // all matrices dense, in the type of the scales
	KeepBits    bool     // quantize to the base's bits whatever is lost
	Rule        quant.Rule
	Progress    func(module string, done, total int) // may be nil
	Stop        func() error                         // asked before each module; its error ends the work. May be nil
	// More writes further files of the model, such as a GGUF file, into the folder dir, from where they come into SavePath
	// with the others. May be nil.
	More func(dir string) error
}

// FusedLayer tells what became of the update of one projection, a matrix or a stack of them.
type FusedLayer struct {
	Module   string  `json:"module"`
	From     string  `json:"from"`     // format in the base
	To       string  `json:"to"`       // format written
	AtBase   float64 `json:"at_base"`  // share of the update that the base's format would keep
	Survival float64 `json:"survival"` // share that the format written keeps
	update   float64 // ‖Δ‖²
	dense    bool    // the format written
}

// FuseReport sums up a fusion.
type FuseReport struct {
	Path       string       `json:"path"`
	Layers     []FusedLayer `json:"layers"`
	Survival   float64      `json:"fuse_survival"` // over all matrices, weighted by ‖Δ‖²
	AtBase     float64      `json:"survival_at_base_bits"`
	Raised     int          `json:"raised_layers"`
	Parameters int64        `json:"parameters"`
	Bytes      int64        `json:"bytes"`
}

// Rounded tells in which formats too little of an update survives: quantized ones, or the
// 16-bit numbers of dense matrices.
func (r FuseReport) Rounded() (quantized, dense bool) {
	for _, l := range r.Layers {
		if l.Survival < EnoughSurvival {
			quantized, dense = quantized || !l.dense, dense || l.dense
		}
	}
	return quantized, dense
}

// Worst is the matrix whose update survives least; false when none has one.
func (r FuseReport) Worst() (FusedLayer, bool) {
	if len(r.Layers) == 0 {
		return FusedLayer{}, false
	}
	return slices.MinFunc(r.Layers, func(a, b FusedLayer) int {
		switch {
		case a.Survival < b.Survival:
			return -1
		case a.Survival > b.Survival:
			return 1
		}
		return 0
	}), true
}

// Fuse writes the model m, to which an adapter is attached, as a model of its
// own into o.SavePath.
func Fuse(m *model.Model, tok *tokenizer.Tokenizer, o FuseOptions) (FuseReport, error) {
	if err := CheckTarget(o.SavePath, m.Source().Path(), o.AdapterPath, o.Overwrite); err != nil {
		return FuseReport{}, err
	}
	f := &fusion{
		model: m, src: m.Source(), options: o, adapters: map[string]*nn.LoRA{}, overrides: map[string]quant.Format{},
		report: FuseReport{Path: o.SavePath},
	}
	for _, l := range m.Adapted() {
		lora, ok := l.Adapter.(*nn.LoRA)
		if !ok {
			return FuseReport{}, fmt.Errorf("%s: this adapter cannot be fused", l.Name)
		}
		f.adapters[l.Name] = lora
	}
	if err := f.write(tok); err != nil {
		return FuseReport{}, err
	}
	return f.report, nil
}

// CheckTarget refuses folders that a fused model cannot be written to: those of the base and of the adapter and, unless overwrite
// is set, those with files that Lentil did not write.
func CheckTarget(path, base, adapter string, overwrite bool) error {
	if path == "" {
		return fault.Value("save_path", path, "the folder to write the fused model to")
	}
	for _, o := range []string{base, adapter} {
		if same(path, o) || same(path, filepath.Dir(o)) {
			return fault.At("save_path", "%s is the folder that %s is read from", path, o).Try("Give another one.")
		}
	}
	if overwrite {
		return nil
	}
	return atomicfile.Unowned("save_path", path, hub.IsUploadState)
}

func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// fusion is the state of one Fuse.
type fusion struct {
	model     *model.Model
	src       weights.Source
	options   FuseOptions
	adapters  map[string]*nn.LoRA
	overrides map[string]quant.Format // format written, by module, where quantized
	report    FuseReport
}

// write fills the folder.
func (f *fusion) write(tok *tokenizer.Tokenizer) error {
	return writeFolder(f.options.SavePath, f.src.Path(), func(dir string) error {
		if err := f.writeWeights(dir); err != nil {
			return err
		}
		card := f.options.Card
		card.Repo = cmp.Or(card.Repo, filepath.Base(f.options.SavePath))
		if err := (settings{src: f.src, quantization: quantizationOf(f.overrides), card: card}).write(dir, tok); err != nil {
			return err
		}
		f.total()
		if f.options.More == nil {
			return nil
		}
		return f.options.More(dir)
	})
}

// asked is what stop says, if there is one.
func asked(stop func() error) error {
	if stop == nil {
		return nil
	}
	return stop()
}

// writeWeights streams all tensors into shards.
func (f *fusion) writeWeights(dir string) error {
	modules := f.modules()
	var entries []weights.Entry
	for i, module := range modules {
		if err := asked(f.options.Stop); err != nil {
			return err
		}
		list, err := f.entries(module)
		if err != nil {
			return fmt.Errorf("%s: %w", module, err)
		}
		entries = append(entries, list...)
		if f.options.Progress != nil {
			f.options.Progress(module, i+1, len(modules))
		}
	}
	for _, name := range f.src.Names() {
		if f.isMatrix(name) || model.Unused(name, f.model.Tied) {
			continue
		}
		t, ok := f.src.Tensor(name)
		if !ok {
			continue
		}
		data, err := f.vector(name, t)
		if err != nil {
			return err
		}
		entries = append(entries, data)
	}
	entries = apart(entries)
	for _, e := range entries {
		f.report.Bytes += compute.Spec{Shape: e.Shape, DType: e.DType}.Bytes()
	}
	return weights.WriteModel(dir, entries, weights.ModelOptions{Parameters: f.report.Parameters})
}

// vector is a norm or bias: as in the base, or as full fine-tuning left it.
func (f *fusion) vector(name string, t weights.Tensor) (weights.Entry, error) {
	if v, ok := f.model.Vector(name); ok {
		values, err := tensor.ReadFloats(f.model.Device(), v)
		if err != nil {
			return weights.Entry{}, err
		}
		data := make([]byte, len(values)*t.DType.Size())
		quant.PutFloats(data, values, t.DType)
		t.Data = data
	}
	f.report.Parameters += int64(compute.Shape(t.Shape).Elems())
	return entryOf(t), nil
}

func entryOf(t weights.Tensor) weights.Entry {
	return weights.Entry{Name: t.Name, DType: t.DType, Shape: t.Shape, Bytes: func() ([]byte, error) { return t.Data, nil }}
}

// modules lists the modules that have a matrix, in the order of the names.
func (f *fusion) modules() []string {
	var out []string
	for _, name := range f.src.Names() {
		module, ok := strings.CutSuffix(name, ".weight")
		if ok && f.isMatrix(name) && !model.Unused(name, f.model.Tied) {
			out = append(out, module)
		}
	}
	return out
}

// isMatrix tells the tensors of matrices (with their scales and biases) from
// the vectors.
func (f *fusion) isMatrix(name string) bool {
	for _, suffix := range []string{".weight", ".scales", ".biases"} {
		if module, ok := strings.CutSuffix(name, suffix); ok {
			if _, ok := f.model.Matrix(module); ok {
				return true
			}
		}
	}
	return false
}

func (f *fusion) total() {
	var all, kept, atBase float64
	for _, l := range f.report.Layers {
		all += l.update
		kept += l.update * l.Survival
		atBase += l.update * l.AtBase
		if l.From != l.To && !f.options.Dequantize {
			f.report.Raised++
		}
	}
	if all > 0 {
		f.report.Survival, f.report.AtBase = kept/all, atBase/all
	} else {
		f.report.Survival, f.report.AtBase = 1, 1
	}
}
