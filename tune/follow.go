package tune

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/weights"
)

// This file sets what the user did not choose by what is found.

// measure are the settings that decide what a test measures.
var measure = []string{"train_mode", "beta", "mask_prompt", "max_seq_length", "compat"}

// followAdapter gives a test of a saved adapter the measure that it was trained with, so
// that its loss can be compared with the training's. It tells of that, and warns where the
// user chose otherwise. Who chooses mlx-lm's rules gets mlx-lm's measure: that of the
// command line alone.
func (j *Job) followAdapter() error {
	r := &j.Recipe
	if r.Train || r.AdapterPath == "" {
		return nil
	}
	trained, err := r.trainedAs(r.AdapterPath)
	if err != nil {
		return err
	}
	follow := !(r.compatMLX() && j.options.given("compat"))
	taken, others := fault.Say(""), fault.Say("")
	for _, name := range measure {
		is := trained.find(name)
		own := r.find(name)
		switch {
		case own.value() == is.value():
		case follow && !j.options.given(name):
			taken = fault.Say("%v %v %v", taken, fault.Setting(name), is.value())
			if err := own.take(is.value()); err != nil {
				return err
			}
		default:
			others = fault.Say("%v %v %v", others, fault.Setting(name), is.value())
		}
	}
	if taken.String() != "" {
		j.options.say("Measuring as the adapter was trained:%v", taken)
	}
	if others.String() != "" {
		j.options.report(run.Warning{Text: fault.Say("the adapter was trained with%v: this test measures something else", others)})
	}
	return nil
}

// trainedAs is the recipe with the measure that the folder of an adapter tells of.
func (r *Recipe) trainedAs(dir string) (Recipe, error) {
	as := *r
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return as, nil // the engine tells of an adapter that is not there
	}
	path := filepath.Join(dir, adapter.ConfigFile)
	text, err := weights.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return as, nil
	}
	var config map[string]any
	if err == nil {
		err = jsonpos.Error(path, text, json.Unmarshal(text, &config))
	}
	if err != nil {
		return as, fault.Mark(err)
	}
	for _, name := range measure {
		if value, ok := config[name]; ok {
			err = errors.Join(err, as.Set(name, value))
		}
	}
	// adapter_config.json, which is mlx-lm's, does not have these.
	if m, failed := run.ReadManifest(dir); failed == nil {
		path = filepath.Join(dir, run.ManifestName)
		for _, name := range []string{"train_mode", "beta", "compat"} {
			if value, ok := m.Settings[name]; ok {
				err = errors.Join(err, as.Set(name, value))
			}
		}
	}
	if err == nil {
		err = as.Check()
	}
	if err != nil {
		return as, fault.Of("%s: %w", path, err)
	}
	return as, nil
}

// find is a setting that is a single value.
func (r *Recipe) find(name string) setting {
	known := r.settings()
	return known[slices.IndexFunc(known, func(s setting) bool { return s.name == name })]
}

// followModel trains all layers of a model that has fewer than the default.
func (j *Job) followModel() {
	n, blocks := j.Recipe.NumLayers, len(j.Engine.Model.Blocks)
	if !j.Recipe.Train || n <= blocks || j.options.given("num_layers") {
		return
	}
	j.Recipe.NumLayers = blocks
	j.options.say("The model has %d layers: all of them are trained, instead of %v %d.", blocks, fault.Setting("num_layers"), n)
}
