package export

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// ConvertOptions choose what Convert writes. Without Quantize and Dequantize
// matrices stay as they are where MLX has their format; the super-blocks of GGUF
// files, which it does not have, become dense.
type ConvertOptions struct {
	SavePath    string // an empty folder, or none
	Overwrite   bool   // it may hold a model, which is replaced
	BaseModel   string // repository of the model, for the model card; may be empty
	Quantize    bool
	Mode        string         // affine, mxfp4, nvfp4 or mxfp8; "" for affine
	Bits, Group int            // 0: the mode's own, 4 and 64 for affine
	BitsOf      map[string]int // bits of single modules, for affine
	Recipe      string         // name of a mixed recipe, see Recipes; "" for the same bits throughout
	Dequantize  bool
	DType       quant.DType // of all floating-point numbers; 0 leaves them
	Rule        quant.Rule
	Progress    func(module string, done, total int) // may be nil
	Stop        func() error                         // asked before each module; its error ends the work. May be nil
}

// ConvertReport sums up a conversion.
type ConvertReport struct {
	Path          string  `json:"path"`
	Parameters    int64   `json:"parameters"`
	Bytes         int64   `json:"bytes"`
	BitsPerWeight float64 `json:"bits_per_weight"` // scales and biases included
}

// recipes of mlx-lm: bits of most layers, and of those that matter more.
var recipes = map[string]struct{ low, high int }{
	"mixed_2_6": {2, 6}, "mixed_3_4": {3, 4}, "mixed_3_6": {3, 6}, "mixed_4_6": {4, 6},
}

// Recipes lists the names of the mixed recipes.
func Recipes() []string { return []string{"mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"} }

// Convert writes the model of src as a folder that mlx-lm reads.
func Convert(src weights.Source, tok *tokenizer.Tokenizer, o ConvertOptions) (ConvertReport, error) {
	report := ConvertReport{Path: o.SavePath}
	if err := CheckPath("save_path", o.SavePath, src.Path(), o.Overwrite); err != nil {
		return report, err
	}
	if _, ok := recipes[o.Recipe]; o.Recipe != "" && !ok {
		return report, fmt.Errorf("recipe %q is not one of %s", o.Recipe, strings.Join(Recipes(), ", "))
	}
	format, err := o.format()
	if err != nil {
		return report, err
	}
	c := &conversion{src: src, options: o, format: format, report: &report, written: map[string]quant.Format{}}
	if c.config, err = model.ReadConfig(src); err != nil {
		return report, err
	}
	if c.arch, err = c.config.Architecture(); err != nil {
		return report, fmt.Errorf("%s: %w", src.Path(), err)
	}
	return report, c.write(tok)
}

// format is what matrices are quantized to; affine scales are of any type.
func (o ConvertOptions) format() (quant.Format, error) {
	mode := o.Mode
	if mode == "" {
		mode = "affine"
	}
	f, err := quant.ParseMode(mode)
	if err != nil {
		return f, err
	}
	if f.Kind == quant.Affine {
		f.DType = quant.F32
	} else if o.Recipe != "" || len(o.BitsOf) > 0 {
		return f, fmt.Errorf("layers of several widths need mode affine, not %s", mode)
	}
	if o.Bits != 0 {
		f.Bits = o.Bits
	}
	if o.Group != 0 {
		f.Group = o.Group
	}
	return f, f.Check()
}

// conversion is the state of one Convert.
type conversion struct {
	src     weights.Source
	config  *model.Config
	arch    model.Architecture
	options ConvertOptions
	format  quant.Format // to quantize to
	report  *ConvertReport
	written map[string]quant.Format // of quantized modules

	// The matrix made last: its scales and biases are asked for after it.
	module string
	matrix *quant.Matrix
}

