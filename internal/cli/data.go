package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/hub"
)

// This file finds the rows that --data or the config's hf_dataset name: in a folder, a file, or a dataset
// repository of the hub.

// A dataPart is one dataset, or some rows of one.
type dataPart struct {
	path     string // folder, or ORG/NAME on the hub
	revision string
	config   string         // name of one of the configurations in its card
	files    dataset.Config // data_dir and data_files, if given
	dataset.Part
}

// keyHFDataset is mlx-lm's key for datasets of the hub and the rows of them to take.
const keyHFDataset = "hf_dataset"

// parts reads where the rows come from: the entries of hf_dataset, or none, and the names of the rows' keys
// for --data.
func (o *loraOptions) parts() (parts []dataPart, features dataset.Options, err error) {
	features.CompatMLX = o.Compat == "mlx"
	for _, s := range o.Extra {
		if s.value == nil {
			continue
		}
		if s.key == keyHFDataset {
			parts, err = o.hfDataset(s.value)
		} else {
			_, err = setFeature(&features, member{s.key, s.value})
		}
		if err != nil {
			return nil, features, usage("%s:%d: %w", o.Config, s.line, err)
		}
	}
	return parts, features, nil
}

// setFeature takes the name of a key of the rows; false if m is something else.
func setFeature(f *dataset.Options, m member) (bool, error) {
	target := map[string]*string{
		"prompt_feature": &f.PromptFeature, "completion_feature": &f.CompletionFeature,
		"chat_feature": &f.ChatFeature, "text_feature": &f.TextFeature,
	}[m.key]
	if target == nil {
		return false, nil
	}
	var err error
	*target, err = text(m)
	return true, err
}

// hfDataset reads mlx-lm's hf_dataset: one mapping or a list of them.
func (o *loraOptions) hfDataset(value any) ([]dataPart, error) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var parts []dataPart
	for i, item := range list {
		d, ok := item.(dict)
		if !ok {
			return nil, fmt.Errorf("hf_dataset: expected a mapping with path, or a list of such, found %s", describe(item))
		}
		p, err := o.hfPart(d)
		if err != nil && len(list) > 1 {
			err = fmt.Errorf("entry %d: %w", i+1, err)
		}
		if err != nil {
			return nil, fmt.Errorf("hf_dataset: %w", err)
		}
		parts = append(parts, p)
	}
	if len(parts) == 0 {
		return nil, errors.New("hf_dataset: the list is empty")
	}
	return parts, nil
}

func (o *loraOptions) hfPart(d dict) (p dataPart, err error) {
	p.Train, p.Valid = "train[:80%]", "train[-10%:]" // mlx-lm's defaults
	p.CompatMLX = o.Compat == "mlx"
	texts := map[string]*string{
		"path": &p.path, "name": &p.path, "revision": &p.revision, // name: as in older versions of mlx-lm
		"train_split": &p.Train, "valid_split": &p.Valid, "test_split": &p.Test,
	}
	for _, m := range d {
		if m.value == nil {
			continue
		}
		known := true
		switch target := texts[m.key]; {
		case target != nil:
			*target, err = text(m)
		case m.key == "config":
			err = p.setConfig(m)
		case m.key != "mask_prompt": // mlx-lm puts it there itself
			known, err = setFeature(&p.Options, m)
		}
		if err != nil {
			return p, err
		}
		if !known {
			return p, fmt.Errorf("unknown key %s; known are path, config, revision, train_split, valid_split, test_split and the keys of the rows: prompt_feature, completion_feature, chat_feature, text_feature", m.key)
		}
	}
	if p.path == "" {
		return p, errors.New("there is no path: give the ORG/NAME of a dataset on the hub, or a folder")
	}
	if !o.Train {
		p.Train, p.Valid = "", ""
	}
	switch {
	case !o.Test:
		p.Test = ""
	case p.Test == "":
		return p, fmt.Errorf("%s: there is no test_split, which --test needs\nGive one, such as test_split: test", p.path)
	}
	p.Name = p.path
	for _, rows := range []string{p.Train, p.Valid, p.Test} {
		if _, err := dataset.SplitsIn(rows); err != nil {
			return p, err
		}
	}
	return p, nil
}

// setConfig reads the arguments that the Python package datasets takes for loading.
func (p *dataPart) setConfig(m member) (err error) {
	d, ok := m.value.(dict)
	if !ok {
		return fmt.Errorf("config: expected a mapping, found %s", describe(m.value))
	}
	for _, m := range d {
		switch m.key {
		case "name":
			p.config, err = text(m)
		case "revision":
			p.revision, err = text(m)
		case "data_dir":
			p.files.Dir, err = text(m)
		case "data_files":
			p.files.Files, err = dataFiles(m.value)
		default:
			err = fmt.Errorf("%s is not supported; known are name, revision, data_dir and data_files", m.key)
		}
		if err != nil {
			return fmt.Errorf("config: %w", err)
		}
	}
	return nil
}

