// Package adapter reads, writes, converts, merges and attaches LoRA and DoRA
// adapters, and reads and writes the weights of full fine-tuning. It knows three
// layouts: mlx-lm's folders, those of Hugging Face's PEFT, and llama.cpp's GGUF files.
package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// Update is the low-rank update of one projection: y += Scale·(x A) B, and with
// DoRA the lengths that the rows of the updated weight get. With Experts it is one
// for each matrix of a stack.
type Update struct {
	Module        string // "model.layers.0.self_attn.q_proj"
	Experts       int    // 0 for an ordinary projection
	In, Out, Rank int
	A             []float32 // [In, Rank], or [Experts, In, Rank]
	B             []float32 // [Rank, Out], or [Experts, Rank, Out]
	Scale         float32
	Magnitude     []float32 // [Out]; nil without DoRA
}

// Adapter is a LoRA or DoRA adapter in memory, apart from any model.
type Adapter struct {
	Layout  string // "mlx-lm", "PEFT" or "llama.cpp"
	Dropout float32
	Base    string   // the model it was trained on, if the files say so
	Updates []Update // sorted by Module

	// Copies are embeddings or heads of the base that PEFT put beside an adapter
	// which changes them. They have to be the model's own.
	Copies []weights.Tensor

	architecture string // llama.cpp's, until FitTo has been called
	held         int    // numbers in the file, without the zeros that were added
	experts      int    // matrices in its stacks, if it has those of single experts
	partial      bool   // not of all, so that FitTo may have to add some
}

// Read reads the LoRA adapter of a folder in mlx-lm's or PEFT's layout, or of a
// GGUF file, which needs [Adapter.FitTo] before use.
func Read(dir string) (*Adapter, error) {
	if isGGUF(dir) {
		return readGGUF(dir)
	}
	if isPEFT(dir) {
		return readPEFT(dir)
	}
	c, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	if c.FineTuneType == "full" {
		return nil, fmt.Errorf("%s: fine_tune_type is %q: these are whole weights, not a LoRA; put them into the model with: lentil fuse", filepath.Join(dir, ConfigFile), c.FineTuneType)
	}
	var base struct {
		Model string `json:"model"`
	}
	if data, err := weights.ReadFile(filepath.Join(dir, ConfigFile)); err == nil {
		json.Unmarshal(data, &base) // readConfig has checked it
	}
	f := &Adapter{Layout: "mlx-lm", Dropout: c.LoRA.Dropout, Base: base.Model}
	return f, f.read(filepath.Join(dir, File), loraLayout{a: ".lora_a", b: ".lora_b", m: ".m", dora: c.dora(),
		scale: func(string, int) float32 { return c.LoRA.Scale }})
}

// DoRA tells whether the adapter has magnitudes.
func (f *Adapter) DoRA() bool {
	return slices.ContainsFunc(f.Updates, func(u Update) bool { return u.Magnitude != nil })
}

// loraLayout is how a file names its tensors, and what its config says of them.
type loraLayout struct {
	a, b, m    string // what follows the module
	clean      func(name string) string
	transposed bool // Aᵀ and Bᵀ
	dora       bool
	scale      func(module string, rank int) float32
}

// read takes the matrices and magnitudes out of a file.
func (f *Adapter) read(path string, layout loraLayout) error {
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		return err
	}
	defer file.Close()
	pairs := pairsOf{path: path, transposed: layout.transposed, at: map[string]*Update{}}
	for _, name := range file.Names() {
		x, _ := file.Tensor(name)
		clean := name
		if layout.clean != nil {
			clean = layout.clean(name)
		}
		if module, ok := strings.CutSuffix(clean, layout.m); ok && layout.dora {
			if err := pairs.magnitude(module, x); err != nil {
				return err
			}
			continue
		}
		module, isA := strings.CutSuffix(clean, layout.a)
		ok := isA
		if !isA {
			module, ok = strings.CutSuffix(clean, layout.b)
		}
		if of, copied := baseCopy(name); !ok && copied && layout.transposed {
			x.Name, x.Data = of, slices.Clone(x.Data)
			f.Copies = append(f.Copies, x)
			continue
		}
		if !ok {
			return fmt.Errorf("%s: tensor %q is no part of a %s; embeddings and whole modules beside it are not supported", path, name, kindOf(layout.dora))
		}
		stack := len(x.Shape) == 3 && !layout.transposed
		if len(x.Shape) != 2 && !stack || !x.DType.IsWeight() || len(x.Data) == 0 {
			return fmt.Errorf("%s: tensor %q is %v %v, expected floating-point numbers in 2 dimensions", path, name, x.DType, x.Shape)
		}
		values := make([]float32, len(x.Data)/x.DType.Size())
		quant.Floats(values, x.Data, x.DType)
		if err := pairs.add(module, isA, name, x.Shape, values); err != nil {
			return err
		}
	}
	for module, u := range pairs.at {
		if layout.dora && u.A != nil && u.B != nil && len(u.Magnitude) != u.Out {
			return fmt.Errorf("%s: %s is a DoRA from %d to %d with %d magnitudes, expected %d", path, module, u.In, u.Out, len(u.Magnitude), u.Out)
		}
	}
	return f.take(pairs, layout.scale)
}

