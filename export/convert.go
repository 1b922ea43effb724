package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// ConvertOptions choose what Convert writes. Without Quantize and Dequantize
// matrices stay as they are where MLX has their format; the super-blocks of GGUF
// files, which it does not have, become dense.
type ConvertOptions struct {
	SavePath    string // must not exist
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
	if _, err := os.Lstat(o.SavePath); !errors.Is(err, os.ErrNotExist) {
		return report, fmt.Errorf("%s is there already: give a folder that does not exist yet, or remove it", o.SavePath)
	}
	if _, ok := recipes[o.Recipe]; o.Recipe != "" && !ok {
		return report, fmt.Errorf("recipe %q is not one of %s", o.Recipe, strings.Join(Recipes(), ", "))
	}
	format, err := o.format()
	if err != nil {
		return report, err
	}
	c := &conversion{src: src, options: o, format: format, report: &report, written: map[string]quant.Format{}}
	if c.config, err = model.ParseConfig(src.Config(), src.Path()+": config.json"); err != nil {
		return report, err
	}
	if c.facts, err = c.config.Facts(); err != nil {
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
	facts   model.Facts
	options ConvertOptions
	format  quant.Format // to quantize to
	report  *ConvertReport
	written map[string]quant.Format // of quantized modules

	// The matrix made last: its scales and biases are asked for after it.
	module string
	matrix *quant.Matrix
}

// write fills a folder beside the final one, which then takes its name.
func (c *conversion) write(tok *tokenizer.Tokenizer) error {
	target, err := filepath.Abs(c.options.SavePath)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(target), "."+filepath.Base(target)+".tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := c.writeWeights(tmp); err != nil {
		return err
	}
	if err := c.writeConfig(tmp); err != nil {
		return err
	}
	if err := tok.Save(tmp); err != nil {
		return err
	}
	if err := c.copyFiles(tmp); err != nil {
		return err
	}
	if err := run.WriteFile(filepath.Join(tmp, "README.md"), c.card()); err != nil {
		return err
	}
	return os.Rename(tmp, target)
}