// dataFiles reads what cards and configs have for data_files: a pattern, a list of patterns, a list of mappings
// with split and path, or a mapping of splits to patterns.
func dataFiles(value any) (dataset.Layout, error) {
	wrong := fmt.Errorf("data_files: expected a name, a list of names, or names by split; found %s", describe(value))
	patterns := func(value any) ([]string, error) {
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		var out []string
		for _, item := range list {
			s, ok := item.(string)
			if !ok {
				return nil, wrong
			}
			out = append(out, s)
		}
		return out, nil
	}
	var layout dataset.Layout
	add := func(split string, value any) error {
		files, err := patterns(value)
		if _, twice := layout.Files(split); twice && err == nil {
			err = fmt.Errorf("data_files: the split %s is there twice", split)
		}
		layout = append(layout, dataset.SplitFiles{Split: split, Files: files})
		return err
	}
	if d, ok := value.(dict); ok {
		for _, m := range d {
			if err := add(m.key, m.value); err != nil {
				return nil, err
			}
		}
		return layout, nil
	}
	list, _ := value.([]any)
	if len(list) == 0 {
		return layout, add("train", value)
	}
	if _, ok := list[0].(dict); !ok {
		return layout, add("train", value)
	}
	for _, item := range list {
		d, _ := item.(dict)
		split, _ := d.get("split")
		name, ok := split.(string)
		files, there := d.get("path")
		if !ok || !there {
			return nil, wrong
		}
		if err := add(name, files); err != nil {
			return nil, err
		}
	}
	return layout, nil
}

// loadData reads the rows.
func (o *loraOptions) loadData(ctx context.Context, streams Streams, say func(format string, args ...any)) (*dataset.Splits, error) {
	parts, features, err := o.parts()
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		if _, err := os.Stat(o.Data); err == nil || !hub.LooksLikeRepo(o.Data) {
			return localData(o.Data, features)
		}
		parts = []dataPart{o.wholeDataset(features)}
	}
	var loaded []dataset.Part
	for _, p := range parts {
		say("Loading Hugging Face dataset %s.", p.path)
		if err := p.find(ctx, streams); err != nil {
			return nil, err
		}
		loaded = append(loaded, p.Part)
	}
	splits, err := dataset.LoadParts(loaded)
	if err != nil {
		return nil, inputError(err)
	}
	return splits, nil
}

// wholeDataset is what --data ORG/NAME means: the splits of the usual names, as far as they are there and needed.
func (o *loraOptions) wholeDataset(features dataset.Options) dataPart {
	p := dataPart{Part: dataset.Part{Name: o.Data, Optional: true, Options: features}}
	p.path, p.revision, _ = strings.Cut(o.Data, "@")
	if o.Train {
		p.Train, p.Valid = "train", "valid"
	}
	if o.Test {
		p.Test = "test"
	}
	return p
}

// localData reads a folder or file. A folder that is a copy of a dataset repository may say in its card where the
// rows are.
func localData(path string, features dataset.Options) (*dataset.Splits, error) {
	configs, err := readCard(filepath.Join(path, "README.md"))
	if err != nil {
		return nil, inputError(err)
	}
	var splits *dataset.Splits
	if len(configs) == 0 || dataset.HasPlainFiles(path) {
		splits, err = dataset.Load(path, features)
	} else {
		var layout dataset.Layout
		if layout, err = findLayout(path, dataset.Config{}, "", configs); err == nil {
			splits, err = dataset.LoadLayout(path, layout, features)
		}
	}
	if err != nil {
		return nil, inputError(err)
	}
	return splits, nil
}

func findLayout(dir string, files dataset.Config, config string, configs []dataset.Config) (dataset.Layout, error) {
	names, err := dataset.Names(dir)
	if err != nil {
		return nil, err
	}
	return chooseLayout(names, files, config, configs)
}

// chooseLayout finds the files of the splits: where the command says, else where the card says, else by name.
func chooseLayout(names []string, files dataset.Config, config string, configs []dataset.Config) (dataset.Layout, error) {
	if files.Dir == "" && len(files.Files) == 0 {
		var err error
		if files, err = dataset.ChooseConfig(configs, config); err != nil {
			return nil, err
		}
	}
	return dataset.FindLayout(names, files, true)
}

