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
	rows, err := j.Rows(ctx, j.Data.Train)
	if err != nil {
		return result, err
	}
	valid, err := j.Rows(ctx, j.Data.Valid)
	if err != nil {
		return result, err
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
	if err := j.makeTrainable(); err != nil {
		return result, err
	}
	if err := j.writeManifest(folder); err != nil {
		return result, err
	}
	return j.loop(ctx, plan, rows, valid)
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
// ResumeAdapterFile over the new adapter's, by name.
func (j *Job) makeTrainable() error {
	if err := j.Recipe.makeTrainable(j.Engine.Model); err != nil {
		return err
	}
	path := j.Recipe.ResumeAdapterFile
	if path == "" {
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
func (j *Job) loop(ctx context.Context, plan run.Plan, rows, valid *dataset.Rows) (result Result, err error) {
	settings, err := j.Recipe.training()
	if err != nil {
		return result, err
	}
	settings.Frozen = j.Recipe.frozenCache(plan)
	trainer := &train.Trainer{
		Model: j.Engine.Model, Train: train.FromRows(rows), Valid: train.FromRows(valid),
		PeakMemory: machine.PeakMemory, Reporter: j.options.Report, Options: settings, Abandon: j.options.Abandon,
		Save: func(iteration int, checkpoint bool) (run.Saved, error) {
			saved, err := j.save(iteration, checkpoint)
			if err == nil && checkpoint {
				result.Checkpoint = saved.Checkpoint
			}
			return saved, err
		},
	}
	trainable, total := j.Engine.Model.CountParameters()
	j.options.report(run.Start{
		Title: j.title(), Model: j.Recipe.Model, AdapterPath: j.Recipe.AdapterPath, FirstIteration: 1, Iterations: j.Recipe.Iters,
		TrainableParams: trainable, TotalParams: total, Earlier: earlier(j.Recipe.ResumeAdapterFile),
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
		j.sayHowToGoOn(result)
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

func (j *Job) sayHowToGoOn(r Result) {
	done := r.Trained.Iterations
	if done == 0 {
		j.options.say("Nothing was trained yet; run the same command again.")
		return
	}
	anew := "the optimizer's averages and the order of the rows"
	if j.Recipe.LRSchedule != nil {
		anew = "the optimizer's averages, the learning rate's schedule and the order of the rows"
	}
	j.options.say("Going on begins %s anew: the weights will not be those of a run without a stop.", anew)
	j.options.say("To go on from iteration %d, give the same command with: %v %s %v %d", done,
		fault.Setting("resume_adapter_file"), r.Checkpoint, fault.Setting("iters"), max(1, j.Recipe.Iters-done))
}

// save writes the adapter, and a numbered copy at a checkpoint.
func (j *Job) save(iteration int, checkpoint bool) (run.Saved, error) {
	saved := run.Saved{Iteration: iteration, Path: filepath.Join(j.Recipe.AdapterPath, adapter.File)}
	if err := adapter.SaveWeights(j.Engine.Model, saved.Path); err != nil {
		return saved, err
	}
	if !checkpoint {
		return saved, nil
	}
	saved.Checkpoint = filepath.Join(j.Recipe.AdapterPath, fmt.Sprintf("%07d_%s", iteration, adapter.File))
	return saved, adapter.SaveWeights(j.Engine.Model, saved.Checkpoint)
}

// writeManifest writes run.json and mlx-lm's adapter_config.json, before training starts.
func (j *Job) writeManifest(folder *run.Folder) error {
	config, err := j.Recipe.config()
	if err != nil {
		return err
	}
	text, err := jinja.DumpJSON(config, 4)
	if err != nil {
		return err
	}
	m := run.Manifest{Version: j.options.Version, Command: j.options.Command, Started: time.Now().UTC(), Model: j.Recipe.Model, Settings: j.Recipe.all(config)}
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
	j.options.report(run.TestReport{Loss: got.Loss, Perplexity: got.Perplexity(), Tokens: got.Tokens})
	return got, nil
}