// copyFiles takes over generation_config.json and, for programs that run it, the
// Python code of the source's folder.
func (c *conversion) copyFiles(to string) error {
	entries, err := os.ReadDir(c.src.Path())
	if err != nil {
		return nil // a GGUF file
	}
	for _, e := range entries {
		if name := e.Name(); name == "generation_config.json" || filepath.Ext(name) == ".py" {
			if err := copyFile(c.src.Path(), to, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *conversion) writeWeights(dir string) error {
	entries, modules := c.split()
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
func (c *conversion) split() (vectors []weights.Entry, modules []string) {
	for _, name := range c.src.Names() {
		if strings.HasSuffix(name, ".scales") || strings.HasSuffix(name, ".biases") || strings.Contains(name, "rotary_emb.inv_freq") ||
			c.facts.Tied && strings.HasPrefix(name, "lm_head.") {
			continue
		}
		module, isWeight := strings.CutSuffix(name, ".weight")
		if t, ok := c.src.Tensor(name); ok && len(t.Shape) == 1 || !isWeight {
			vectors = append(vectors, c.vector(t))
			continue
		}
		modules = append(modules, module)
	}
	return vectors, modules
}

func entryBytes(e weights.Entry) int64 {
	n := int64(e.DType.Size())
	for _, s := range e.Shape {
		n *= int64(s)
	}
	return n
}

// vector is a norm or bias in the type that was asked for.
func (c *conversion) vector(t weights.Tensor) weights.Entry {
	n := int64(1)
	for _, s := range t.Shape {
		n *= int64(s)
	}
	c.report.Parameters += n
	if to := c.options.DType; to != 0 && t.DType.IsFloat() && to != t.DType {
		values := make([]float32, n)
		quant.Floats(values, t.Data, t.DType)
		t.DType, t.Data = to, make([]byte, int(n)*to.Size())
		quant.PutFloats(t.Data, values, to)
	}
	return entryOf(t)
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
			to = quant.Format{Kind: quant.Affine, Bits: c.facts.Experts.RouterBits, Group: routerGroup}
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
	f := c.facts.Experts
	return f.RouterBits > 0 && strings.HasSuffix(module, "."+f.Router)
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
	m, err := c.src.Matrix(module)
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
		if c.options.Progress != nil {
			c.options.Progress(module, done+1, total)
		}
		m, err := c.src.Matrix(module) // again: the experts of a folder are stacked for this
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
		out.Scales, out.Biases = recast(m.Scales, m.Format.DType, to.DType), recast(m.Biases, m.Format.DType, to.DType)
		return &out, nil
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

func recast(data []byte, from, to quant.DType) []byte {
	values := make([]float32, len(data)/from.Size())
	quant.Floats(values, data, from)
	out := make([]byte, len(values)*to.Size())
	quant.PutFloats(out, values, to)
	return out
}

// writeConfig writes the source's config.json with what was changed.
func (c *conversion) writeConfig(dir string) error {
	var config map[string]any
	d := json.NewDecoder(bytes.NewReader(c.src.Config()))
	d.UseNumber() // 500000.0 must stay a float
	if err := d.Decode(&config); err != nil {
		return err
	}
	for _, k := range []string{"_name_or_path", "vision_config", "quantization", "quantization_config"} {
		delete(config, k)
	}
	q := quantizationOf(c.written)
	if c.options.Recipe != "" {
		q = recipeSettings(c.format, c.written)
	}
	for module := range q {
		if own, ok := q[module].(map[string]any); ok && c.options.Recipe == "" && c.hasOwnBits(module) {
			delete(own, "mode") // affine goes without saying, as in mlx-lm
		}
	}
	if q != nil {
		config["quantization"], config["quantization_config"] = q, q
	}
	if err := c.nameScaling(config); err != nil {
		return err
	}
	spell(config)
	if eos := c.generationEOS(); eos != nil {
		config["eos_token_id"] = eos
	}
	data, err := json.MarshalIndent(config, "", "    ")
	if err != nil {
		return err
	}
	return run.WriteFile(filepath.Join(dir, "config.json"), data)
}

// spell adds the names that mlx-lm knows of settings that transformers 5 has under
// others. It reads both.
func spell(config map[string]any) {
	if n, ok := config["num_local_experts"]; ok && config["model_type"] == "qwen3_moe" && config["num_experts"] == nil {
		config["num_experts"] = n
	}
	rope, ok := config["rope_parameters"].(map[string]any)
	if !ok || config["rope_theta"] != nil || rope["rope_theta"] == nil {
		return
	}
	config["rope_theta"] = rope["rope_theta"]
	if kind := rope["rope_type"]; config["rope_scaling"] == nil && kind != nil && kind != "default" {
		config["rope_scaling"] = rope
	}
}

// quantizationOf describes formats as config.json does: the commonest one, and
// each module that has another. nil when there are none.
func quantizationOf(written map[string]quant.Format) map[string]any {
	count := map[quant.Format]int{}
	var common quant.Format
	for _, module := range sortedKeys(written) {
		f := written[module]
		f.DType = 0 // that of the tensors
		if count[f]++; count[f] > count[common] {
			common = f
		}
	}
	if len(count) == 0 {
		return nil
	}
	q := quantizationSetting(common)
	for module, f := range written {
		if f.DType = 0; f != common {
			q[module] = quantizationSetting(f)
		}
	}
	return q
}

// recipeSettings describes the formats of a recipe as mlx-lm does: the one that
// was asked for, though no module may have it, and that of each module.
func recipeSettings(asked quant.Format, written map[string]quant.Format) map[string]any {
	q := quantizationSetting(asked)
	for module, f := range written {
		q[module] = quantizationSetting(f)
	}
	return q
}

func quantizationSetting(f quant.Format) map[string]any {
	return map[string]any{"group_size": f.Group, "bits": f.Bits, "mode": f.Mode()}
}

func sortedKeys(m map[string]quant.Format) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// nameScaling replaces the table of factors that a GGUF file has by the
// settings of Llama 3 that make it, the form that others read.
func (c *conversion) nameScaling(config map[string]any) error {
	if c.facts.Scaling.Kind() != "gguf_factors" {
		return nil
	}
	factor := math.Round(float64(slices.Max(c.facts.RopeFactors)))
	for _, old := range []int{8192, 4096, 16384, 32768, 2048} {
		scaling := map[string]any{"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
			"original_max_position_embeddings": old}
		config["rope_scaling"] = scaling
		text, err := json.Marshal(config)
		if err != nil {
			return err
		}
		trial, err := model.ParseConfig(text, "config.json")
		if err != nil {
			return err
		}
		facts, err := trial.Facts()
		if err == nil && sameFactors(facts.RopeFactors, c.facts.RopeFactors) {
			return nil
		}
	}
	return fmt.Errorf("%s: rope_freqs.weight is not the scaling of Llama 3, and config.json has no other name for it", c.src.Path())
}

func sameFactors(a, b []float32) bool {
	const rounding = 1e-4 // converters compute the table in float32
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Abs(float64(x/y)-1) < rounding })
}

// generationEOS is the eos_token_id of generation_config.json, which wins over
// that of config.json.
func (c *conversion) generationEOS() any {
	text, err := weights.ReadFile(filepath.Join(c.src.Path(), "generation_config.json"))
	if err != nil {
		return nil
	}
	var g struct {
		EOS any `json:"eos_token_id"`
	}
	if json.Unmarshal(text, &g) != nil {
		return nil // mlx-lm ignores it too
	}
	return g.EOS
}

// card is a short README for the folder; an upload tells more.
func (c *conversion) card() []byte {
	card := hub.Card{Repo: filepath.Base(c.options.SavePath), BaseModel: c.options.BaseModel, Tool: "lentil",
		Settings: []hub.CardRow{{Name: "Bits per weight", Value: fmt.Sprintf("%.3f", c.report.BitsPerWeight)}}}
	return card.Update(nil)
}
