package export

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// A GGUFType is a way to store the matrices of a GGUF file, see
// [ParseGGUFType]. Norms and biases are F32 in all of them.
type GGUFType struct {
	name     string
	fileType uint32           // general.file_type: llama_ftype of llama.cpp
	base     weights.GGUFType // of most matrices
	mixed    bool             // some of attn_v and ffn_down get Q6_K
}

func (t GGUFType) String() string { return t.name }

var ggufTypes = []GGUFType{
	{name: "F32", fileType: 0, base: weights.GGUFType{DType: quant.F32}},
	{name: "F16", fileType: 1, base: weights.GGUFType{DType: quant.F16}},
	{name: "BF16", fileType: 32, base: weights.GGUFType{DType: quant.BF16}},
	{name: "Q8_0", fileType: 7, base: weights.GGUFType{Block: quant.BlockQ8_0}},
	{name: "Q4_0", fileType: 2, base: weights.GGUFType{Block: quant.BlockQ4_0}},
	{name: "Q4_1", fileType: 3, base: weights.GGUFType{Block: quant.BlockQ4_1}},
	{name: "Q4_K_M", fileType: 15, base: weights.GGUFType{Block: quant.BlockQ4K}, mixed: true},
	{name: "Q5_K_M", fileType: 17, base: weights.GGUFType{Block: quant.BlockQ5K}, mixed: true},
	{name: "Q6_K", fileType: 18, base: weights.GGUFType{Block: quant.BlockQ6K}},
}

// ParseGGUFType returns the type of a name such as "Q4_K_M", in any case.
func ParseGGUFType(name string) (GGUFType, error) {
	var known []string
	for _, t := range ggufTypes {
		if strings.EqualFold(t.name, name) {
			return t, nil
		}
		known = append(known, t.name)
	}
	return GGUFType{}, fmt.Errorf("GGUF type %q is not one of %s", name, strings.Join(known, ", "))
}

// GGUFOptions choose what GGUF writes.
type GGUFOptions struct {
	Path      string // of the file
	Overwrite bool   // it may be there
	Modelfile bool   // write one for Ollama beside it
	Type      GGUFType
	Name      string                               // general.name; "" for the name of the source
	Model     *model.Model                         // loaded from the source: its adapters and trained weights go into the file; nil for the source as it is
	Progress  func(tensor string, done, total int) // may be nil
	Stop      func() error                         // asked before each tensor; its error ends the work. May be nil
}

// GGUFReport sums up an export.
type GGUFReport struct {
	Path       string         `json:"path"`
	Modelfile  string         `json:"-"`     // its path, if one was asked for
	Bytes      int64          `json:"bytes"` // of tensors
	Parameters int64          `json:"parameters"`
	Types      map[string]int `json:"types"`               // tensors by type
	LostEnds   []string       `json:"lost_ends,omitempty"` // tokens that end an answer, but not in llama.cpp: it has no more places for them
	Window     int            `json:"window,omitempty"`    // the context length, where windows that llama.cpp does not have make it shorter than the model's; else 0
	Whole      []string       `json:"-"`                   // matrices whose rows do not divide into the type's blocks
}

// GGUF writes the model of src with its tokenizer as one GGUF file for
// llama.cpp and the programs around it. Weights that are quantized already
// stay as near as the type allows, see [quant.ToBlocks]. The file is read back
// before it is reported as written.
func GGUF(src weights.Source, tok *tokenizer.Tokenizer, o GGUFOptions) (GGUFReport, error) {
	report := GGUFReport{Path: o.Path, Types: map[string]int{}}
	if err := CheckGGUFPath("gguf_path", src.Path(), o); err != nil {
		return report, err
	}
	c, err := model.ReadConfig(src)
	if err != nil {
		return report, err
	}
	if o.Name == "" {
		o.Name = filepath.Base(strings.TrimRight(src.Path(), "/"))
	}
	g := &ggufExport{src: src, config: c, options: o, report: &report}
	if g.arch, err = c.Architecture(); err != nil {
		return report, fmt.Errorf("%s: %w", src.Path(), err)
	}
	if g.metadata, err = g.settings(); err != nil {
		return report, fmt.Errorf("%s: %w", src.Path(), err)
	}
	words, err := tok.GGUF(c.VocabSize)
	if err != nil {
		return report, fmt.Errorf("%s: %w", src.Path(), err)
	}
	for k, v := range words {
		g.metadata[k] = v
	}
	g.endTokens(tok)
	if err := g.collectAdapters(); err != nil {
		return report, err
	}
	if err := g.collect(); err != nil {
		return report, fmt.Errorf("%s: %w", src.Path(), err)
	}
	return report, g.write(tok)
}

