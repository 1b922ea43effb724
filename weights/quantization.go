package weights

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/quant"
)

// quantization is what config.json says about packed weights, in mlx-lm's form: settings
// for all modules, and for some module paths false, true or settings of their own.
type quantization struct {
	present bool
	global  setting
	modules map[string]setting
	widths  widths
}

// setting says how one module is stored. The scales of an affine format have the type of
// their tensor.
type setting struct {
	quantized bool
	format    quant.Format
}

// of returns the setting of a module: its own setting, or what its tensors show. scales
// is its tensor of scales, if it has one.
func (q *quantization) of(module string, weight Tensor, scales *Tensor) (setting, error) {
	own, named := q.modules[module]
	switch {
	case !named && scales == nil:
		return setting{}, nil
	case !q.present:
		return setting{}, fmt.Errorf("tensor %q is there, but %s has no \"quantization\" with bits and group_size", module+".scales", configName)
	case !named:
		return q.infer(module, weight, *scales), nil
	case own.quantized != (scales != nil):
		found := map[bool]string{true: "is there", false: "is not there"}[scales != nil]
		return setting{}, fmt.Errorf("%s has %q quantized: %v, but tensor %q %s", configName, module, own.quantized, module+".scales", found)
	}
	return own, nil
}

// infer finds out how a module is stored that the settings do not list. Like mlx-lm, it
// goes by the shapes of the tensors and the module's width, not by the settings for all
// modules: some tools store a few layers in more bits and list none. Where the shapes
// make no format, it returns those settings, for the error message.
func (q *quantization) infer(module string, weight, scales Tensor) setting {
	if len(weight.Shape) < 2 || len(scales.Shape) != len(weight.Shape) {
		return q.global
	}
	words, groups := weight.Shape[len(weight.Shape)-1], scales.Shape[len(scales.Shape)-1]
	width := q.widths.of(module)
	if scales.DType == quant.U8 { // each of these modes has bits and group of its own
		for _, mode := range []string{"mxfp4", "nvfp4", "mxfp8"} {
			if f, _ := quant.ParseMode(mode); words*32 == groups*f.Group*f.Bits {
				return setting{true, f}
			}
		}
		return q.global
	}
	if width == 0 || groups == 0 || width%groups != 0 || words*32%width != 0 {
		return q.global
	}
	f := quant.Format{Kind: quant.Affine, DType: quant.F32, Bits: words * 32 / width, Group: width / groups}
	if f.Check() != nil {
		return q.global
	}
	return setting{true, f}
}

// widths are the row lengths of matrices by config.json.
type widths struct {
	Hidden       int `json:"hidden_size"`
	Intermediate int `json:"intermediate_size"`
	Heads        int `json:"num_attention_heads"`
	HeadDim      int `json:"head_dim"`
	Expert       int `json:"moe_intermediate_size"`
}

// of is the row length of a module, or 0 if it is not known.
func (w widths) of(module string) int {
	switch module[strings.LastIndexByte(module, '.')+1:] {
	case "embed_tokens", "lm_head", "q_proj", "k_proj", "v_proj", "qkv_proj", "gate", "gate_proj", "up_proj", "gate_up_proj":
		return w.Hidden
	case "o_proj":
		if w.HeadDim == 0 {
			return w.Hidden
		}
		if w.Heads > 0 && w.HeadDim > math.MaxInt32/w.Heads {
			return 0
		}
		return w.Heads * w.HeadDim
	case "down_proj":
		if strings.Contains(module, "mlp.switch_mlp") {
			return w.Expert // 0 where config.json has another name for the size of experts
		}
		return w.Intermediate
	}
	return 0
}

// quantizationField finds the settings in config.json and their key: "quantization", or
// "quantization_config" if that holds the same thing. raw is null if there are none.
func quantizationField(config []byte) (key string, raw json.RawMessage, err error) {
	var c struct {
		Quantization json.RawMessage `json:"quantization"`
		Mirror       json.RawMessage `json:"quantization_config"`
		Text         struct {
			Mirror json.RawMessage `json:"quantization_config"`
		} `json:"text_config"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return "", nil, err
	}
	if !isNull(c.Quantization) {
		return "quantization", c.Quantization, nil
	}
	if raw = c.Mirror; isNull(raw) {
		raw = c.Text.Mirror
	}
	return "quantization_config", raw, nil
}

// parseQuantization reads the settings of config.json.
func parseQuantization(config []byte) (quantization, error) {
	key, raw, err := quantizationField(config)
	if err != nil || isNull(raw) {
		return quantization{}, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return quantization{}, fmt.Errorf("%q: expected an object: %w", key, err)
	}
	method, named := fields["quant_method"]
	mode, known := methods[string(method)]
	if named && !known {
		return quantization{}, fmt.Errorf("%q has quant_method %s, which is not supported yet; take the unquantized model or one quantized by mlx-lm", key, method)
	}
	q := quantization{present: true, modules: map[string]setting{}}
	if err := json.Unmarshal(config, &q.widths); err != nil {
		q.widths = widths{} // the model reports the mistake when it reads config.json
	}
	if known {
		q.global, err = parseSetting([]byte(mode), nil)
	} else {
		q.global, err = parseSetting(raw, &setting{})
	}
	if err != nil {
		return quantization{}, fmt.Errorf("%q: %w", key, err)
	}
	if err := q.addModules(fields); err != nil {
		return quantization{}, fmt.Errorf("%q: %w", key, err)
	}
	return q, nil
}

// addModules reads the settings of single modules.
func (q *quantization) addModules(fields map[string]json.RawMessage) (err error) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		switch {
		case string(value) == "true":
			q.modules[name] = q.global
		case string(value) == "false":
			q.modules[name] = setting{}
		case value[0] == '{':
			if q.modules[name], err = parseSetting(value, nil); err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
		}
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// methods are the values of "quant_method" whose weights have MLX's layout.
var methods = map[string]string{`"mxfp4"`: `{"mode":"mxfp4"}`, `"mxfp8"`: `{"mode":"mxfp8"}`}

// parseSetting reads bits, group_size and mode. What is absent comes from base,
// or from the mode's own values when base is nil or the mode has no others.
func parseSetting(raw json.RawMessage, base *setting) (setting, error) {
	var fields struct {
		Bits  *int    `json:"bits"`
		Group *int    `json:"group_size"`
		Mode  *string `json:"mode"`
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return setting{}, err
	}
	mode := "affine"
	if fields.Mode != nil {
		mode = *fields.Mode
	}
	f, err := quant.ParseMode(mode)
	if err != nil {
		return setting{}, err
	}
	if f.Kind == quant.Affine {
		f.DType = quant.F32
		if base != nil {
			f.Bits, f.Group = base.format.Bits, base.format.Group
		}
	}
	if fields.Bits != nil {
		f.Bits = *fields.Bits
	}
	if fields.Group != nil {
		f.Group = *fields.Group
	}
	return setting{true, f}, f.Check()
}
