package tune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/run/tensorboard"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/weights"
)

// Train fine-tunes the open model, into the folder AdapterPath, which no other process
// may hold: the plan first, then the manifest, the training, the adapter. When ctx ends
// it saves and returns train.ErrInterrupted, with what was trained.
func (j *Job) Train(ctx context.Context) (result Result, err error) {
	result, err = j.train(ctx)
	if r := j.options.Reduce; r != nil && err != nil && !errors.Is(err, train.ErrInterrupted) {
		r.Leave(err)
	}
	return result, err
}

func (j *Job) train(ctx context.Context) (result Result, err error) {
	folder, release, err := j.record()
	if err != nil {
		return result, err
	}
	defer release()
	earlier, err := j.goOn()
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
	examples, lengths, err := j.examples(ctx, rows)
	if err != nil {
		return result, err
	}
	if j.identity, err = j.identify(examples, train.FromRows(valid)); err != nil {
		return result, err
	}
	if earlier != nil {
		if err := j.sameRun(earlier, j.identity); err != nil {
			return result, err
		}
		if earlier.finished() && (earlier.done.Early || j.Recipe.Iters == earlier.was.Iters) {
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
	settings, err := j.Recipe.training()
	if err != nil {
		return result, err
	}
	done := 0
	if earlier != nil {
		done = earlier.done.Iterations
	}
	plan, err := j.plan(lengths, done, settings.StepsPerPass(examples.Len()))
	if err != nil {
		return result, err
	}
	if err := j.makeTrainable(earlier); err != nil {
		return result, err
	}
	if err := j.begin(folder, earlier); err != nil {
		return result, err
	}
	return j.loop(ctx, folder, plan, earlier, examples, valid, j.Recipe.askTokens(lengths))
}

// begin readies the folder for the run.
func (j *Job) begin(folder *run.Folder, earlier *earlierRun) error {
	if folder == nil {
		return nil
	}
	started := time.Now().UTC()
	var best *run.BestSaved
	if earlier == nil {
		if err := forget(j.Recipe.AdapterPath); err != nil {
			return err
		}
		if err := folder.Rewind(0); err != nil {
			return err
		}
	} else {
		started, best = earlier.began.Started, earlier.began.Best
		j.checkpoints = earlier.checkpoints
		if err := folder.Rewind(earlier.done.Iterations); err != nil {
			return err
		}
		j.options.say("Going on from iteration %d of %d.", earlier.done.Iterations, j.Recipe.Iters)
	}
	return j.writeManifest(folder, started, best)
}

// record opens the folder of the run, for the worker that writes it. Its log hears all events until release, which warns
// of those that it could not hold.
func (j *Job) record() (folder *run.Folder, release func(), err error) {
	if !j.options.first() {
		return nil, func() {}, nil
	}
	if folder, err = run.OpenFolder(j.Recipe.AdapterPath); err != nil {
		return nil, nil, err
	}
	report := j.options.Report
	events, err := j.events()
	if err != nil {
		return nil, nil, errors.Join(err, folder.Close())
	}
	j.options.Report = run.Multi(folder, report)
	if events != nil {
		j.options.Report = run.Multi(folder, events, report)
	}
	return folder, func() {
		j.options.Report = report
		if events != nil {
			if err := events.Close(); err != nil {
				j.options.report(run.Warning{Text: fault.Say("%v", err)})
			}
		}
		if err := folder.Close(); err != nil {
			j.options.report(run.Warning{Text: fault.Say("%v", err)})
		}
	}, nil
}

// events opens a file of events for TensorBoard, if one is wanted.
func (j *Job) events() (*tensorboard.Writer, error) {
	if j.Recipe.ReportTo != reportTensorBoard {
		return nil, nil
	}
	w, err := tensorboard.Create(filepath.Join(j.Recipe.AdapterPath, tensorboard.Folder))
	if err != nil {
		return nil, fault.At("report_to", "%w", err)
	}
	return w, nil
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
func (j *Job) loop(ctx context.Context, folder *run.Folder, plan run.Plan, from *earlierRun, rows train.Examples, valid *dataset.Rows, askTokens int) (result Result, err error) {
	settings, err := j.Recipe.training()
	if err != nil {
		return result, err
	}
	settings.Frozen = j.Recipe.frozenCache(plan, j.Engine.Model.Device().Info())
	trainer := &train.Trainer{
		Model: j.Engine.Model, Train: rows, Valid: train.FromRows(valid),
		PeakMemory: j.Engine.PeakMemory, Reporter: j.options.Report, Options: settings, Abandon: j.options.Abandon, Reduce: j.options.Reduce,
		Save: func(s train.Snapshot) (run.Saved, error) {
			saved, err := j.save(folder, s)
			if err == nil && s.Checkpoint {
				result.Checkpoint = saved.Checkpoint
			}
			return saved, err
		},
	}
	trainer.AskEvery = cmp.Or(j.Recipe.EvalEvery, j.Recipe.StepsPerEval)
	if trainer.Ask = j.ask(j.earlierEvents(from), askTokens); j.Recipe.SaveBest && trainer.Ask == nil {
		trainer.SaveBest = func(b train.Best) error { return j.saveBest(b, nil) }
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
	j.sayWhatIsDone(rows.Len(), settings)
	began := time.Now()
	trained, err := trainer.Run(ctx)
	if errors.Is(err, train.ErrState) {
		err = j.cannotGoOn(err)
	}
	result.Trained, j.trained = &trained, &trained
	end := run.End{Outcome: run.Done, Iteration: trained.Iterations, Seconds: time.Since(began).Seconds()}
	switch {
	case errors.Is(err, train.ErrInterrupted):
		end.Outcome = run.Interrupted
	case err != nil:
		end.Outcome, end.Error = run.Failed, err.Error()
	}
	j.options.report(end)
	if m := j.manifest; m != nil && m.Best != nil && err == nil {
		b := m.Best
		if b.Questions > 0 {
			j.options.say("After iteration %d the most answers were right, %d of %d: its adapter is %s.", b.Iteration-1, b.Right, b.Questions, b.Path)
		} else {
			j.options.say("The best validation was that of iteration %d, with a loss of %.3f: its adapter is %s.", b.Iteration, b.Loss, b.Path)
		}
	}
	if end.Outcome == run.Interrupted {
		j.sayHowToGoOn(trained.Iterations)
	}
	return result, err
}

// sayWhatIsDone tells what the iterations come to, in rows and passes, and at which learning rate.
func (j *Job) sayWhatIsDone(rows int, o train.Options) {
	size := min(o.BatchSize, rows)
	first, most := o.Schedule(0), highest(o)
	rate := fmt.Sprint(most)
	if first != most {
		rate = fmt.Sprintf("%g at first and %g at most", first, most)
	}
	j.options.say("%d iterations of %s: %s over %s, at a learning rate of %s.", o.Iters, count(size, "row"), count(passes(o.Iters, o.StepsPerPass(rows)), "pass"), count(rows, "row"), rate)
}

// passes is how often all rows are seen, to a tenth.
func passes(iters, steps int) float64 {
	return math.Round(float64(iters)/float64(max(steps, 1))*10) / 10
}

// count writes a number with its noun, "1 row" or "4.5 passes".
func count[N int | float64](n N, noun string) string {
	if n != 1 {
		noun += map[bool]string{true: "es", false: "s"}[strings.HasSuffix(noun, "s")]
	}
	return fmt.Sprint(n, " ", noun)
}

// highest is the largest learning rate of the run, as far as a thousand looks at its schedule tell.
func highest(o train.Options) float64 {
	most, n := 0.0, max(o.Iters/o.GradAccumulationSteps, 1)
	for i := range min(n, 1000) {
		most = max(most, o.Schedule(i*n/min(n, 1000)))
	}
	return most
}

// earlierEvents are those of the run that goes on, up to where it does.
func (j *Job) earlierEvents(from *earlierRun) []run.Record {
	if from == nil {
		return nil
	}
	records, err := run.ReadLog(filepath.Join(j.Recipe.AdapterPath, run.LogName))
	if err != nil {
		return nil // the best of before is not known: a later one is kept all the same
	}
	return records
}

// earlier lists the iterations of each run that trained a file of weights, as the log of
// its folder tells; none if that does not.
func earlier(file string) (iterations []int) {
	if file == "" {
		return nil
	}
	dir := filepath.Dir(file)
	if filepath.Base(dir) == bestDir {
		dir = filepath.Dir(dir)
	}
	records, err := run.ReadLog(filepath.Join(dir, run.LogName))
	if err != nil {
		return nil // a card will not tell of them: no reason not to train
	}
	var before []int
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.Start:
			before = e.Earlier
		case run.Saved:
			if name := filepath.Base(file); dir == filepath.Dir(file) && (name == filepath.Base(e.Path) || name == filepath.Base(e.Checkpoint)) {
				iterations = append(slices.Clone(before), e.Iteration)
			}
		case run.BestSaved:
			if dir != filepath.Dir(file) {
				iterations = append(slices.Clone(before), e.Iteration-1)
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
