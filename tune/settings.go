package tune

import (
	"errors"
	"iter"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/train"
)

// This file binds the names that configs and adapter_config.json have for the settings to the fields of a Recipe.

// Names of settings that are mappings.
const (
	keyLoRA            = "lora_parameters"
	keyLRSchedule      = "lr_schedule"
	keyOptimizerConfig = "optimizer_config"
	keySources         = "hf_dataset"
)

var mappings = []string{keyLoRA, keyLRSchedule, keyOptimizerConfig, keySources}

// place is where a setting is written.
type place uint8

const (
	always  place = iota // in adapter_config.json
	orNull               // there, as null where it is empty
	ifGiven              // there, unless it is empty
	ours                 // in run.json alone: mlx-lm does not know it
)

// settings are all that are single values.
func (r *Recipe) settings() []setting {
	return []setting{
		{"adapter_path", &r.AdapterPath, always}, {"batch_size", &r.BatchSize, always}, {"beta", &r.Beta, ours},
		{"chat_feature", &r.Features.Chat, ifGiven}, {"clear_cache_threshold", &r.ClearCacheThreshold, always},
		{"compat", &r.Compat, ours}, {"completion_feature", &r.Features.Completion, ifGiven},
		{"config", &r.Config, orNull}, {"data", &r.Data, always}, {"device", &r.Device, ours}, {"early_stop", &r.EarlyStop, ours}, {"eval_every", &r.EvalEvery, ours}, {"eval_questions", &r.EvalQuestions, ours}, {"fine_tune_type", &r.FineTuneType, always},
		{"grad_accumulation_steps", &r.GradAccumulation, always}, {"grad_checkpoint", &r.GradCheckpoint, always},
		{"iters", &r.Iters, always}, {"keep_checkpoints", &r.KeepCheckpoints, ours}, {"kl", &r.KL, ours}, {"learning_rate", &r.LearningRate, always}, {"mask_prompt", &r.MaskPrompt, always},
		{"max_grad_norm", &r.MaxGradNorm, ours}, {"max_seq_length", &r.MaxSeqLength, always}, {"model", &r.Model, always}, {"no_frozen_cache", &r.NoFrozenCache, ours},
		{"num_layers", &r.NumLayers, always}, {"optimizer", &r.Optimizer, always}, {"project_name", &r.ProjectName, orNull},
		{"prompt_feature", &r.Features.Prompt, ifGiven}, {"replay", &r.Replay, ours}, {"report_to", &r.ReportTo, orNull},
		{"resume_adapter_file", &r.ResumeAdapterFile, orNull}, {"save_best", &r.SaveBest, ours}, {"save_every", &r.SaveEvery, always}, {"seed", &r.Seed, always},
		{"steps_per_eval", &r.StepsPerEval, always}, {"steps_per_report", &r.StepsPerReport, always}, {"test", &r.Test, always},
		{"test_batches", &r.TestBatches, always}, {"text_feature", &r.Features.Text, ifGiven}, {"threads", &r.Threads, ours},
		{"train", &r.Train, always}, {"train_embeddings", &r.TrainEmbeddings, ours}, {"train_mode", &r.TrainMode, ours}, {"trust_remote_code", &r.TrustRemoteCode, always},
		{"val_batches", &r.ValBatches, always},
	}
}

// Settings are the names that Set knows.
func Settings() []string {
	var r Recipe
	return append(names(r.settings()), mappings...)
}

// Set gives a setting the value that a config has for it, under mlx-lm's name. Null
// leaves a setting as it is. An unknown name changes nothing here: adapter_config.json
// keeps it with its value, as mlx-lm does.
func (r *Recipe) Set(name string, value jinja.Value) error {
	key := strings.ReplaceAll(name, "-", "_")
	var err error
	known := r.settings()
	i := slices.IndexFunc(known, func(s setting) bool { return s.name == key })
	switch {
	case slices.Contains(mappings, key):
		err = r.setMapping(key, value)
	case i < 0:
		r.kept.set(name, value)
	case value != nil:
		err = known[i].take(value)
	case known[i].in == ifGiven:
		r.kept.set(key, nil)
	}
	var m *fault.Mistake
	if err == nil || errors.As(err, &m) {
		return err
	}
	return fault.At(fault.Setting(key), "%w", err)
}

func (r *Recipe) setMapping(key string, value jinja.Value) error {
	if value == nil && key != keySources {
		return nil
	}
	d, ok := value.(*jinja.Dict)
	changed := *r
	var err error
	switch {
	case key == keySources:
		changed.Sources, err = readSources(value)
	case !ok:
		err = expected("a mapping", value)
	case key == keyLoRA:
		changed.LoRA, err = readLoRA(d)
	case key == keyLRSchedule:
		changed.LRSchedule, err = readSchedule(d)
	}
	if err != nil {
		return err
	}
	*r = changed
	r.kept.set(key, value)
	return nil
}

