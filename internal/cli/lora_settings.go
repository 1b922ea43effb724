package cli

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// This file turns the options of lora into those of the packages that do the work.

// lora gives the adapter's shape.
func (o *loraOptions) lora() (adapter.Config, error) {
	c := adapter.Config{NumLayers: o.NumLayers, DoRA: o.FineTuneType == "dora"}
	for _, m := range o.LoRAParameters {
		var err error
		switch m.key {
		case "rank":
			c.Rank, err = wholeNumber(m)
		case "scale":
			c.Scale, err = number[float32](m)
		case "dropout":
			if c.Dropout, err = number[float32](m); err == nil && !(c.Dropout >= 0 && c.Dropout < 1) {
				err = fmt.Errorf("dropout is %g, expected 0 or more and less than 1", c.Dropout)
			}
		case "keys":
			c.Keys, err = texts(m)
		default:
			err = fmt.Errorf("unknown key %s; known are rank, scale, dropout, keys", m.key)
		}
		if err != nil {
			return c, usage("%s: %w", keyLoRAParameters, err)
		}
	}
	return c, nil
}

// training gives the settings of the training loop.
func (o *loraOptions) training() (train.Options, error) {
	t := train.Options{
		BatchSize: o.BatchSize, Iters: o.Iters, ValBatches: o.ValBatches, StepsPerReport: o.StepsPerReport,
		StepsPerEval: o.StepsPerEval, SaveEvery: o.SaveEvery, GradAccumulationSteps: o.GradAccumulation,
		MaxSeqLength: o.MaxSeqLength, GradCheckpoint: o.GradCheckpoint, Seed: uint64(o.Seed), CompatMLX: o.Compat == "mlx",
	}
	var err error
	if t.Schedule, err = o.schedule(); err != nil {
		return t, err
	}
	t.Optimizer, err = o.optimizer()
	return t, err
}

// frozenCache bounds what is kept of the frozen layers: a quarter of the memory, at most 2 GiB and what the
// run leaves free; beyond that half of the free disk, beside the adapter.
func (o *loraOptions) frozenCache(p run.Plan) train.FrozenCache {
	const most = 2 << 30
	if o.NoFrozenCache {
		return train.FrozenCache{}
	}
	memory := int64(most)
	if p.AvailableBytes > 0 {
		memory = max(0, min(most, p.AvailableBytes/4, p.AvailableBytes-p.TotalBytes))
	}
	return train.FrozenCache{Memory: memory, Disk: machine.FreeDisk(o.AdapterPath) / 2, Dir: o.AdapterPath}
}

func (o *loraOptions) schedule() (train.Schedule, error) {
	d, ok := o.LRSchedule.(dict)
	if !ok {
		return train.Constant(o.LearningRate), nil
	}
	var c train.ScheduleConfig
	for _, m := range d {
		var err error
		switch m.key {
		case "name":
			c.Name, err = text(m)
		case "arguments":
			c.Arguments, err = numbers(m)
		case "warmup":
			c.Warmup, err = wholeNumber(m)
		case "warmup_init":
			c.WarmupInit, err = number[float64](m)
		default:
			err = fmt.Errorf("unknown key %s; known are name, arguments, warmup, warmup_init", m.key)
		}
		if err != nil {
			return nil, usage("%s: %w", keyLRSchedule, err)
		}
	}
	s, err := train.NewSchedule(c)
	if err != nil {
		return nil, inputError(err)
	}
	return s, nil
}

func (o *loraOptions) optimizer() (train.OptimizerConfig, error) {
	c := train.OptimizerConfig{Name: o.Optimizer}
	value, _ := o.OptimizerConfig.get(o.Optimizer)
	d, ok := value.(dict)
	if !ok && value != nil {
		return c, usage("%s: %s: expected a mapping, found %s", keyOptimizerConfig, o.Optimizer, describe(value))
	}
	c.Options = make(map[string]any, len(d))
	for _, m := range d {
		c.Options[m.key] = m.value
	}
	if err := c.Check(); err != nil {
		return c, inputError(err)
	}
	return c, nil
}

// The following read one member of a YAML mapping as a value of a kind.

func number[F float32 | float64](m member) (F, error) {
	switch v := m.value.(type) {
	case int64:
		return F(v), nil
	case uint64:
		return F(v), nil
	case float64:
		return F(v), nil
	}
	return 0, fmt.Errorf("%s: expected a number, found %s", m.key, describe(m.value))
}

func wholeNumber(m member) (int, error) {
	f, err := number[float64](m)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, fmt.Errorf("%s: expected a whole number, found %s", m.key, describe(m.value))
	}
	return int(f), nil
}

func numbers(m member) ([]float64, error) {
	list, ok := m.value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: expected a list of numbers, found %s", m.key, describe(m.value))
	}
	out := make([]float64, len(list))
	for i, item := range list {
		var err error
		if out[i], err = number[float64](member{m.key, item}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func text(m member) (string, error) {
	s, ok := m.value.(string)
	if !ok {
		return "", fmt.Errorf("%s: expected a text, found %s", m.key, describe(m.value))
	}
	return s, nil
}

// texts gives nil for a null.
func texts(m member) ([]string, error) {
	if m.value == nil {
		return nil, nil
	}
	list, ok := m.value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: expected a list of texts, found %s", m.key, describe(m.value))
	}
	out := make([]string, len(list))
	for i, item := range list {
		var err error
		if out[i], err = text(member{m.key, item}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func truth(m member) (bool, error) {
	b, ok := m.value.(bool)
	if !ok {
		return false, fmt.Errorf("%s: expected true or false, found %s", m.key, describe(m.value))
	}
	return b, nil
}