// write fills the folder.
func (c *conversion) write(tok *tokenizer.Tokenizer) error {
	return writeFolder(c.options.SavePath, c.src.Path(), func(dir string) error {
		if err := c.writeWeights(dir); err != nil {
			return err
		}
		s := settings{src: c.src, quantization: c.quantization(), card: hub.Card{
			Repo: filepath.Base(c.options.SavePath), BaseModel: c.options.BaseModel, Tool: "lentil",
			Settings: []hub.CardRow{{Name: "Bits per weight", Value: fmt.Sprintf("%.3f", c.report.BitsPerWeight)}},
		}}
		return s.write(dir, tok)
	})
}

func (c *conversion) writeWeights(dir string) error {
	entries, modules, err := c.split()
	if err != nil {
		return err
	}
	if err := c.checkRecipe(modules); err != nil {
		return err
	}
	for i, module := range modules {
		list, err := c.entries(module, i, len(modules))
		if err != nil {
			return err
		}
		entries = append(entries, list...)
	}
	entries = apart(entries)
	for _, e := range entries {
		c.report.Bytes += entryBytes(e)
	}
	c.report.BitsPerWeight = 8 * float64(c.report.Bytes) / float64(c.report.Parameters)
	return weights.WriteModel(dir, entries, weights.ModelOptions{Parameters: c.report.Parameters})
}

// split lists what the model consists of: vectors as they are written, and the
// modules that have a matrix.
func (c *conversion) split() (vectors []weights.Entry, modules []string, err error) {
	for _, name := range c.src.Names() {
		if strings.HasSuffix(name, ".scales") || strings.HasSuffix(name, ".biases") || model.Unused(name, c.arch.Tied) {
			continue
		}
		module, isWeight := strings.CutSuffix(name, ".weight")
		if _, stack := weights.ExpertTensor(name, 0); stack {
			modules = append(modules, module)
			continue
		}
		t, ok := c.src.Tensor(name)
		switch {
		case isWeight && (!ok || len(t.Shape) > 1):
			modules = append(modules, module)
			continue
		case !ok:
			return nil, nil, fmt.Errorf("%s: tensor %q is in blocks, expected plain numbers", c.src.Path(), name)
		}
		e, err := c.vector(t)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: tensor %q: %w", c.src.Path(), name, err)
		}
		vectors = append(vectors, e)
	}
	return vectors, modules, nil
}

func entryBytes(e weights.Entry) int64 {
	n := int64(e.DType.Size())
	for _, s := range e.Shape {
		n *= int64(s)
	}
	return n
}

// vector is a norm or bias in the type that was asked for.
func (c *conversion) vector(t weights.Tensor) (weights.Entry, error) {
	c.report.Parameters += int64(len(t.Data) / t.DType.Size())
	if to := c.options.DType; to != 0 && t.DType.IsFloat() && to != t.DType {
		data, err := recast(t.Data, t.DType, to)
		if err != nil {
			return weights.Entry{}, err
		}
		t.DType, t.Data = to, data
	}
	return entryOf(t), nil
}

// target is the format that a module is written in, and the type that its
// weights are rounded to before.
func (c *conversion) target(module string, m *quant.Matrix) (to quant.Format, dtype quant.DType) {
	dtype = c.options.DType
	if dtype == 0 {
		dtype = m.Format.Floats()
	}
	switch {
	case c.options.Quantize && m.Cols%c.format.Group == 0:
		to = c.format
		to.Bits = c.bits(module)
		if c.options.Recipe == "" && c.hasOwnBits(module) && m.Cols%routerGroup == 0 {
			to = quant.Format{Kind: quant.Affine, Bits: c.arch.Experts.RouterBits, Group: routerGroup}
		}
	case m.Format.HasScales() && !c.options.Dequantize && !c.options.Quantize:
		to = m.Format
	default:
		to = quant.Format{Kind: quant.Dense}
	}
	if !to.Kind.IsFP() {
		to.DType = dtype
	}
	return to, dtype
}

// routerGroup is the group size of routers with bits of their own, as in mlx-lm.
const routerGroup = 64

