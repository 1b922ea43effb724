package tune

import (
	"encoding/json"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/train"
)

// optimizer gives the optimizer with its options.
func (r *Recipe) optimizer() (train.OptimizerConfig, error) {
	c := train.OptimizerConfig{Name: r.Optimizer, Options: r.OptimizerOptions}
	if all, ok := r.kept.dict(keyOptimizerConfig); ok && c.Options == nil {
		value, _ := all.Get(r.Optimizer)
		d, ok := value.(*jinja.Dict)
		if !ok && value != nil {
			return c, fault.At(keyOptimizerConfig, "%s: %w", r.Optimizer, expected("a mapping", value))
		}
		if ok {
			c.Options = options(d)
		}
	}
	return c, nil
}

func options(d *jinja.Dict) map[string]any {
	out := map[string]any{}
	for _, name := range d.Keys() {
		value, _ := d.Get(name)
		out[name] = value
		if list, ok := value.(*jinja.List); ok {
			out[name] = list.Items
		}
	}
	return out
}

// optimizerConfig gives the options of all optimizers, as a config has them.
func (r *Recipe) optimizerConfig() (jinja.Value, error) {
	if d, ok := r.kept.dict(keyOptimizerConfig); ok && r.OptimizerOptions == nil {
		return d, nil
	}
	d := jinja.NewDict()
	for _, name := range train.Optimizers {
		d.Set(name, jinja.NewDict())
	}
	if r.OptimizerOptions != nil {
		text, err := json.Marshal(r.OptimizerOptions)
		if err != nil {
			return nil, err
		}
		own, err := jinja.ParseJSON(text)
		if err != nil {
			return nil, err
		}
		d.Set(r.Optimizer, own)
	}
	return d, nil
}