// Kind is LoRA or DoRA.
func (f *Adapter) Kind() string { return kindOf(f.DoRA()) }

// kindOf names an adapter.
func kindOf(dora bool) string {
	if dora {
		return "DoRA"
	}
	return "LoRA"
}

// pairsOf collects the two matrices of each module.
type pairsOf struct {
	path       string
	transposed bool
	at         map[string]*Update
}

// of is the update of a module.
func (p *pairsOf) of(module string) *Update {
	u := p.at[module]
	if u == nil {
		u = &Update{Module: module}
		p.at[module] = u
	}
	return u
}

// magnitude puts the lengths of a DoRA in their place.
func (p *pairsOf) magnitude(module string, x weights.Tensor) error {
	if len(x.Shape) != 1 || !x.DType.IsWeight() || x.Shape[0] == 0 {
		return fmt.Errorf("%s: tensor %q is %v %v, expected floating-point numbers in 1 dimension", p.path, x.Name, x.DType, x.Shape)
	}
	u := p.of(module)
	u.Magnitude = make([]float32, x.Shape[0])
	quant.Floats(u.Magnitude, x.Data, x.DType)
	return nil
}

// add puts a matrix, or the stack of one for each expert, in its place. Those of
// experts are [experts, rank, in] and [experts, out, rank], transposed.
func (p *pairsOf) add(module string, isA bool, name string, shape []int, values []float32) error {
	experts, transposed := 0, p.transposed
	if len(shape) == 3 {
		experts, shape, transposed = shape[0], shape[1:], true
	}
	rows, cols := shape[0], shape[1]
	if transposed {
		values, rows, cols = transposeEach(values, rows, cols), cols, rows
	}
	u := p.of(module)
	rank := cols
	if isA {
		u.A, u.In = values, rows
	} else {
		u.B, u.Out, rank = values, cols, rows
	}
	if rank > maxRank {
		return fmt.Errorf("%s: tensor %q is %v: a LoRA of rank %d, expected at most %d", p.path, name, shape, rank, maxRank)
	}
	if u.Rank != 0 && u.Rank != rank {
		return fmt.Errorf("%s: tensor %q is %v, which does not fit rank %d of the other of the two", p.path, name, shape, u.Rank)
	}
	if u.Rank != 0 && u.Experts != experts {
		return fmt.Errorf("%s: tensor %q is for %d experts, the other of the two for %d", p.path, name, experts, u.Experts)
	}
	u.Rank, u.Experts = rank, experts
	return nil
}

// take makes the updates of f of whole pairs.
func (f *Adapter) take(p pairsOf, scale func(module string, rank int) float32) error {
	for module, u := range p.at {
		if u.A == nil || u.B == nil {
			return fmt.Errorf("%s: %s has only one of the two matrices of a LoRA", p.path, module)
		}
		if strings.HasSuffix(strings.TrimSuffix(module, ".base_layer"), ".experts") {
			return fmt.Errorf("%s: %s has a LoRA of PEFT's target_parameters, which is not supported: %s", p.path, module, parametersRemedy)
		}
		u.Scale = scale(module, u.Rank)
		f.held += len(u.A) + len(u.B)
		f.Updates = append(f.Updates, *u)
	}
	if len(f.Updates) == 0 {
		return fmt.Errorf("%s: there is no tensor in it", p.path)
	}
	if err := f.stackExperts(); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	slices.SortFunc(f.Updates, func(a, b Update) int { return strings.Compare(a.Module, b.Module) })
	for i, u := range f.Updates[1:] {
		if u.Module == f.Updates[i].Module {
			return fmt.Errorf("%s: it has a LoRA for %s, and so for the experts that this consists of", p.path, u.Module)
		}
	}
	return nil
}

// transposeEach transposes matrices [rows, cols] that lie one behind the other.
func transposeEach(x []float32, rows, cols int) []float32 {
	out := make([]float32, len(x))
	for at := 0; at < len(x); at += rows * cols {
		for r := range rows {
			for c := range cols {
				out[at+c*rows+r] = x[at+r*cols+c]
			}
		}
	}
	return out
}

