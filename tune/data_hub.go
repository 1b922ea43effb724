package tune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
)

// download fetches the card, and the files of the splits that are needed.
func (p *part) download(ctx context.Context, o Options) error {
	ref, err := hub.ParseRef(p.Path, hub.Dataset)
	if err != nil {
		return fault.Of("no such folder, and %w", err)
	}
	repo := ref.Repo
	p.Revision = cmp.Or(p.Revision, ref.Revision)
	if err := p.narrow(ref); err != nil {
		return err
	}
	config, err := hub.FromEnv()
	if err != nil {
		return fault.Mark(err)
	}
	config.Notice = o.warn
	client, err := hub.New(config)
	if err != nil {
		return err
	}
	list, err := client.List(ctx, repo, p.Revision)
	if err != nil {
		return hub.Mark(fmt.Errorf("no such folder, and as a dataset on the hub: %w", err))
	}
	names := make([]string, len(list.Files))
	for i, f := range list.Files {
		names[i] = f.Path
	}
	configs, err := hubCard(ctx, client, repo, list.Commit, names)
	if err != nil {
		return err
	}
	if p.part.Layout, err = p.layout(names, configs); err != nil {
		return fault.Mark(err)
	}
	needed, err := p.needed()
	if err != nil || len(needed) == 0 { // nothing to read: whoever needs rows says what is missing
		return err
	}
	options, end := hub.Options{Revision: p.Revision, Include: needed}, func() {}
	if o.Download != nil && !config.Quiet {
		options.Progress, end = o.Download(repo.ID)
	}
	snap, err := client.Download(ctx, repo, options)
	end()
	if err != nil {
		return hub.Mark(err)
	}
	if text := snap.Warning(); text != "" {
		o.warn(text)
	}
	if snap.Commit != list.Commit {
		return fault.Advise(errors.New("the dataset was changed on the hub just now"), "Run the command again.")
	}
	p.part.Dir = snap.Dir
	return nil
}

// narrow takes the file or folder that an address names for the rows.
func (p *part) narrow(ref hub.Ref) error {
	switch {
	case ref.Repo.Type != hub.Dataset && ref.Repo.Type != hub.Model:
		return fault.Of("this is a %s, expected a dataset", ref.Repo.Type).Try("Give the name of a dataset, such as ORG/NAME.")
	case ref.Path == "" || p.Dir != "" || p.Files != nil:
	case ref.Folder:
		p.Dir = ref.Path
	default:
		p.Files = dataset.Layout{{Split: "train", Files: []string{ref.Path}}}
	}
	return nil
}

// needed gives patterns of the files of the wanted splits.
func (p *part) needed() ([]string, error) {
	if p.part.Optional && p.part.Valid != "" {
		p.part.Valid = p.part.Layout.Valid(p.part.CompatMLX)
	}
	var needed []string
	for _, rows := range []string{p.part.Train, p.part.Valid, p.part.Test} {
		splits, err := dataset.SplitsIn(rows)
		if err != nil {
			return nil, fault.Mark(err)
		}
		for _, split := range splits {
			files, _ := p.part.Layout.Files(split)
			for _, name := range files {
				if pattern := hub.Exactly(name); !slices.Contains(needed, pattern) {
					needed = append(needed, pattern)
				}
			}
		}
	}
	return needed, nil
}

// hubCard reads the configurations in the card of a repository, if there is one to be had.
func hubCard(ctx context.Context, client *hub.Client, repo hub.Repo, commit string, names []string) ([]dataset.Config, error) {
	if !slices.Contains(names, cardName) {
		return nil, nil
	}
	snap, err := client.Download(ctx, repo, hub.Options{Revision: commit, Include: []string{cardName}})
	if errors.Is(err, hub.ErrNotCached) {
		return nil, nil // without a network, the names of the files have to do
	}
	if err != nil {
		return nil, hub.Mark(err)
	}
	configs, err := readCard(filepath.Join(snap.Dir, cardName))
	return configs, fault.Mark(err)
}
