package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/quant"
)

const (
	configName = "config.json"
	indexName  = "model.safetensors.index.json"
	// maxJSON caps config.json and the index. Real ones have kilobytes.
	maxJSON = 64 << 20
)

// folder is a Source over a directory of safetensors files.
type folder struct {
	path         string
	config       []byte
	quantization quantization
	files        []*Safetensors
	tensors      map[string]Tensor
	stacks       map[string][]Tensor // experts of stacked tensors, stored apart
}

func openFolder(dir string) (_ *folder, err error) {
	f := &folder{path: dir, tensors: map[string]Tensor{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all, shards []string
	for _, e := range entries {
		all = append(all, e.Name())
		if strings.HasPrefix(e.Name(), "model") && strings.HasSuffix(e.Name(), ".safetensors") {
			shards = append(shards, e.Name())
		}
	}
	if len(shards) == 0 || !slices.Contains(all, configName) {
		return nil, notAModel(dir, all, len(shards))
	}
	if f.config, err = readJSON(filepath.Join(dir, configName)); err != nil {
		return nil, err
	}
	if f.quantization, err = parseQuantization(f.config); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, configName), err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := f.merge(shards); err != nil {
		return nil, err
	}
	if err := f.checkShards(shards); err != nil {
		return nil, err
	}
	return f, f.stack()
}

// merge opens all files and joins their tensors.
func (f *folder) merge(shards []string) error {
	from := map[string]string{}
	for _, shard := range shards {
		s, err := OpenSafetensors(filepath.Join(f.path, shard))
		if err != nil {
			return err
		}
		f.files = append(f.files, s)
		for name, t := range s.tensors {
			if other, twice := from[name]; twice {
				return fmt.Errorf("%s: tensor %q is in both %s and %s; remove the file that does not belong to this model",
					f.path, name, other, shard)
			}
			from[name] = shard
			f.tensors[name] = t
		}
	}
	return nil
}

var shardName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.safetensors$`)

// checkShards reports a shard that is missing by the index, if there is one, or by the
// numbers in the names. An index left over from another save does no harm as long as
// every tensor in it is there.
func (f *folder) checkShards(shards []string) error {
	present := func(name string) bool {
		_, err := os.Stat(filepath.Join(f.path, name))
		return err == nil
	}
	path := filepath.Join(f.path, indexName)
	if present(indexName) {
		data, err := readJSON(path)
		if err != nil {
			return err
		}
		var index struct {
			WeightMap map[string]string `json:"weight_map"`
		}
		if err := json.Unmarshal(data, &index); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, name := range slices.Sorted(maps.Keys(index.WeightMap)) {
			shard := index.WeightMap[name]
			if _, ok := f.tensors[name]; !ok && !present(filepath.Base(shard)) {
				return fmt.Errorf("%s names %s, which is not there; download the model again", path, shard)
			}
		}
	}
	for _, shard := range shards {
		m := shardName.FindStringSubmatch(shard)
		if m == nil {
			continue
		}
		total, _ := strconv.Atoi(m[3])
		for i := 1; i <= total; i++ {
			want := fmt.Sprintf("%s-%05d-of-%s.safetensors", m[1], i, m[3])
			if !slices.Contains(shards, want) {
				return fmt.Errorf("%s: %s is there but %s is not; download the model again", f.path, shard, want)
			}
		}
	}
	return nil
}

// notAModel says what a folder lacks and why, judging by its other files.
func notAModel(dir string, files []string, shards int) error {
	if shards > 0 {
		return fmt.Errorf("%s has weights but no %s; copy it from the model's repository", dir, configName)
	}
	with := func(match func(name string) bool) string {
		if i := slices.IndexFunc(files, match); i >= 0 {
			return files[i]
		}
		return ""
	}
	suffix := func(s string) string {
		return with(func(name string) bool { return strings.HasSuffix(name, s) })
	}
	if name := suffix(".gguf"); name != "" {
		return fmt.Errorf("%s has no model*.safetensors; for the GGUF file in it give %s", dir, filepath.Join(dir, name))
	}
	if slices.Contains(files, "adapters.safetensors") {
		return fault.Of("%s holds an adapter, not a model", dir).Try("Give the base model here and this folder as %v.", fault.Setting("adapter_path"))
	}
	if name := with(func(name string) bool { return strings.HasPrefix(name, "consolidated") }); name != "" {
		return fmt.Errorf("%s has only %s, the original layout; take the repository's model*.safetensors files", dir, name)
	}
	for _, s := range []string{".bin", ".pth", ".pt", ".npz"} {
		if name := suffix(s); name != "" {
			return fmt.Errorf("%s has only %s, which is not read; take a version of the model in safetensors", dir, name)
		}
	}
	if name := suffix(".safetensors"); name != "" {
		return fmt.Errorf("%s has %s, but a model's files are named model*.safetensors", dir, name)
	}
	return fmt.Errorf("%s is not a model folder: expected %s and model*.safetensors", dir, configName)
}

// readJSON reads a file that holds one JSON object.
func readJSON(path string) ([]byte, error) {
	data, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	return data, checkJSON(path, data)
}

// ReadFile reads a settings file of a model or adapter, such as config.json. It refuses
// files that are too large, and what is not a regular file: a device may never end.
func ReadFile(path string) ([]byte, error) {
	return smallfile.Read(path, maxJSON)
}

func (f *folder) Config() []byte { return f.config }
func (f *folder) Path() string   { return f.path }

func (f *folder) Names() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(f.tensors)), maps.Keys(f.stacks))
	slices.Sort(names)
	return names
}

func (f *folder) Tensor(name string) (Tensor, bool) {
	return f.tensor(name, false)
}

// tensor is Tensor, but a stack has no data where only its outline is wanted.
func (f *folder) tensor(name string, outline bool) (Tensor, bool) {
	if t, ok := f.tensors[name]; ok {
		return t, true
	}
	return f.stacked(name, outline)
}

func (f *folder) Has(module string) bool {
	_, ok := f.tensors[module+".weight"]
	_, stacked := f.stacks[module+".weight"]
	return ok || stacked
}

func (f *folder) Close() error {
	var errs []error
	for _, s := range f.files {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (f *folder) Matrix(module string) (*quant.Matrix, error) { return f.matrix(module, false) }

func (f *folder) Outline(module string) (*quant.Matrix, error) { return f.matrix(module, true) }

func (f *folder) matrix(module string, outline bool) (*quant.Matrix, error) {
	m, err := f.assemble(module, outline)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return m, nil
}

// assemble makes a matrix of the tensors of a module.
func (f *folder) assemble(module string, outline bool) (*quant.Matrix, error) {
	weight, ok := f.tensor(module+".weight", outline)
	if !ok {
		return nil, fmt.Errorf("no tensor %q", module+".weight")
	}
	var scales *Tensor
	if t, ok := f.tensor(module+".scales", outline); ok {
		scales = &t
	}
	setting, err := f.quantization.of(module, weight, scales)
	if err != nil {
		return nil, err
	}
	if !setting.quantized {
		return denseMatrix(weight)
	}
	if _, ok := f.tensors[module+".global_scale"]; ok {
		return nil, fmt.Errorf("tensor %q: nvfp4 with a scale for the whole matrix is not supported", module+".global_scale")
	}
	format := setting.format
	if format.Kind.IsFP() {
		return packedMatrix(format, weight, *scales, nil)
	}
	biases, ok := f.tensor(module+".biases", outline)
	if !ok {
		return nil, fmt.Errorf("no tensor %q beside %q", module+".biases", module+".scales")
	}
	format.DType = scales.DType
	return packedMatrix(format, weight, *scales, &biases)
}

// packedMatrix joins the tensors of a quantized module: weight U32 [out, in*bits/32],
// scales [out, in/group], and biases if it is affine. A stack of experts has one more
// dimension in front.
func packedMatrix(f quant.Format, weight, scales Tensor, biases *Tensor) (*quant.Matrix, error) {
	if weight.DType != quant.U32 || len(weight.Shape) != 2 && len(weight.Shape) != 3 {
		return nil, fmt.Errorf("tensor %q is %v %v, expected packed weights: U32 in 2 dimensions, or 3 for experts", weight.Name, weight.DType, weight.Shape)
	}
	last := len(weight.Shape) - 1
	if len(scales.Shape) != last+1 || !slices.Equal(scales.Shape[:last], weight.Shape[:last]) {
		return nil, fmt.Errorf("tensor %q has shape %v, expected %v with columns/%d at the end", scales.Name, scales.Shape, weight.Shape, f.Group)
	}
	if biases != nil && (!slices.Equal(biases.Shape, scales.Shape) || biases.DType != scales.DType) {
		return nil, fmt.Errorf("tensor %q is %v %v, expected %v %v as the scales", biases.Name, biases.DType, biases.Shape, scales.DType, scales.Shape)
	}
	if f.Kind.IsFP() && scales.DType != quant.U8 {
		return nil, fmt.Errorf("tensor %q is %v, but %v has scales of type U8; check \"quantization\" in %s", scales.Name, scales.DType, f, configName)
	}
	// Both come from sizes of tensors in memory, far from overflow.
	cols := scales.Shape[last] * f.Group
	if words := f.RowBytes(cols) / 4; weight.Shape[last] != words {
		return nil, fmt.Errorf("tensor %q has shape %v, but %d bits in groups of %d with scales %v make %v; check \"quantization\" in %s",
			weight.Name, weight.Shape, f.Bits, f.Group, scales.Shape, append(slices.Clone(weight.Shape[:last]), words), configName)
	}
	m := &quant.Matrix{Format: f, Cols: cols, Data: weight.Data, Scales: scales.Data}
	m.Rows, m.Experts = rowsOf(weight.Shape)
	if biases != nil {
		m.Biases = biases.Data
	}
	return checked(weight, m)
}

// rowsOf is the number of rows of a matrix [out, ...] or a stack [E, out, ...], and the
// number of experts. The shape is that of a tensor in memory, so the product is safe.
func rowsOf(shape []int) (rows, experts int) {
	if len(shape) == 3 {
		return shape[0] * shape[1], shape[0]
	}
	return shape[0], 0
}