// ggufExport is the state of one GGUF.
type ggufExport struct {
	src      weights.Source
	config   *model.Config
	arch     model.Architecture
	options  GGUFOptions
	metadata map[string]any
	entries  []weights.GGUFEntry
	adapters map[string]*nn.LoRA // by module
	family   weights.GGUFFamily
	report   *GGUFReport
}

// collect lists the tensors to write: first those outside of the blocks, then
// block by block.
func (g *ggufExport) collect() error {
	names := slices.DeleteFunc(slices.Clone(g.src.Names()), func(name string) bool {
		return strings.HasSuffix(name, ".scales") || strings.HasSuffix(name, ".biases") || model.Unused(name, g.arch.Tied)
	})
	slices.SortStableFunc(names, func(a, b string) int { return layerOf(a) - layerOf(b) })
	if g.metadata[ropeFactorsKey] != nil {
		delete(g.metadata, ropeFactorsKey)
		factors := g.arch.RopeFactors
		g.add(weights.FloatTensor("rope_freqs.weight", factors, len(factors)).GGUF(), int64(len(factors)))
	}
	for i, name := range names {
		if err := g.tensor(name, i, len(names)); err != nil {
			return err
		}
	}
	return nil
}

// layerOf is the number of the block that a tensor is in, -1 for none.
func layerOf(name string) int {
	n := -1
	if rest, ok := strings.CutPrefix(name, "model.layers."); ok {
		fmt.Sscanf(rest, "%d.", &n)
	}
	return n
}

func (g *ggufExport) add(e weights.GGUFEntry, elements int64) {
	g.entries = append(g.entries, e)
	g.report.Types[e.Type.String()]++
	g.report.Parameters += elements
	perBlock, size := int64(1), int64(e.Type.DType.Size())
	if e.Type.DType == 0 {
		perBlock, size = int64(e.Type.Block.Elements()), int64(e.Type.Block.Bytes())
	}
	g.report.Bytes += elements / perBlock * size
}

// tensor adds one tensor of the source.
func (g *ggufExport) tensor(name string, done, total int) error {
	to, ok := weights.GGUFName(name)
	if !ok {
		return fmt.Errorf("tensor %q has no place in a GGUF file of this architecture", name)
	}
	heads := g.pairedHeads(name)
	module, isWeight := strings.CutSuffix(name, ".weight")
	if _, stack := weights.ExpertTensor(name, 0); !stack {
		t, ok := g.src.Tensor(name)
		if ok && len(t.Shape) == 1 {
			return g.addVector(to, t, heads)
		}
		if !isWeight {
			return fmt.Errorf("tensor %q has shape %v, expected 1 dimension", name, t.Shape)
		}
	}
	m, err := g.outline(module)
	if err != nil {
		return err
	}
	if err := g.checkStack(module, m); err != nil {
		return err
	}
	shape, kind := m.Shape(), g.kindOf(module, m.Cols, m.Experts == 0 && g.keepsIntegers(m) && g.adapters[module] == nil)
	elements := int64(1)
	for _, n := range shape {
		elements *= int64(n)
	}
	g.add(weights.GGUFEntry{Name: to, Type: kind, Shape: shape, Bytes: func() ([]byte, error) {
		if err := asked(g.options.Stop); err != nil {
			return nil, err
		}
		if g.options.Progress != nil {
			g.options.Progress(to, done+1, total)
		}
		data, err := g.encode(module, kind)
		if err == nil && heads > 0 {
			data = weights.JoinPairs(data, shape[0], heads)
		}
		return data, err
	}}, elements)
	return nil
}