// Common is the rank and scale that Uniform gives all updates.
func (f *Adapter) Common() (rank int, scale float32) {
	scale = f.Updates[0].Scale
	for _, u := range f.Updates {
		rank = max(rank, u.Rank)
		if u.Scale != scale {
			scale = 1
		}
	}
	return rank, scale
}

// Uniform makes all updates of one rank and scale, which is what the files have
// one field for: narrower ones get zeros, and other scales go into B. What the
// updates amount to stays the same.
func (f *Adapter) Uniform() (rank int, scale float32) {
	rank, scale = f.Common()
	for i := range f.Updates {
		u := &f.Updates[i]
		u.widen(rank)
		if u.Scale != scale {
			for j := range u.B {
				u.B[j] *= u.Scale / scale
			}
			u.Scale = scale
		}
	}
	return rank, scale
}

// Transposed returns Aᵀ, [Rank, In], and Bᵀ, [Out, Rank]: the layout of PEFT and
// llama.cpp, and of mlx-lm for experts. Those of a stack lie one behind the other.
func (u *Update) Transposed() (a, b []float32) {
	return transposeEach(u.A, u.In, u.Rank), transposeEach(u.B, u.Rank, u.Out)
}

// Shape is that of the projection, as quant.Matrix.Shape.
func (u *Update) Shape() []int { return stackShape(u.Experts, u.Out, u.In) }

// stackShape is [rows, cols], with the experts in front if there are any.
func stackShape(experts, rows, cols int) []int {
	if experts > 0 {
		return []int{experts, rows, cols}
	}
	return []int{rows, cols}
}

// ready tells whether rows are in order.
func (f *Adapter) ready() error {
	if f.architecture != "" && f.needsModel() {
		return fault.At("model", "the adapter is for llama.cpp's architecture %q, whose rows lie in the order of its heads", f.architecture).Try("Name the base model too.")
	}
	return nil
}

// widen adds columns of zeros to A and rows of zeros to B.
func (u *Update) widen(rank int) {
	if rank == u.Rank {
		return
	}
	n := max(u.Experts, 1)
	a, b := make([]float32, n*u.In*rank), make([]float32, n*rank*u.Out)
	for i := range n * u.In {
		copy(a[i*rank:], u.A[i*u.Rank:(i+1)*u.Rank])
	}
	for i := range n {
		copy(b[i*rank*u.Out:], u.B[i*u.Rank*u.Out:(i+1)*u.Rank*u.Out])
	}
	u.A, u.B, u.Rank = a, b, rank
}

// WriteMLX writes the adapter into a folder as mlx-lm reads it.
func (f *Adapter) WriteMLX(dir string) error {
	if err := f.ready(); err != nil {
		return err
	}
	if f.partial {
		return fault.At("model", "the adapter changes some experts only, and mlx-lm's files have all").Try("Name the base model too.")
	}
	rank, scale := f.Uniform()
	var keys []string
	var tensors []weights.Tensor
	for _, u := range f.Updates {
		keys = append(keys, u.Module)
		if u.Experts > 0 {
			a, b := u.Transposed()
			tensors = append(tensors, floatTensor(u.Module+".lora_a", a, u.Experts, rank, u.In), floatTensor(u.Module+".lora_b", b, u.Experts, u.Out, rank))
			continue
		}
		tensors = append(tensors, floatTensor(u.Module+".lora_a", u.A, u.In, rank), floatTensor(u.Module+".lora_b", u.B, rank, u.Out))
		if u.Magnitude != nil {
			tensors = append(tensors, floatTensor(u.Module+".m", u.Magnitude, u.Out))
		}
	}
	return writeAdapter(dir, File, tensors, map[string]any{
		"fine_tune_type": strings.ToLower(f.Kind()), "model": f.Base, "num_layers": -1,
		// Whole paths as keys: they are looked for in the whole model.
		"lora_parameters": map[string]any{"rank": rank, "scale": scale, "dropout": f.Dropout, "keys": keys},
	})
}