// find says where the files of the part are. Those of a repository that are needed are downloaded.
func (p *dataPart) find(ctx context.Context, streams Streams) (err error) {
	wrap := func(err error) error { return fmt.Errorf("data %s: %w", p.Name, err) }
	if _, err := os.Stat(p.path); err != nil {
		if err := p.download(ctx, streams); err != nil {
			return wrap(err)
		}
		return nil
	}
	configs, err := readCard(filepath.Join(p.path, "README.md"))
	if err == nil {
		p.Dir = p.path
		p.Layout, err = findLayout(p.path, p.files, p.config, configs)
	}
	if err != nil {
		return inputError(wrap(err))
	}
	return nil
}

// download fetches the card, and the files of the splits that are needed.
func (p *dataPart) download(ctx context.Context, streams Streams) error {
	repo, err := hub.ParseRepo(p.path, hub.Dataset)
	if err != nil {
		return inputError(fmt.Errorf("no such folder, and %w", err))
	}
	client, err := newHub("")
	if err != nil {
		return err
	}
	list, err := client.List(ctx, repo, p.revision)
	if err != nil {
		return hub.Mark(fmt.Errorf("no such folder, and as a dataset on the hub: %w", err))
	}
	var names []string
	for _, f := range list.Files {
		names = append(names, f.Path)
	}
	configs, err := p.card(ctx, client, repo, list, names)
	if err != nil {
		return err
	}
	if p.Layout, err = chooseLayout(names, p.files, p.config, configs); err != nil {
		return inputError(err)
	}
	needed, err := p.needed()
	if err != nil || len(needed) == 0 { // nothing to read: whoever needs rows says what is missing
		return err
	}
	progress, clear := hubProgress(streams, client, "Downloading "+repo.ID)
	snap, err := client.Download(ctx, repo, hub.Options{Revision: p.revision, Include: needed, Progress: progress})
	clear()
	if err != nil {
		return hub.Mark(err)
	}
	warnUnchecked(streams, snap)
	if snap.Commit != list.Commit {
		return fmt.Errorf("the dataset was changed on the hub just now\nRun the command again.")
	}
	p.Dir = snap.Dir
	return nil
}

// needed gives patterns of the files of the wanted splits.
func (p *dataPart) needed() ([]string, error) {
	if p.Optional && p.Valid != "" {
		p.Valid = p.Layout.Valid(p.CompatMLX)
	}
	var needed []string
	for _, rows := range []string{p.Train, p.Valid, p.Test} {
		splits, err := dataset.SplitsIn(rows)
		if err != nil {
			return nil, inputError(err)
		}
		for _, split := range splits {
			files, _ := p.Layout.Files(split)
			for _, name := range files {
				if pattern := hub.Exactly(name); !slices.Contains(needed, pattern) {
					needed = append(needed, pattern)
				}
			}
		}
	}
	return needed, nil
}

// card reads the configurations in the card of a repository, if there is one to be had.
func (p *dataPart) card(ctx context.Context, client *hub.Client, repo hub.Repo, list hub.Listing, names []string) ([]dataset.Config, error) {
	const card = "README.md"
	if !slices.Contains(names, card) {
		return nil, nil
	}
	snap, err := client.Download(ctx, repo, hub.Options{Revision: list.Commit, Include: []string{card}})
	if errors.Is(err, hub.ErrNotCached) {
		return nil, nil // without a network, the names of the files have to do
	}
	if err != nil {
		return nil, hub.Mark(err)
	}
	configs, err := readCard(filepath.Join(snap.Dir, card))
	if err != nil {
		return nil, inputError(err)
	}
	return configs, nil
}

// readCard reads "configs" in the YAML in front of a dataset's card. A file that is not there has none.
func readCard(path string) ([]dataset.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil // also where path is below a file
	}
	text, ok := bytes.CutPrefix(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("---\n"))
	head, _, closed := bytes.Cut(text, []byte("\n---"))
	if !ok || !closed || !bytes.Contains(head, []byte("configs:")) {
		return nil, nil
	}
	if len(head) > maxConfigBytes {
		return nil, fmt.Errorf("%s: its YAML has %d bytes, which is too much", path, len(head))
	}
	settings, err := parseYAML(head)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var configs []dataset.Config
	for _, s := range settings {
		list, ok := s.value.([]any)
		if s.key != "configs" || !ok {
			continue
		}
		for _, item := range list {
			c, err := cardConfig(item)
			if err != nil {
				return nil, fmt.Errorf("%s: configs: %w", path, err)
			}
			configs = append(configs, c)
		}
	}
	return configs, nil
}

func cardConfig(item any) (c dataset.Config, err error) {
	d, ok := item.(dict)
	if !ok {
		return c, fmt.Errorf("expected a mapping, found %s", describe(item))
	}
	for _, m := range d {
		switch m.key {
		case "config_name":
			c.Name, err = text(m)
		case "default":
			c.Default, err = truth(m)
		case "data_dir":
			c.Dir, err = text(m)
		case "data_files":
			c.Files, err = dataFiles(m.value)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}