// addVector adds a norm or bias, as float32 numbers.
func (g *ggufExport) addVector(to string, t weights.Tensor, heads int) error {
	values, err := g.vector(t)
	if err != nil {
		return err
	}
	if heads > 0 {
		values = weights.JoinPairs(values, len(values), heads)
	}
	g.add(weights.FloatTensor(to, values, len(values)).GGUF(), int64(len(values)))
	return nil
}

// checkStack refuses experts of other sizes than config.json says.
func (g *ggufExport) checkStack(module string, m *quant.Matrix) error {
	x := g.arch.Experts
	switch {
	case m.Experts == 0:
		return nil
	case x.Count == 0:
		return fmt.Errorf("%s has experts, but config.json has none", module)
	}
	want := []int{x.Count, x.Width, g.config.HiddenSize}
	if strings.HasSuffix(module, ".down_proj") {
		want = []int{x.Count, g.config.HiddenSize, x.Width}
	}
	if !slices.Equal(m.Shape(), want) {
		return fmt.Errorf("%s is %v, config.json says %v: weights and config belong to different models", module, m.Shape(), want)
	}
	return nil
}

// pairedHeads is the number of heads of a tensor whose rows are to be brought
// into rotated pairs, 0 for all others.
func (g *ggufExport) pairedHeads(name string) int {
	if g.config.RopeTraditional { // the rows lie in pairs already
		return 0
	}
	return g.family.PairedHeads(name, g.config.NumAttentionHeads, g.arch.KVHeads)
}

// encodeMatrix stores a matrix as numbers or blocks.
func encodeMatrix(m *quant.Matrix, kind weights.GGUFType) ([]byte, error) {
	if kind.DType == 0 {
		return quant.ToBlocks(kind.Block, m)
	}
	dense := quant.Format{Kind: quant.Dense, DType: kind.DType}
	if m.Format != dense {
		var err error
		if m, err = m.Requantize(dense, kind.DType, 0); err != nil {
			return nil, err
		}
	}
	return m.Data, nil
}

// kindOf chooses the type of one matrix of cols columns as llama.cpp's quantizer
// does; kept says that the file's main type takes it as it is. Rows that do not
// divide into blocks take the next best type.
func (g *ggufExport) kindOf(module string, cols int, kept bool) weights.GGUFType {
	if strings.HasSuffix(module, ".gate") { // a router
		return weights.GGUFType{DType: quant.F32}
	}
	kind := g.options.Type.base
	if kind.DType != 0 {
		return kind
	}
	is := func(name string) bool { return strings.HasSuffix(module, name) }
	more := g.options.Type.mixed && moreBitsForLayer(layerOf(module), g.config.NumHiddenLayers)
	// With 8 experts attention is a small part of the model, though as large as in a dense one.
	eight := g.arch.Experts.Count == 8
	switch {
	case module == "lm_head" || g.arch.Tied && module == "model.embed_tokens":
		if kind.Block != quant.BlockQ8_0 && !kept {
			kind.Block = quant.BlockQ6K
		}
	case eight && (is(".v_proj") || is(".k_proj")):
		if !kept {
			kind.Block = quant.BlockQ8_0
		}
	case eight && is(".o_proj") && kind.Block == quant.BlockQ4K:
		kind.Block = quant.BlockQ5K
	case more && (is(".v_proj") || is(".down_proj")):
		kind.Block = quant.BlockQ6K
	}
	for cols%kind.Block.Elements() != 0 {
		smaller, ok := map[quant.BlockType]quant.BlockType{
			quant.BlockQ4K: quant.BlockQ5_0, quant.BlockQ5K: quant.BlockQ5_1, quant.BlockQ6K: quant.BlockQ8_0,
		}[kind.Block]
		g.report.Whole = append(g.report.Whole, module)
		if !ok {
			return weights.GGUFType{DType: quant.F16}
		}
		kind.Block = smaller
	}
	return kind
}

// keepsIntegers tells that a matrix passes into the file's main type without a
// second rounding.
func (g *ggufExport) keepsIntegers(m *quant.Matrix) bool {
	return m.Format.Kind == quant.Affine && m.Format.Bits <= 4 && g.options.Type.base.Block.Elements() == 32
}

// moreBitsForLayer tells which layers get the better type in mixtures: the
// first and last eighth, and every third between.
func moreBitsForLayer(i, layers int) bool {
	return i < layers/8 || i >= 7*layers/8 || (i-layers/8)%3 == 2
}

