package tune

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/weights"
)

// Train fine-tunes the open model, into the folder AdapterPath, which no other process
// may hold: the plan first, then the manifest, the training, the adapter. When ctx ends
// it saves and returns train.ErrInterrupted, with what was trained.
func (j *Job) Train(ctx context.Context) (result Result, err error) {
	folder, release, err := j.record()
	if err != nil {
		return result, err
	}
	defer release()
	if _, err := atomicfile.Settle(j.Recipe.AdapterPath); err != nil { // what a killed run left
		return result, err
	}
	earlier, err := j.lookBack()
	if err != nil {
		return result, err
	}
	defer earlier.close()
	rows, err := j.Rows(ctx, j.Data.Train)
	if err != nil {
		return result, err
	}
	valid, err := j.Rows(ctx, j.Data.Valid)
	if err != nil {
		return result, err
	}
	if j.identity, err = j.identify(train.FromRows(rows), train.FromRows(valid)); err != nil {
		return result, err
	}
	if earlier != nil {
		if err := j.sameRun(earlier, j.identity); err != nil {
			return result, err
		}
		if earlier.finished() && j.Recipe.Iters == earlier.was.Iters {
			return j.finish(earlier)
		}
	}
	if text := j.Data.ValidWarning(); text != "" {
		j.options.report(run.Warning{Text: fault.Say("%s", strings.TrimPrefix(text, "Warning: "))})
	}
	if n := rows.Len(); n < j.Recipe.BatchSize && !j.Recipe.compatMLX() {
		j.options.report(run.Warning{Text: fault.Say("%v %d is more than the %d rows of the training set: each step takes all of them", fault.Setting("batch_size"), j.Recipe.BatchSize, n)})
	}
	defer collectOften()()
	plan, err := j.plan(rows)
	if err != nil {
		return result, err
	}
	if err := j.makeTrainable(earlier); err != nil {
		return result, err
	}
	if err := j.begin(folder, earlier); err != nil {
		return result, err
	}
	return j.loop(ctx, folder, plan, earlier, rows, valid)
}

// begin readies the folder for the run.
func (j *Job) begin(folder *run.Folder, earlier *earlierRun) error {
	started := time.Now().UTC()
	if earlier == nil {
		if err := forget(j.Recipe.AdapterPath); err != nil {
			return err
		}
		if err := folder.Rewind(0); err != nil {
			return err
		}
	} else {
		started = earlier.began.Started
		if err := folder.Rewind(earlier.done.Iterations); err != nil {
			return err
		}
		j.options.say("Going on from iteration %d of %d.", earlier.done.Iterations, j.Recipe.Iters)
	}
	return j.writeManifest(folder, started)
}

// record opens the folder of the run. Its log hears all events until release, which warns of those that it could not hold.
func (j *Job) record() (folder *run.Folder, release func(), err error) {
	if folder, err = run.OpenFolder(j.Recipe.AdapterPath); err != nil {
		return nil, nil, err
	}
	report := j.options.Report
	j.options.Report = run.Multi(folder, report)
	return folder, func() {
		j.options.Report = report
		if err := folder.Close(); err != nil {
			j.options.report(run.Warning{Text: fault.Say("%v", err)})
		}
	}, nil
}

// makeTrainable puts a new adapter on m, or frees its weights for full fine-tuning.
func (r *Recipe) makeTrainable(m *model.Model) error {
	if r.NumLayers > len(m.Blocks) {
		return fault.Value("num_layers", r.NumLayers, fmt.Sprintf("at most %d, the layers of the model", len(m.Blocks))).
			Try("Give %v %d, or -1 for all.", fault.Setting("num_layers"), len(m.Blocks))
	}
	if r.FineTuneType == "full" {
		return fault.Mark(m.Unfreeze(r.NumLayers, r.TrainEmbeddings), compute.ErrNoMemory)
	}
	_, err := adapter.New(m, r.lora(), compute.NewKey(uint64(r.Seed)))
	return fault.Mark(err, compute.ErrNoMemory)
}

// makeTrainable is that of the recipe on the open model, with the weights of
// ResumeAdapterFile over the new adapter's, by name, unless a run goes on.
func (j *Job) makeTrainable(earlier *earlierRun) error {
	if err := j.Recipe.makeTrainable(j.Engine.Model); err != nil {
		return err
	}
	path := j.Recipe.ResumeAdapterFile
	if path == "" || earlier != nil {
		return nil
	}
	j.options.say("Loading fine-tuned weights from %s", path)
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		return fault.At("resume_adapter_file", "%w", err)
	}
	defer file.Close()
	return fault.Mark(adapter.Resume(j.Engine.Model, file), compute.ErrNoMemory)
}

