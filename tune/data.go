package tune

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
)

// This file finds rows by name: in a folder, a file, or a dataset repository of the hub.

// A DataQuery says which rows are wanted.
type DataQuery struct {
	Data    string   // folder, file, or ORG/NAME of a dataset on the hub, with @REVISION if need be
	Sources []Source // instead of Data: several datasets, or parts of them

	Features  Features // of Data
	Pairs     bool     // rows are pairs of a chosen and a rejected answer
	CompatMLX bool     // take a validation set by mlx-lm's name for it only

	// The splits that are needed. Of a repository only their files are downloaded.
	Train, Valid, Test bool
}

// A Source is one dataset, or some rows of one: an entry of mlx-lm's hf_dataset.
type Source struct {
	Path     string         // folder, or ORG/NAME on the hub
	Revision string         // branch, tag or commit
	Config   string         // name of one of the configurations in the dataset's card
	Dir      string         // folder of the files; empty: the card says
	Files    dataset.Layout // patterns of their names by split; empty: the card says
	Features Features

	// Rows of each split, such as "train", "train[:1000]" or "train[-10%:]"; empty: none.
	Train, Valid, Test string
}

// check refuses rows that cannot be understood.
func (s *Source) check() error {
	if s.Path == "" {
		return fmt.Errorf("there is no path: give the ORG/NAME of a dataset on the hub, or a folder")
	}
	for _, rows := range []string{s.Train, s.Valid, s.Test} {
		if _, err := dataset.SplitsIn(rows); err != nil {
			return err
		}
	}
	return nil
}

// FindData opens the rows of a query. Its mistakes are fault values, and name the
// rows that are wrong by file and line.
func FindData(ctx context.Context, q DataQuery, o Options) (*dataset.Splits, error) {
	if len(q.Sources) == 0 {
		if _, err := os.Stat(q.Data); err == nil || !hub.LooksLikeRepo(q.Data) {
			splits, err := localData(q.Data, q.options(q.Features))
			return splits, fault.Mark(err)
		}
	}
	var loaded []dataset.Part
	for _, p := range q.parts() {
		o.say("Loading Hugging Face dataset %s.", p.Path)
		if err := p.find(ctx, o); err != nil {
			return nil, err
		}
		loaded = append(loaded, p.part)
	}
	splits, err := dataset.LoadParts(loaded)
	return splits, fault.Mark(err)
}

func (q *DataQuery) options(f Features) dataset.Options {
	return dataset.Options{PromptFeature: f.Prompt, CompletionFeature: f.Completion, ChatFeature: f.Chat, TextFeature: f.Text, Preference: q.Pairs, CompatMLX: q.CompatMLX}
}

// A part is a source on its way to be read.
type part struct {
	Source
	part dataset.Part
}

// parts are the sources as far as they are needed. A repository that Data names is a
// source of its own, with the splits of the usual names, as far as they are there.
func (q *DataQuery) parts() []part {
	sources, optional := q.Sources, false
	if len(sources) == 0 {
		whole := Source{Path: q.Data, Features: q.Features, Train: "train", Valid: "valid", Test: "test"}
		sources, optional = []Source{whole}, true
	}
	var parts []part
	for _, s := range sources {
		p := part{s, dataset.Part{Name: s.Path, Optional: optional, Options: q.options(s.Features)}}
		if optional {
			p.part.Name = q.Data
		}
		if q.Train {
			p.part.Train = s.Train
		}
		if q.Valid {
			p.part.Valid = s.Valid
		}
		if q.Test {
			p.part.Test = s.Test
		}
		parts = append(parts, p)
	}
	return parts
}

// localData reads a folder or file. A folder that is a copy of a dataset repository may say in its card where the
// rows are.
func localData(path string, o dataset.Options) (*dataset.Splits, error) {
	configs, err := readCard(filepath.Join(path, cardName))
	if err != nil {
		return nil, err
	}
	if len(configs) == 0 || dataset.HasPlainFiles(path) {
		return dataset.Load(path, o)
	}
	layout, err := (&Source{}).localLayout(path, configs)
	if err != nil {
		return nil, err
	}
	return dataset.LoadLayout(path, layout, o)
}

func (s *Source) localLayout(dir string, configs []dataset.Config) (dataset.Layout, error) {
	names, err := dataset.Names(dir)
	if err != nil {
		return nil, err
	}
	return s.layout(names, configs)
}

// layout finds the files of the splits: where the source says, else where the card says, else by name.
func (s *Source) layout(names []string, configs []dataset.Config) (dataset.Layout, error) {
	files := dataset.Config{Dir: s.Dir, Files: s.Files}
	if files.Dir == "" && len(files.Files) == 0 {
		var err error
		if files, err = dataset.ChooseConfig(configs, s.Config); err != nil {
			return nil, err
		}
	}
	return dataset.FindLayout(names, files, true)
}

// find says where the files of the part are. Those of a repository that are needed are downloaded.
func (p *part) find(ctx context.Context, o Options) error {
	look := func(context.Context, Options) error { return p.local() }
	if _, err := os.Stat(p.Path); err != nil {
		look = p.download
	}
	if err := look(ctx, o); err != nil {
		return fmt.Errorf("data %s: %w", p.part.Name, err)
	}
	return nil
}

func (p *part) local() error {
	configs, err := readCard(filepath.Join(p.Path, cardName))
	if err == nil {
		p.part.Dir = p.Path
		p.part.Layout, err = p.localLayout(p.Path, configs)
	}
	return fault.Mark(err)
}
