package weights

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/lentil-lm/lentil/quant"
)

// quantization is what config.json says about packed weights, in mlx-lm's
// form: settings for all modules, and by module path either false, true or
// settings of its own.
type quantization struct {
	present bool
	global  setting
	modules map[string]setting
}

// setting says how one module is stored.
type setting struct {
	quantized   bool
	Bits, Group int
}

// mlxDefault fills in what the settings of one module leave out.
var mlxDefault = setting{Bits: 4, Group: 64}

// of returns the setting of a module: its own if it has one, otherwise the
// global one when there are scales to go with it.
func (q *quantization) of(module string, scales bool) (setting, error) {
	own, named := q.modules[module]
	switch {
	case !named && !scales:
		return setting{}, nil
	case !q.present:
		return setting{}, fmt.Errorf("tensor %q is there, but %s has no \"quantization\" with bits and group_size", module+".scales", configName)
	case !named:
		return q.global, nil
	case own.quantized != scales:
		found := map[bool]string{true: "is there", false: "is not there"}[scales]
		return setting{}, fmt.Errorf("%s has %q quantized: %v, but tensor %q %s", configName, module, own.quantized, module+".scales", found)
	}
	return own, nil
}

// parseQuantization reads "quantization" of config.json, or
// "quantization_config" when that holds the same thing.
func parseQuantization(config []byte) (quantization, error) {
	var c struct {
		Quantization json.RawMessage `json:"quantization"`
		Mirror       json.RawMessage `json:"quantization_config"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return quantization{}, err
	}
	key, raw := "quantization", c.Quantization
	if isNull(raw) {
		key, raw = "quantization_config", c.Mirror
	}
	if isNull(raw) {
		return quantization{}, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return quantization{}, fmt.Errorf("%q: expected an object: %w", key, err)
	}
	if method, ok := fields["quant_method"]; ok {
		return quantization{}, fmt.Errorf("%q has quant_method %s, which is not supported yet; take the unquantized model or one quantized by mlx-lm", key, method)
	}
	q := quantization{present: true, modules: map[string]setting{}}
	var err error
	if q.global, err = parseSetting(raw, setting{}); err != nil {
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
			if q.modules[name], err = parseSetting(value, mlxDefault); err != nil {
				return quantization{}, fmt.Errorf("%q: %q: %w", key, name, err)
			}
		}
	}
	return q, nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// parseSetting reads bits, group_size and mode; what is absent comes from base.
func parseSetting(raw json.RawMessage, base setting) (setting, error) {
	fields := struct {
		Bits  int    `json:"bits"`
		Group int    `json:"group_size"`
		Mode  string `json:"mode"`
	}{base.Bits, base.Group, "affine"}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return setting{}, err
	}
	if fields.Mode != "affine" {
		return setting{}, fmt.Errorf("mode %q is not supported yet, only \"affine\"", fields.Mode)
	}
	f := quant.Format{Kind: quant.Affine, DType: quant.F32, Bits: fields.Bits, Group: fields.Group}
	if err := f.Check(); err != nil {
		return setting{}, err
	}
	return setting{true, fields.Bits, fields.Group}, nil
}
