package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// PEFT's layout: NAME.lora_A.weight is Aᵀ [rank, in] and NAME.lora_B.weight is Bᵀ [out,
// rank], with a LoRA for each expert of a mixture (see experts.go).

// PEFTFile is the name of the weights in an adapter folder of Hugging Face's PEFT. The
// settings beside it are in ConfigFile, as mlx-lm's are.
const PEFTFile = "adapter_model.safetensors"

// peftPickle is the file of older versions of PEFT: a Python program, not data.
const peftPickle = "adapter_model.bin"

// peftPrefix is in front of module paths in PEFT's files.
const peftPrefix = "base_model.model."

// peftMagnitude follows the module in the names of DoRA's magnitudes.
const peftMagnitude = ".lora_magnitude_vector"

// What to do with adapters that are not supported.
const (
	mergeRemedy = "merge the adapter into its base with PEFT's merge_and_unload"
	// transformers 5 keeps all experts in one parameter of 3 dimensions.
	parametersRemedy = "train with transformers 4 and target_modules, which give each expert's projection a LoRA of its own, or " + mergeRemedy
)

// peftConfig is the part of PEFT's adapter_config.json that matters. The fields of type
// json.RawMessage have to be absent or off: they make an adapter compute something else
// than a LoRA.
type peftConfig struct {
	Type         string          `json:"peft_type"`
	Rank         int             `json:"r"`
	Alpha        float64         `json:"lora_alpha"`
	AlphaPattern alphaPatterns   `json:"alpha_pattern"`
	RSLoRA       bool            `json:"use_rslora"`
	Dropout      float32         `json:"lora_dropout"`
	DoRA         bool            `json:"use_dora"`
	Base         string          `json:"base_model_name_or_path"`
	Bias         string          `json:"bias"`
	Init         json.RawMessage `json:"init_lora_weights"`

	QALoRA           json.RawMessage `json:"use_qalora"`
	BDLoRA           json.RawMessage `json:"use_bdlora"`
	LoRABias         json.RawMessage `json:"lora_bias"`
	ModulesToSave    json.RawMessage `json:"modules_to_save"`
	TokenIndices     json.RawMessage `json:"trainable_token_indices"`
	TargetParameters json.RawMessage `json:"target_parameters"`
	LayerReplication json.RawMessage `json:"layer_replication"`
	InvocationTokens json.RawMessage `json:"alora_invocation_tokens"`
	Arrow            json.RawMessage `json:"arrow_config"`
	MonteCLoRA       json.RawMessage `json:"monteclora_config"`
	KaSA             json.RawMessage `json:"kasa_config"`
}

// alphaPatterns are the modules with an alpha of their own: regular expressions
// for the end of their path, of which the first that matches counts.
type alphaPatterns []alphaPattern

type alphaPattern struct {
	modules *regexp.Regexp
	alpha   float64
}

// UnmarshalJSON reads an object and keeps its order.
func (p *alphaPatterns) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return errors.New("alpha_pattern is no object of modules and their alphas")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var one alphaPattern
		if err := d.Decode(&one.alpha); err != nil {
			return fmt.Errorf("alpha_pattern %q: %w", key, err)
		}
		if one.modules, err = regexp.Compile(fmt.Sprintf(`^(.*\.)?(%s)$`, key)); err != nil {
			return fmt.Errorf("alpha_pattern %q is not supported: %w", key, err)
		}
		*p = append(*p, one)
	}
	return nil
}

// scale is what the update of a module is multiplied with.
func (c *peftConfig) scale(module string, rank int) float32 {
	alpha := c.Alpha
	for _, p := range c.AlphaPattern {
		if p.modules.MatchString(module) {
			alpha = p.alpha
			break
		}
	}
	if c.RSLoRA {
		return float32(alpha / math.Sqrt(float64(rank)))
	}
	return float32(alpha / float64(rank))
}

// check refuses adapters that are more than A, B and magnitudes.
func (c *peftConfig) check() error {
	if c.Type != "LORA" {
		return fmt.Errorf("peft_type is %q, expected \"LORA\": other kinds of adapter are not supported; %s", c.Type, mergeRemedy)
	}
	if c.Bias != "" && c.Bias != "none" {
		return fmt.Errorf("bias is %q: an adapter that changes biases is not supported, expected \"none\"", c.Bias)
	}
	for _, field := range []struct {
		name  string
		value json.RawMessage
	}{
		{"use_qalora", c.QALoRA}, {"use_bdlora", c.BDLoRA}, {"lora_bias", c.LoRABias},
		{"modules_to_save", c.ModulesToSave}, {"trainable_token_indices", c.TokenIndices},
		{"target_parameters", c.TargetParameters}, {"layer_replication", c.LayerReplication},
		{"alora_invocation_tokens", c.InvocationTokens}, {"arrow_config", c.Arrow}, {"monteclora_config", c.MonteCLoRA},
		{"kasa_config", c.KaSA},
	} {
		if err := isOff(field.name, field.value); err != nil {
			return err
		}
	}
	if err := checkInit(c.Init); err != nil {
		return err
	}
	return c.checkAlphas()
}

// isOff refuses a setting that is on.
func isOff(name string, value json.RawMessage) error {
	var text bytes.Buffer
	if len(value) > 0 {
		if err := json.Compact(&text, value); err != nil {
			return err
		}
	}
	switch text.String() {
	case "", "null", "false", "[]", "{}":
		return nil
	}
	remedy := mergeRemedy
	if name == "target_parameters" {
		remedy = parametersRemedy
	}
	return fmt.Errorf("%s is %.60s, which is not supported in this version; %s", name, &text, remedy)
}