func (l *LoRA) settings() []setting {
	return []setting{{name: "rank", field: &l.Rank}, {name: "dropout", field: &l.Dropout}, {name: "scale", field: &l.Scale}, {name: "keys", field: &l.Keys}}
}

// readLoRA reads lora_parameters, which replace the built-in ones as a whole.
func readLoRA(d *jinja.Dict) (l LoRA, err error) {
	for _, name := range []string{"rank", "dropout", "scale"} {
		if _, ok := d.Get(name); !ok {
			key := fault.Setting(keyLoRA)
			return l, fault.Of("%v has no %s", key, name).Try("A %v in the config replaces the built-in one: give rank, dropout and scale.", key)
		}
	}
	return l, fill(d, l.settings())
}

func scheduleSettings(c *train.ScheduleConfig) []setting {
	return []setting{
		{name: "name", field: &c.Name}, {name: "arguments", field: &c.Arguments}, {name: "warmup", field: &c.Warmup}, {name: "warmup_init", field: &c.WarmupInit},
	}
}

func readSchedule(d *jinja.Dict) (*train.ScheduleConfig, error) {
	c := &train.ScheduleConfig{}
	return c, fill(d, scheduleSettings(c))
}

// config gives the members of adapter_config.json: mlx-lm's settings and what else a config had, sorted.
func (r *Recipe) config() (*jinja.Dict, error) {
	d := jinja.NewDict()
	for name, value := range r.kept.all() {
		if !slices.Contains(mappings, name) {
			d.Set(name, value)
		}
	}
	for _, s := range r.settings() {
		switch v := s.value(); {
		case s.in == ours || s.in == ifGiven && v == nil:
		case s.in == always && v == nil:
			d.Set(s.name, "")
		default:
			d.Set(s.name, v)
		}
	}
	d.Set(keyLoRA, r.loraParameters())
	d.Set(keyLRSchedule, r.schedule())
	optimizers, err := r.optimizerConfig()
	if err != nil {
		return nil, err
	}
	d.Set(keyOptimizerConfig, optimizers)
	if sources, ok := r.hfDataset(); ok {
		d.Set(keySources, sources)
	}
	return sorted(d), nil
}

// The following write mappings in the words of the config they came from, as long as
// these still say what the fields do.

func (r *Recipe) loraParameters() jinja.Value {
	if r.FineTuneType == "full" {
		return nil
	}
	if d, ok := r.kept.dict(keyLoRA); ok {
		if was, err := readLoRA(d); err == nil && reflect.DeepEqual(was, r.LoRA) {
			return d
		}
	}
	return mapping(r.LoRA.settings())
}

func (r *Recipe) schedule() jinja.Value {
	if r.LRSchedule == nil {
		return nil
	}
	if d, ok := r.kept.dict(keyLRSchedule); ok {
		if was, err := readSchedule(d); err == nil && reflect.DeepEqual(was, r.LRSchedule) {
			return d
		}
	}
	return mapping(scheduleSettings(r.LRSchedule))
}

func sorted(d *jinja.Dict) *jinja.Dict {
	out := jinja.NewDict()
	for _, name := range slices.Sorted(slices.Values(d.Keys())) {
		value, _ := d.Get(name)
		out.Set(name, value)
	}
	return out
}

// all are all settings of the run, mlx-lm's and our own, for run.json.
func (r *Recipe) all(config *jinja.Dict) map[string]any {
	all := plain(config).(map[string]any)
	for _, s := range r.settings() {
		if s.in != ours {
			continue
		}
		all[s.name] = plain(s.value())
		if all[s.name] == nil {
			all[s.name] = ""
		}
	}
	return all
}

// plain turns a value into what encoding/json writes: NaN, which JSON has not, into null.
func plain(value jinja.Value) any {
	switch v := value.(type) {
	case *jinja.Dict:
		out := make(map[string]any, v.Len())
		for _, name := range v.Keys() {
			member, _ := v.Get(name)
			out[name] = plain(member)
		}
		return out
	case *jinja.List:
		out := make([]any, len(v.Items))
		for i, item := range v.Items {
			out[i] = plain(item)
		}
		return out
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	}
	return value
}

// kept is what a config said in its own words.
type kept struct{ values *jinja.Dict } // by name; nil: nothing

func (k *kept) set(name string, value jinja.Value) {
	values := jinja.NewDict()
	if k.values != nil {
		values = k.values.Clone() // recipes are copied
	}
	values.Set(name, value)
	k.values = values
}

func (k kept) get(name string) (jinja.Value, bool) {
	if k.values == nil {
		return nil, false
	}
	return k.values.Get(name)
}

func (k kept) dict(name string) (*jinja.Dict, bool) {
	value, _ := k.get(name)
	d, ok := value.(*jinja.Dict)
	return d, ok
}

func (k kept) all() iter.Seq2[string, jinja.Value] {
	return func(yield func(string, jinja.Value) bool) {
		if k.values == nil {
			return
		}
		for _, name := range k.values.Keys() {
			if value, _ := k.values.Get(name); !yield(name, value) {
				return
			}
		}
	}
}
