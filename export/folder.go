package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// writeFolder calls fill to write a model into a folder of its own. When that is complete, its files come together into the
// folder path, in place of the model that is there. base is what the model was made from.
func writeFolder(path, base string, fill func(dir string) error) error {
	set, err := atomicfile.Begin(path)
	if err != nil {
		return err
	}
	defer set.Discard()
	if err := fill(set.Dir()); err != nil {
		return err
	}
	old, err := filesOfModel(path, base)
	if err != nil {
		return err
	}
	set.Remove(old...)
	set.Record()
	return set.Commit()
}

// filesOfModel lists what is in a folder and would be taken for part of the model that comes there.
func filesOfModel(dir, base string) ([]string, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
		case e.IsDir() && (atomicfile.IsTemporary(e.Name()) || !ofModel(name, e, base)):
			return fs.SkipDir
		case !e.IsDir() && ofModel(name, e, base):
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// ofModel tells whether a model made from base has such a file or folder. The state of an upload goes with the model:
// it is about the files that are replaced.
func ofModel(name string, e fs.DirEntry, base string) bool {
	of := slices.ContainsFunc(tokenizer.Files(), func(file string) bool {
		return name == filepath.ToSlash(file) || e.IsDir() && name == filepath.ToSlash(filepath.Dir(file))
	})
	switch {
	case hub.IsUploadState(name, e.Type()):
		return true
	case of || !e.Type().IsRegular() || strings.Contains(name, "/"):
		return of
	case filepath.Ext(name) == ".py":
		_, err := os.Stat(filepath.Join(base, name))
		return err == nil
	}
	return slices.Contains([]string{"README.md", "config.json", "generation_config.json", "model.safetensors.index.json", modelfileName}, name) ||
		strings.HasPrefix(name, "model") && strings.HasSuffix(name, ".safetensors") ||
		strings.HasPrefix(name, "ggml-model-") && strings.HasSuffix(name, ".gguf")
}

// settings are the files of a model's folder that are not weights.
type settings struct {
	src          weights.Source
	quantization map[string]any // for config.json; nil when nothing is quantized
	card         hub.Card
}

// write puts the settings into dir: config.json, the tokenizer if there is one,
// generation_config.json and, for programs that run it, Python code of the source's
// folder, and a README.md.
func (s settings) write(dir string, tok *tokenizer.Tokenizer) error {
	config, err := s.config()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, "config.json"), config); err != nil {
		return err
	}
	if tok != nil {
		if err := tok.Save(dir); err != nil {
			return err
		}
	}
	if err := s.copyFiles(dir); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, "README.md"), s.card.Update(nil))
}

// copyFiles takes over generation_config.json and *.py from the source's folder.
func (s settings) copyFiles(to string) error {
	folder := s.src.Path()
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil // a GGUF file
	}
	for _, e := range entries {
		name := e.Name()
		if name != "generation_config.json" && (filepath.Ext(name) != ".py" || linksElsewhere(folder, name)) {
			continue
		}
		data, err := weights.ReadFile(filepath.Join(folder, name))
		if err != nil || name == "generation_config.json" && !json.Valid(data) {
			continue // models do without them
		}
		if err := atomicfile.Write(filepath.Join(to, name), data); err != nil {
			return err
		}
	}
	return nil
}

// linksElsewhere tells whether a file is a link out of the folder, and so no part of the
// model. Links to the blobs of the hub's cache do not count.
func linksElsewhere(folder, name string) bool {
	home, err1 := filepath.EvalSymlinks(folder)
	file, err2 := filepath.EvalSymlinks(filepath.Join(folder, name))
	if err1 != nil || err2 != nil {
		return true
	}
	at := filepath.Dir(file)
	return at != home && at != filepath.Join(home, "..", "..", "blobs")
}

// config is the source's config.json with the quantization that was written, and
// with the names that mlx-lm knows.
func (s settings) config() ([]byte, error) {
	var config map[string]any
	d := json.NewDecoder(bytes.NewReader(s.src.Config()))
	d.UseNumber() // 500000.0 must stay a float
	if err := d.Decode(&config); err != nil {
		return nil, err
	}
	parsed, err := model.ReadConfig(s.src)
	if err != nil {
		return nil, err
	}
	arch, err := parsed.Architecture()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.src.Path(), err)
	}
	for _, k := range []string{"_name_or_path", "vision_config", "quantization", "quantization_config"} {
		delete(config, k)
	}
	if s.quantization != nil {
		config["quantization"], config["quantization_config"] = s.quantization, s.quantization
	}
	if arch.Scaling.Kind() == "gguf_factors" {
		if config["rope_scaling"], err = scalingOf(config, arch); err != nil {
			return nil, fmt.Errorf("%s: %w", s.src.Path(), err)
		}
	}
	spell(config)
	complete(config, arch)
	// mlx-lm reads one of the two files, so each gets the ends of both.
	switch ends := model.EndTokens(s.src.Config(), s.src.Path(), nil); len(ends) {
	case 0:
	case 1:
		config["eos_token_id"] = ends[0]
	default:
		config["eos_token_id"] = ends
	}
	return json.MarshalIndent(config, "", "    ")
}

// spell adds mlx-lm's names of settings that transformers 5 has under others.
// transformers reads both.
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

// complete adds settings that a config may leave out, where mlx-lm needs them or assumes
// something else than transformers does.
func complete(config map[string]any, f model.Architecture) {
	missing := map[string]any{"tie_word_embeddings": f.Tied}
	kind, _ := config["model_type"].(string)
	if strings.HasPrefix(kind, "qwen") {
		missing["num_key_value_heads"] = f.KVHeads
	}
	if strings.HasPrefix(kind, "qwen3") {
		missing["head_dim"], missing["rope_theta"] = f.HeadDim, f.Theta
	}
	if kind == "qwen3_moe" {
		missing["decoder_sparse_step"], missing["mlp_only_layers"], missing["norm_topk_prob"] = 1, []int{}, f.Experts.Normalize
	}
	for k, v := range missing {
		if config[k] == nil {
			config[k] = v
		}
	}
}

// scalingOf finds the settings of Llama 3 that make a table of factors, as a GGUF
// file has it: the form that others read.
func scalingOf(config map[string]any, a model.Architecture) (map[string]any, error) {
	factors := a.RopeFactors
	if a.RopeScale != 1 {
		return nil, fmt.Errorf("config.json has no name for rotary factors with an attention factor (rope.scaling.attn_factor, here %g)", a.RopeScale)
	}
	factor := math.Round(float64(slices.Max(factors)))
	for _, old := range []int{8192, 4096, 16384, 32768, 2048} {
		scaling := map[string]any{"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
			"original_max_position_embeddings": old}
		config["rope_scaling"] = scaling
		text, err := json.Marshal(config)
		if err != nil {
			return nil, err
		}
		trial, err := model.ParseConfig(text, "config.json")
		if err != nil {
			return nil, err
		}
		arch, err := trial.Architecture()
		if err == nil && sameFactors(arch.RopeFactors, factors) {
			return scaling, nil
		}
	}
	return nil, errors.New("rope_freqs.weight is not the scaling of Llama 3, and config.json has no other name for it")
}

func sameFactors(a, b []float32) bool {
	const rounding = 1e-4 // converters compute the table in float32
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Abs(float64(x/y)-1) < rounding })
}

// quantizationOf describes formats as config.json does: the commonest one, and
// each module that has another. nil when there are none.
func quantizationOf(written map[string]quant.Format) map[string]any {
	count := map[quant.Format]int{}
	var common quant.Format
	for _, module := range slices.Sorted(maps.Keys(written)) {
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
