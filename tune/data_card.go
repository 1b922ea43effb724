package tune

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/internal/yaml"
)

// cardName is the file of a dataset repository that describes it.
const cardName = "README.md"

// maxCard is how long a card may be.
const maxCard = 16 << 20

// readCard reads "configs" in the YAML in front of a dataset's card. A file that is not there has none.
func readCard(path string) ([]dataset.Config, error) {
	text, err := smallfile.Read(path, maxCard)
	if err != nil {
		return nil, nil // also where path is below a file
	}
	text, ok := bytes.CutPrefix(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("---\n"))
	head, _, closed := bytes.Cut(text, []byte("\n---"))
	if !ok || !closed || !bytes.Contains(head, []byte("configs:")) {
		return nil, nil
	}
	entries, err := yaml.Parse(head)
	if err != nil {
		return nil, fmt.Errorf("%s: its YAML, line %w", path, err)
	}
	var configs []dataset.Config
	for _, e := range entries {
		list, ok := e.Value.(*jinja.List)
		if e.Key != "configs" || !ok {
			continue
		}
		for _, item := range list.Items {
			c, err := cardConfig(item)
			if err != nil {
				return nil, fmt.Errorf("%s: configs: %w", path, err)
			}
			configs = append(configs, c)
		}
	}
	return configs, nil
}

func cardConfig(item jinja.Value) (c dataset.Config, err error) {
	d, ok := item.(*jinja.Dict)
	if !ok {
		return c, expected("a mapping", item)
	}
	for _, s := range []setting{
		{name: "config_name", field: &c.Name}, {name: "default", field: &c.Default}, {name: "data_dir", field: &c.Dir},
		{name: "data_files", field: &c.Files},
	} {
		if value, ok := d.Get(s.name); ok {
			if err := s.take(value); err != nil {
				return c, fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return c, nil
}

// readSources reads mlx-lm's hf_dataset: one mapping or a list of them; null is none.
func readSources(value jinja.Value) ([]Source, error) {
	if value == nil {
		return nil, nil
	}
	list, ok := value.(*jinja.List)
	if !ok {
		list = jinja.NewList(value)
	}
	if len(list.Items) == 0 {
		return nil, errors.New("the list is empty")
	}
	var sources []Source
	for i, item := range list.Items {
		d, ok := item.(*jinja.Dict)
		if !ok {
			return nil, expected("a mapping with path, or a list of such", item)
		}
		s, err := readSource(d)
		if err != nil && len(list.Items) > 1 {
			err = fmt.Errorf("entry %d: %w", i+1, err)
		}
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	return sources, nil
}

func (s *Source) settings() []setting {
	return []setting{
		{name: "path", field: &s.Path}, {name: "revision", field: &s.Revision}, {name: "config", field: s.config()},
		{name: "train_split", field: &s.Train}, {name: "valid_split", field: &s.Valid}, {name: "test_split", field: &s.Test},
		{name: "prompt_feature", field: &s.Features.Prompt}, {name: "completion_feature", field: &s.Features.Completion},
		{name: "chat_feature", field: &s.Features.Chat}, {name: "text_feature", field: &s.Features.Text},
	}
}

// config are the arguments that the Python package datasets takes for loading.
func (s *Source) config() []setting {
	return []setting{
		{name: "name", field: &s.Config}, {name: "revision", field: &s.Revision}, {name: "data_dir", field: &s.Dir}, {name: "data_files", field: &s.Files},
	}
}

// readSource reads an entry of hf_dataset. A key without a value is as good as none.
func readSource(d *jinja.Dict) (s Source, err error) {
	s.Train, s.Valid = "train[:80%]", "train[-10%:]" // mlx-lm's defaults
	given := jinja.NewDict()
	for _, name := range d.Keys() {
		value, _ := d.Get(name)
		if name == "name" {
			name = "path" // as in older versions of mlx-lm
		}
		if value != nil && name != "mask_prompt" { // mlx-lm puts the latter there itself
			given.Set(name, value)
		}
	}
	if err := fill(given, s.settings()); err != nil {
		return s, err
	}
	return s, s.check()
}

// hfDataset gives the sources as a config has them, if there are any.
func (r *Recipe) hfDataset() (jinja.Value, bool) {
	if value, ok := r.kept.get(keySources); ok {
		if was, err := readSources(value); err == nil && reflect.DeepEqual(was, r.Sources) {
			return value, true
		}
	}
	list := jinja.NewList()
	for i := range r.Sources {
		list.Items = append(list.Items, mapping(r.Sources[i].settings()))
	}
	return list, len(r.Sources) > 0
}

// readDataFiles reads what cards and configs have for data_files: a pattern, a list of patterns, a list of mappings
// with split and path, or a mapping of splits to patterns.
func readDataFiles(value jinja.Value) (dataset.Layout, error) {
	var layout dataset.Layout
	add := func(split string, value jinja.Value) error {
		files, err := patterns(value)
		if _, twice := layout.Files(split); twice && err == nil {
			err = fmt.Errorf("the split %s is there twice", split)
		}
		if err != nil {
			return err
		}
		layout = append(layout, dataset.SplitFiles{Split: split, Files: files})
		return nil
	}
	if d, ok := value.(*jinja.Dict); ok {
		for _, split := range d.Keys() {
			files, _ := d.Get(split)
			if err := add(split, files); err != nil {
				return nil, err
			}
		}
		return layout, nil
	}
	list, ok := value.(*jinja.List)
	if !ok || len(list.Items) == 0 {
		return layout, add("train", value)
	}
	if _, ok := list.Items[0].(*jinja.Dict); !ok {
		return layout, add("train", value)
	}
	for _, item := range list.Items {
		split, files, err := splitAndPath(item)
		if err == nil {
			err = add(split, files)
		}
		if err != nil {
			return nil, err
		}
	}
	return layout, nil
}

func splitAndPath(item jinja.Value) (split string, files jinja.Value, err error) {
	d, ok := item.(*jinja.Dict)
	if !ok {
		return "", nil, expected("a mapping with split and path", item)
	}
	name, _ := d.Get("split")
	files, there := d.Get("path")
	if split, ok = name.(string); !ok || !there {
		return "", nil, errors.New("expected split, a text, and path in each mapping")
	}
	return split, files, nil
}

func patterns(value jinja.Value) ([]string, error) {
	list, ok := value.(*jinja.List)
	if !ok {
		list = jinja.NewList(value)
	}
	var out []string
	if err := (setting{field: &out}).take(list); err != nil {
		return nil, expected("a name, a list of names, or names by split", value)
	}
	return out, nil
}

// layoutValue is a layout as a mapping of splits to patterns.
func layoutValue(l dataset.Layout) jinja.Value {
	if len(l) == 0 {
		return nil
	}
	d := jinja.NewDict()
	for _, s := range l {
		d.Set(s.Split, listOf(s.Files))
	}
	return d
}