// checkInit refuses adapters that took a part out of the base's weights when they were made.
func checkInit(init json.RawMessage) error {
	var start string
	if json.Unmarshal(init, &start) != nil {
		return nil // true or false
	}
	for _, kind := range []string{"pissa", "olora", "corda", "loftq", "lora_ga"} {
		if strings.HasPrefix(start, kind) {
			return fmt.Errorf("init_lora_weights is %q: the adapter goes with a base that PEFT changed; save it with path_initial_model_for_weight_conversion, which makes a plain LoRA of it", start)
		}
	}
	return nil
}

func (c *peftConfig) checkAlphas() error {
	alphas := []float64{c.Alpha}
	for _, p := range c.AlphaPattern {
		alphas = append(alphas, p.alpha)
	}
	for _, a := range alphas {
		if !(math.Abs(a) <= math.MaxFloat32) {
			return fmt.Errorf("lora_alpha is %g, expected a finite number", a)
		}
	}
	return nil
}

// isPEFT tells an adapter folder of PEFT from one of mlx-lm.
func isPEFT(dir string) bool {
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	return !there(File) && (there(PEFTFile) || there(peftPickle))
}

func readPEFT(dir string) (*Adapter, error) {
	path := filepath.Join(dir, ConfigFile)
	data, err := weights.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: PEFT's adapters need it for lora_alpha", path)
	}
	if err != nil {
		return nil, err
	}
	var c peftConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, jsonpos.Error(path, data, err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := os.Stat(filepath.Join(dir, PEFTFile)); err != nil {
		return nil, fmt.Errorf("%s is a pickle, which is a program and not data: save the adapter again with a newer PEFT, as %s", filepath.Join(dir, peftPickle), PEFTFile)
	}
	path = filepath.Join(dir, PEFTFile)
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	a := &Adapter{Layout: "PEFT", Dropout: c.Dropout, Base: c.Base}
	p := newPairs(path, c.DoRA)
	for _, name := range file.Names() {
		x, _ := file.Tensor(name)
		module, is := split(cleanPEFT(name), ".lora_A.weight", ".lora_B.weight", peftMagnitude)
		if of, copied := baseCopy(name); copied && is == noPart {
			x.Name, x.Data = of, slices.Clone(x.Data)
			a.Copies = append(a.Copies, x)
			continue
		}
		if err := p.put(module, is, x, true); err != nil {
			return nil, err
		}
	}
	return a, p.into(a, c.scale)
}

// cleanPEFT leaves the module and the part of PEFT's name of a tensor.
func cleanPEFT(name string) string {
	name = strings.TrimPrefix(name, peftPrefix)
	if module, ok := strings.CutSuffix(name, peftMagnitude+".default.weight"); ok {
		return module + peftMagnitude
	}
	return strings.Replace(name, ".default.weight", ".weight", 1)
}

// baseCopy tells whether a tensor is the embedding or head of the base, which PEFT adds to
// an adapter that changes one of them, and gives its name in the base.
func baseCopy(name string) (of string, ok bool) {
	name = strings.Replace(strings.TrimPrefix(name, peftPrefix), ".base_layer.", ".", 1)
	return name, name == "lm_head.weight" || name == "model.embed_tokens.weight"
}

// checkCopies compares the adapter's copies with the base. If the base is quantized, only
// their shapes can be the same.
func (a *Adapter) checkCopies(base weights.Source) error {
	for _, c := range a.Copies {
		m, err := base.Matrix(strings.TrimSuffix(c.Name, ".weight"))
		if err != nil {
			continue // a tied head: the embedding's copy is checked
		}
		same := len(c.Shape) == 2 && c.Shape[0] == m.Rows && c.Shape[1] == m.Cols && c.DType.IsWeight()
		if same && m.Format.Kind == quant.Dense {
			same = slices.Equal(m.Floats(), c.Floats())
		}
		if !same {
			return fmt.Errorf("it holds a %s %v other than the model's [%d, %d]: whole modules beside a LoRA are not supported", c.Name, c.Shape, m.Rows, m.Cols)
		}
	}
	return nil
}

// WritePEFT writes the adapter into a folder as PEFT reads it. A stack becomes a LoRA for
// each expert, as PEFT makes them with transformers 4. A folder that holds an adapter is
// left alone, unless Overwrite is set.
func (a *Adapter) WritePEFT(dir string) error {
	if err := a.ready(); err != nil {
		return err
	}
	rank, scale := a.Uniform()
	var targets []string
	var tensors []weights.Tensor
	for _, u := range a.Updates {
		down, up := u.transposed()
		for i := range max(u.Experts, 1) {
			module, known := u.Module, true
			if u.Experts > 0 {
				module, known = expertModule(u.Module, i)
			}
			if !known {
				return fmt.Errorf("%s: PEFT has no name for this stack of experts; write the layout of mlx-lm", u.Module)
			}
			targets = append(targets, module)
			tensors = append(tensors,
				weights.FloatTensor(peftPrefix+module+".lora_A.weight", down[i*rank*u.In:(i+1)*rank*u.In], rank, u.In),
				weights.FloatTensor(peftPrefix+module+".lora_B.weight", up[i*u.Out*rank:(i+1)*u.Out*rank], u.Out, rank))
		}
		if u.Magnitude != nil {
			tensors = append(tensors, weights.FloatTensor(peftPrefix+u.Module+peftMagnitude, u.Magnitude, u.Out))
		}
	}
	if err := a.mayWrite(dir); err != nil {
		return err
	}
	metadata := map[string]string{"format": "pt"} // transformers insists on it
	return a.writeFolder(dir, PEFTFile, tensors, metadata, map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": a.Base, "r": rank,
		"lora_alpha": float32(rank) * scale, "lora_dropout": a.Dropout, "target_modules": targets,
		"bias": "none", "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
		"modules_to_save": nil, "use_rslora": false, "use_dora": a.DoRA(),
	})
}
