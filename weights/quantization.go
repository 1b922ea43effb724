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

// quantization is what config.json says about packed weights, in mlx-lm's
// form: settings for all modules, and by module path either false, true or
// settings of its own.
type quantization struct {
	present bool
	global  setting
	modules map[string]setting
	widths  widths
}

// setting says how one module is stored. The type of an affine format's scales
// is that of their tensor.
type setting struct {
	quantized bool
	format    quant.Format
}

// of returns the setting of a module, whose tensor of scales is given if it has
// one: its own setting, or what its tensors show.
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

// infer finds how a module is stored that the settings do not list. As mlx-lm
// does, it goes by the shapes of the tensors and the module's width, whatever
// the settings for all modules say: some tools store a few layers in more bits
// and list none. Where the shapes make no format, those settings are returned, for
// the error message.
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

// widths are the row lengths of the matrices that config.json tells.
type widths struct {
	Hidden       int `json:"hidden_size"`
	Intermediate int `json:"intermediate_size"`
	Heads        int `json:"num_attention_heads"`
	HeadDim      int `json:"head_dim"`
	Expert       int `json:"moe_intermediate_size"`
}

// of is the row length of a module, 0 if it is not known.
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
			return w.Expert // 0 where experts have a size that config.json has another name for
		}
		return w.Intermediate
	}
	return 0
}

// parseQuantization reads "quantization" of config.json, or
// "quantization_config" when that holds the same thing.
func parseQuantization(config []byte) (quantization, error) {
	var c struct {
		Quantization json.RawMessage `json:"quantization"`
		Mirror       json.RawMessage `json:"quantization_config"`
		Text         struct {
			Mirror json.RawMessage `json:"quantization_config"`
		} `json:"text_config"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return quantization{}, err
	}
	key, raw := "quantization", c.Quantization
	if isNull(raw) {
		key, raw = "quantization_config", c.Mirror
	}
	if isNull(raw) {
		raw = c.Text.Mirror
	}
	if isNull(raw) {
		return quantization{}, nil
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
		q.widths = widths{} // the model's own reading of config.json tells
	}
	var err error
	if known {
		q.global, err = parseSetting([]byte(mode), nil)
	} else {
		q.global, err = parseSetting(raw, &setting{})
	}
	if err != nil {
		return quantization{}, fmt.Errorf("%q: %w", key, err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		switch {
		case string(value) == "true":
			q.modules[name] = q.global
		case string(value) == "false":
			q.modules[name] = setting{}
		case value[0] == '{':
			if q.modules[name], err = parseSetting(value, nil); err != nil {
				return quantization{}, fmt.Errorf("%q: %q: %w", key, name, err)
			}
		}
	}
	return q, nil
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