// write makes the file, which gets its name when it has been read back and says what the
// source says, together with the Modelfile.
func (g *ggufExport) write(tok *tokenizer.Tokenizer) error {
	path := g.options.Path
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return g.writeThrough(tok)
	}
	set, err := atomicfile.Begin(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer set.Discard()
	written := filepath.Join(set.Dir(), filepath.Base(path))
	if err := weights.WriteGGUF(written, g.metadata, g.entries); err != nil {
		return err
	}
	if err := g.check(written); err != nil {
		return fmt.Errorf("%s: reading back what was written: %w", path, err)
	}
	if g.options.Modelfile {
		if _, err := WriteModelfile(written, g.src.Path(), g.src.Config(), tok); err != nil {
			return err
		}
		g.report.Modelfile = filepath.Join(filepath.Dir(path), modelfileName)
	}
	return set.Commit()
}

// writeThrough writes to where a link leads, or into a pipe or device, which keeps its name.
func (g *ggufExport) writeThrough(tok *tokenizer.Tokenizer) (err error) {
	path := g.options.Path
	if err := weights.WriteGGUF(path, g.metadata, g.entries); err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		if err := g.check(path); err != nil {
			return fmt.Errorf("%s: reading back what was written: %w", path, err)
		}
	}
	if g.options.Modelfile {
		g.report.Modelfile, err = WriteModelfile(path, g.src.Path(), g.src.Config(), tok)
	}
	return err
}

// CheckGGUFPath is CheckPath for the files that GGUF writes.
func CheckGGUFPath(setting fault.Setting, from string, o GGUFOptions) error {
	if err := CheckPath(setting, o.Path, from, o.Overwrite); err != nil || !o.Modelfile {
		return err
	}
	return CheckPath(setting, filepath.Join(filepath.Dir(o.Path), modelfileName), from, o.Overwrite)
}

// CheckPath refuses to write a model to where the one that it is made from is read and, unless overwrite is set, to
// where something is. setting is at fault then.
func CheckPath(setting fault.Setting, path, from string, overwrite bool) error {
	switch {
	case path == "":
		return fault.Missing(setting)
	case same(path, from):
		return fault.At(setting, "%s is where the model is read from", path).Try("Give another name.")
	case overwrite:
		return nil
	}
	return atomicfile.Vacant(setting, path)
}

// check compares the model that a file holds with the source.
func (g *ggufExport) check(path string) error {
	back, err := weights.OpenGGUF(path)
	if err != nil {
		return err
	}
	defer back.Close()
	if _, err := tokenizer.FromGGUF(back.Metadata()); err != nil {
		return err
	}
	c, err := model.ParseConfig(back.Config(), "config")
	if err != nil {
		return err
	}
	arch, err := c.Architecture()
	if err != nil {
		return err
	}
	was := []any{g.config.HiddenSize, g.config.NumHiddenLayers, g.config.IntermediateSize, g.config.NumAttentionHeads, g.config.VocabSize,
		g.arch.KVHeads, g.arch.HeadDim, g.arch.Tied, g.arch.NoRope, make([]int, g.config.NumHiddenLayers), g.arch.Experts}
	is := []any{c.HiddenSize, c.NumHiddenLayers, c.IntermediateSize, c.NumAttentionHeads, c.VocabSize,
		arch.KVHeads, arch.HeadDim, arch.Tied, arch.NoRope, arch.Windows, arch.Experts}
	if !reflect.DeepEqual(is, was) {
		return fmt.Errorf("sizes %v, expected %v", is, was)
	}
	if !sameFactors([]float32{float32(arch.Theta), arch.RopeScale, float32(c.RMSNormEps)}, []float32{float32(g.arch.Theta), g.arch.RopeScale, float32(g.config.RMSNormEps)}) ||
		!sameFactors(arch.RopeFactors, g.arch.RopeFactors) {
		return fmt.Errorf("rotary frequencies %g × %.5g or epsilon %g, expected %g × %.5g, %g",
			arch.Theta, arch.RopeFactors, c.RMSNormEps, g.arch.Theta, g.arch.RopeFactors, g.config.RMSNormEps)
	}
	return nil
}