// hasOwnBits tells routers that keep more bits than was asked for.
func (c *conversion) hasOwnBits(module string) bool {
	f := c.arch.Experts
	return f.RouterBits > 0 && strings.HasSuffix(module, "."+f.Router())
}

// bits of a module by the recipe.
func (c *conversion) bits(module string) int {
	if bits, ok := c.options.BitsOf[module]; ok {
		return bits
	}
	r, ok := recipes[c.options.Recipe]
	switch {
	case !ok:
		return c.format.Bits
	case strings.Contains(module, "lm_head"):
		return r.high
	case (strings.Contains(module, "v_proj") || strings.Contains(module, "down_proj")) && moreBitsForLayer(layerOf(module), c.config.NumHiddenLayers):
		return r.high
	}
	return r.low
}

func (c *conversion) checkRecipe(modules []string) error {
	if c.options.Recipe != "" && !slices.ContainsFunc(modules, func(m string) bool { return strings.Contains(m, "down_proj") }) {
		return fmt.Errorf("recipe %q needs layers with a down_proj, which this model has none of", c.options.Recipe)
	}
	return nil
}

// entries are the tensors of one module, made when they are written.
func (c *conversion) entries(module string, done, total int) ([]weights.Entry, error) {
	m, err := c.src.Outline(module)
	if err != nil {
		return nil, err
	}
	to, dtype := c.target(module, m)
	c.report.Parameters += int64(m.Rows) * int64(m.Cols)
	if to.Kind != quant.Dense {
		c.written[module] = to
	}
	return tensorsOf(module, to, m.Shape(), func() (*quant.Matrix, error) {
		if c.module == module {
			return c.matrix, nil
		}
		if err := asked(c.options.Stop); err != nil {
			return nil, err
		}
		if c.options.Progress != nil {
			c.options.Progress(module, done+1, total)
		}
		m, err := c.src.Matrix(module)
		if err != nil {
			return nil, err
		}
		made, err := reformat(m, to, dtype, c.options.Rule)
		if err != nil {
			return nil, err
		}
		c.module, c.matrix = module, made
		return made, nil
	}), nil
}

// reformat stores m in another format. Integers that only get scales of another
// type stay as they are. Weights to be quantized are rounded to dtype first, as
// mlx-lm casts a model before it quantizes it.
func reformat(m *quant.Matrix, to quant.Format, dtype quant.DType, rule quant.Rule) (*quant.Matrix, error) {
	if m.Format == to {
		return m, nil
	}
	if m.Format.Kind == quant.Affine && to.Kind == quant.Affine && m.Format.Bits == to.Bits && m.Format.Group == to.Group {
		out := *m
		out.Format = to
		var err error
		if out.Scales, err = recast(m.Scales, m.Format.DType, to.DType); err == nil {
			out.Biases, err = recast(m.Biases, m.Format.DType, to.DType)
		}
		return &out, err
	}
	dense := m
	if asked := (quant.Format{Kind: quant.Dense, DType: dtype}); m.Format != asked {
		var err error
		if dense, err = m.Requantize(asked, dtype, rule); err != nil || to.Kind == quant.Dense {
			return dense, err
		}
	}
	return dense.Requantize(to, dtype, rule)
}

// recast stores numbers in another type.
func recast(data []byte, from, to quant.DType) ([]byte, error) {
	values := make([]float32, len(data)/from.Size())
	quant.Floats(values, data, from)
	out := make([]byte, len(values)*to.Size())
	return out, quant.Narrow(out, values, to)
}

// quantization describes what was written as config.json does.
func (c *conversion) quantization() map[string]any {
	if c.options.Recipe != "" {
		return recipeSettings(c.format, c.written)
	}
	q := quantizationOf(c.written)
	for module := range q {
		if own, ok := q[module].(map[string]any); ok && own["mode"] == "affine" && c.hasOwnBits(module) {
			delete(own, "mode") // it goes without saying, as in mlx-lm
		}
	}
	return q
}