// WritePEFT writes the adapter into a folder as PEFT reads it, with a LoRA for each
// expert of a stack, as it makes them with transformers 4.
func (f *Adapter) WritePEFT(dir string) error {
	if err := f.ready(); err != nil {
		return err
	}
	rank, scale := f.Uniform()
	var targets []string
	var tensors []weights.Tensor
	for _, u := range f.Updates {
		a, b := u.Transposed()
		for i := range max(u.Experts, 1) {
			module := u.Module
			if u.Experts > 0 {
				var known bool
				if module, known = expertModule(u.Module, i); !known {
					return fmt.Errorf("%s: PEFT has no name for this stack of experts; write the layout of mlx-lm", u.Module)
				}
			}
			targets = append(targets, module)
			tensors = append(tensors,
				floatTensor(peftPrefix+module+".lora_A.weight", a[i*rank*u.In:(i+1)*rank*u.In], rank, u.In),
				floatTensor(peftPrefix+module+".lora_B.weight", b[i*u.Out*rank:(i+1)*u.Out*rank], u.Out, rank))
		}
		if u.Magnitude != nil {
			tensors = append(tensors, floatTensor(peftPrefix+u.Module+peftMagnitude, u.Magnitude, u.Out))
		}
	}
	return writeAdapter(dir, PEFTFile, tensors, map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": f.Base, "r": rank,
		"lora_alpha": float32(rank) * scale, "lora_dropout": f.Dropout, "target_modules": targets,
		"bias": "none", "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
		"modules_to_save": nil, "use_rslora": false, "use_dora": f.DoRA(),
	})
}

func floatTensor(name string, values []float32, shape ...int) weights.Tensor {
	data := make([]byte, 4*len(values))
	quant.PutFloats(data, values, quant.F32)
	return weights.Tensor{Name: name, DType: quant.F32, Shape: shape, Data: data}
}

// writeAdapter writes weights and config; a folder that holds an adapter is left
// alone.
func writeAdapter(dir, name string, tensors []weights.Tensor, config map[string]any) error {
	for _, there := range []string{File, PEFTFile, ConfigFile} {
		if _, err := os.Lstat(filepath.Join(dir, there)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s holds %s already: give another folder", dir, there)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	metadata := map[string]string(nil)
	if name == PEFTFile {
		metadata = map[string]string{"format": "pt"} // transformers insists on it
	}
	text, err := json.MarshalIndent(config, "", "    ")
	if err != nil {
		return err
	}
	if err := weights.WriteSafetensors(filepath.Join(dir, name), tensors, metadata); err != nil {
		return err
	}
	// The weights first: a folder with a config is a whole adapter.
	return weights.WriteFile(filepath.Join(dir, ConfigFile), append(text, '\n'))
}

// Merge adds adapters up, each times its weight. The ranks add up too, so
// nothing is lost.
func Merge(files []*Adapter, weight []float32) (*Adapter, error) {
	if len(files) == 0 || len(files) != len(weight) {
		return nil, fmt.Errorf("%d adapters, %d weights", len(files), len(weight))
	}
	out := &Adapter{Layout: files[0].Layout, Base: files[0].Base}
	for i, f := range files {
		if f.DoRA() {
			return nil, fmt.Errorf("adapter %d of %d is a DoRA, whose magnitudes do not add up: put it into the base model with lentil fuse, and train or attach the others there", i+1, len(files))
		}
		out.Copies = append(out.Copies, f.Copies...)
		out.held, out.experts, out.partial = out.held+f.held, max(out.experts, f.experts), out.partial || f.partial
	}
	at := map[string]*Update{}
	for i, f := range files {
		if err := f.ready(); err != nil {
			return nil, err
		}
		for _, u := range f.Updates {
			sum := at[u.Module]
			if sum == nil {
				sum = &Update{Module: u.Module, Experts: u.Experts, In: u.In, Out: u.Out, Scale: 1}
				at[u.Module] = sum
			}
			if !slices.Equal(sum.Shape(), u.Shape()) {
				return nil, fmt.Errorf("%s: for %v in one adapter, for %v in another: they belong to different models", u.Module, sum.Shape(), u.Shape())
			}
			old := sum.Rank
			sum.widen(old + u.Rank)
			if sum.Rank > maxRank {
				return nil, fmt.Errorf("%s: the ranks add up to %d, more than %d", u.Module, sum.Rank, maxRank)
			}
			for r := range max(u.Experts, 1) * u.In {
				copy(sum.A[r*sum.Rank+old:(r+1)*sum.Rank], u.A[r*u.Rank:])
			}
			for j, b := range u.B {
				e := j / (u.Rank * u.Out) // each expert's rows come behind those it has
				sum.B[(e*sum.Rank+old)*u.Out+j%(u.Rank*u.Out)] = b * u.Scale * weight[i]
			}
		}
	}
	for _, u := range at {
		out.Updates = append(out.Updates, *u)
	}
	slices.SortFunc(out.Updates, func(a, b Update) int { return strings.Compare(a.Module, b.Module) })
	return out, out.checkSpread()
}
