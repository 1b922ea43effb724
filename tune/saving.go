package tune

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// bestDir is the folder, in that of an adapter, with the adapter of the best validation.
const bestDir = "best"

// save keeps a snapshot. The adapter of a run that is done is kept also where the disk has no room for the state,
// without which the run cannot go on.
func (j *Job) save(folder *run.Folder, s train.Snapshot) (run.Saved, error) {
	saved, err := j.saveAll(folder, s, true)
	if s.Checkpoint || !atomicfile.Full(err) {
		return saved, err
	}
	saved, again := j.saveAll(folder, s, false)
	if again != nil {
		return saved, err
	}
	j.options.report(run.Warning{Text: fault.Say("the adapter is saved, and what a larger %v would need to go on with the run is not: %v", fault.Setting("iters"), err)})
	return saved, nil
}

// saveAll writes the adapter, a numbered copy at a checkpoint, and, if it is wanted, the state that goes with them: all or nothing.
func (j *Job) saveAll(folder *run.Folder, s train.Snapshot, state bool) (run.Saved, error) {
	dir := j.Recipe.AdapterPath
	saved := run.Saved{Iteration: s.Iteration, Path: filepath.Join(dir, adapter.File)}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return saved, err
	}
	defer set.Discard()
	names, checkpoints := []string{adapter.File}, j.checkpoints
	if s.Checkpoint {
		names = append(names, checkpointName(s.Iteration))
		saved.Checkpoint = filepath.Join(dir, names[1])
		checkpoints = j.prune(set, s.Iteration)
	}
	for _, name := range names {
		if err := adapter.SaveWeights(j.Engine.Model, filepath.Join(set.Dir(), name)); err != nil {
			return saved, err
		}
	}
	if state {
		if err := j.writeState(set, s); err != nil {
			return saved, err
		}
	}
	// What the log tells of the run so far has to be there if the state is.
	if err := folder.Sync(); err != nil {
		return saved, err
	}
	if err := set.Commit(); err != nil {
		return saved, err
	}
	j.checkpoints = checkpoints
	return saved, nil
}

// checkpointName is the file of the weights after an iteration.
func checkpointName(iteration int) string { return fmt.Sprintf("%07d_%s", iteration, adapter.File) }

// prune gives the iterations of the numbered copies once a set brings a new one, and has the oldest go with it where there
// are too many.
func (j *Job) prune(set *atomicfile.Set, iteration int) []int {
	all := slices.Clone(j.checkpoints)
	if !slices.Contains(all, iteration) {
		all = append(all, iteration)
	}
	if most := j.Recipe.KeepCheckpoints; most > 0 && len(all) > most {
		for _, old := range all[:len(all)-most] {
			set.Remove(checkpointName(old))
		}
		all = all[len(all)-most:]
	}
	return all
}

// saveBest writes the adapter of the best validation so far, or with the most right answers, as a folder of its own, and its place into run.json.
func (j *Job) saveBest(b train.Best, asked *run.Asked) error {
	dir := j.Recipe.AdapterPath
	saved := run.BestSaved{Iteration: b.Iteration, Loss: b.Loss, Path: filepath.Join(dir, bestDir, adapter.File)}
	if asked != nil {
		saved.Right, saved.Questions = asked.Right, asked.Questions
	}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return err
	}
	defer set.Discard()
	if err := set.Write(bestDir+"/"+adapter.ConfigFile, j.config); err != nil {
		return err
	}
	if err := adapter.SaveWeights(j.Engine.Model, filepath.Join(set.Dir(), bestDir, adapter.File)); err != nil {
		return err
	}
	m := *j.manifest
	m.Best = &saved
	text, err := m.Text()
	if err != nil {
		return err
	}
	if err := set.Write(run.ManifestName, text); err != nil {
		return err
	}
	if err := set.Commit(); err != nil {
		return err
	}
	j.manifest = &m
	j.options.report(saved)
	return nil
}

// writeManifest writes run.json and mlx-lm's adapter_config.json, before training starts.
func (j *Job) writeManifest(folder *run.Folder, started time.Time, best *run.BestSaved) error {
	config, err := j.Recipe.config()
	if err != nil {
		return err
	}
	text, err := jinja.DumpJSON(config, 4)
	if err != nil {
		return err
	}
	m := &run.Manifest{Version: j.options.Version, Command: j.options.Command, Started: started, Machine: machine.Name(), Model: j.Recipe.Model, Settings: j.Recipe.all(config), Best: best}
	for _, split := range []*dataset.Split{j.Data.Train, j.Data.Valid, j.Data.Test, j.replay} {
		if split == nil {
			continue
		}
		for _, path := range split.Files {
			if i := slices.IndexFunc(m.Data, func(d run.DataFile) bool { return d.Path == path }); i >= 0 {
				m.Data[i].Splits = append(m.Data[i].Splits, split.Name) // two splits of one file
				continue
			}
			file, err := run.HashFile(path)
			if err != nil {
				return err
			}
			file.Splits = []string{split.Name}
			m.Data = append(m.Data, file)
		}
	}
	if err := folder.WriteManifest(*m); err != nil {
		return err
	}
	j.manifest, j.config = m, []byte(text)
	return atomicfile.Write(folder.Path(adapter.ConfigFile), j.config)
}