// loop runs the training loop with its first and last events.
func (j *Job) loop(ctx context.Context, folder *run.Folder, plan run.Plan, from *earlierRun, rows, valid *dataset.Rows) (result Result, err error) {
	settings, err := j.Recipe.training()
	if err != nil {
		return result, err
	}
	settings.Frozen = j.Recipe.frozenCache(plan, j.Engine.Model.Device().Info())
	trainer := &train.Trainer{
		Model: j.Engine.Model, Train: train.FromRows(rows), Valid: train.FromRows(valid),
		PeakMemory: j.Engine.PeakMemory, Reporter: j.options.Report, Options: settings, Abandon: j.options.Abandon,
		Save: func(s train.Snapshot) (run.Saved, error) {
			saved, err := j.save(folder, s)
			if err == nil && s.Checkpoint {
				result.Checkpoint = saved.Checkpoint
			}
			return saved, err
		},
	}
	first, before := 1, earlier(j.Recipe.ResumeAdapterFile)
	if from != nil {
		trainer.From, from.state = from.state, nil
		first, before = from.done.Iterations+1, from.before
	}
	trainable, total := j.Engine.Model.CountParameters()
	j.options.report(run.Start{
		Title: j.title(), Model: j.Recipe.Model, AdapterPath: j.Recipe.AdapterPath, FirstIteration: first, Iterations: j.Recipe.Iters,
		TrainableParams: trainable, TotalParams: total, Earlier: before,
	})
	began := time.Now()
	trained, err := trainer.Run(ctx)
	result.Trained, j.trained = &trained, &trained
	end := run.End{Outcome: run.Done, Iteration: trained.Iterations, Seconds: time.Since(began).Seconds()}
	switch {
	case errors.Is(err, train.ErrInterrupted):
		end.Outcome = run.Interrupted
	case err != nil:
		end.Outcome, end.Error = run.Failed, err.Error()
	}
	j.options.report(end)
	if end.Outcome == run.Interrupted {
		j.sayHowToGoOn(trained.Iterations)
	}
	return result, err
}

// earlier lists the iterations of each run that trained a file of weights, as the log of
// its folder tells; none if that does not.
func earlier(file string) (iterations []int) {
	if file == "" {
		return nil
	}
	records, err := run.ReadLog(filepath.Join(filepath.Dir(file), run.LogName))
	if err != nil {
		return nil // a card will not tell of them: no reason not to train
	}
	var before []int
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.Start:
			before = e.Earlier
		case run.Saved:
			if name := filepath.Base(file); name == filepath.Base(e.Path) || name == filepath.Base(e.Checkpoint) {
				iterations = append(slices.Clone(before), e.Iteration)
			}
		}
	}
	return iterations
}

func (j *Job) sayHowToGoOn(done int) {
	if done == 0 {
		j.options.say("Nothing was trained yet; give the same command again.")
		return
	}
	j.options.say("To go on from iteration %d of %d, give the same command again.", done, j.Recipe.Iters)
}

// save writes the adapter, a numbered copy at a checkpoint, and the state that goes with them: all or nothing.
func (j *Job) save(folder *run.Folder, s train.Snapshot) (run.Saved, error) {
	dir := j.Recipe.AdapterPath
	saved := run.Saved{Iteration: s.Iteration, Path: filepath.Join(dir, adapter.File)}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return saved, err
	}
	defer set.Discard()
	names := []string{adapter.File}
	if s.Checkpoint {
		names = append(names, fmt.Sprintf("%07d_%s", s.Iteration, adapter.File))
		saved.Checkpoint = filepath.Join(dir, names[1])
	}
	for _, name := range names {
		if err := adapter.SaveWeights(j.Engine.Model, filepath.Join(set.Dir(), name)); err != nil {
			return saved, err
		}
	}
	if err := j.writeState(set, s); err != nil {
		return saved, err
	}
	// What the log tells of the run so far has to be there if the state is.
	if err := folder.Sync(); err != nil {
		return saved, err
	}
	return saved, set.Commit()
}

// writeManifest writes run.json and mlx-lm's adapter_config.json, before training starts.
func (j *Job) writeManifest(folder *run.Folder, started time.Time) error {
	config, err := j.Recipe.config()
	if err != nil {
		return err
	}
	text, err := jinja.DumpJSON(config, 4)
	if err != nil {
		return err
	}
	m := run.Manifest{Version: j.options.Version, Command: j.options.Command, Started: started, Machine: machine.Name(), Model: j.Recipe.Model, Settings: j.Recipe.all(config)}
	for _, split := range []*dataset.Split{j.Data.Train, j.Data.Valid, j.Data.Test} {
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
	if err := folder.WriteManifest(m); err != nil {
		return err
	}
	return atomicfile.Write(folder.Path(adapter.ConfigFile), []byte(text))
}

// title is the headline of a live view.
func (j *Job) title() string {
	r := &j.Recipe
	parts := []string{filepath.Base(strings.TrimRight(r.Model, "/")), r.FineTuneType}
	parts = append(parts, fmt.Sprintf("%d layers", len(j.Engine.Model.LastBlocks(r.NumLayers))))
	if r.FineTuneType != "full" {
		parts = append(parts, fmt.Sprintf("rank %d", r.LoRA.Rank))
	}
	if r.pairs() {
		parts = append(parts, r.TrainMode)
	}
	return strings.Join(append(parts, fmt.Sprintf("batch %d", r.BatchSize)), " · ")
}

// Test measures the loss on the test set. The log of a run that trains hears of it, too.
func (j *Job) Test(ctx context.Context) (got train.Evaluation, err error) {
	if j.Recipe.Train {
		_, release, err := j.record()
		if err != nil {
			return got, err
		}
		defer release()
	}
	rows, err := j.Rows(ctx, j.Data.Test)
	if err != nil {
		return got, err
	}
	settings := j.Recipe.evaluation()
	if settings.CompatMLX {
		settings.After = j.trained
	}
	got, err = train.Evaluate(ctx, j.Engine.Model, train.FromRows(rows), settings, func(done, total int) {
		j.options.report(run.Progress{Task: "Calculating loss", Done: done, Total: total})
	})
	if err != nil {
		return got, err
	}
	j.options.report(run.TestReport{Loss: got.Loss, Perplexity: got.Perplexity(), Tokens: got.Tokens, Figures: got.Figures})
	return got, nil
}
