package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/weights"
)

// trained is what lora's --json writes. Figures that were not measured are null.
type trained struct {
	AdapterPath   string  `json:"adapter_path"`
	Iterations    int     `json:"iterations"`
	TrainLoss     any     `json:"train_loss"`
	ValLoss       any     `json:"val_loss"`
	TestLoss      any     `json:"test_loss"`
	TestPPL       any     `json:"test_ppl"`
	TrainedTokens int64   `json:"trained_tokens"`
	Seconds       float64 `json:"seconds"`
	PeakBytes     int64   `json:"peak_bytes"`
}

// A job is one run of lora: the model, its data and what it reports to.
type job struct {
	*loraOptions
	engine  *engine.Engine
	splits  *dataset.Splits
	encoder *dataset.Encoder
	report  run.Reporter
	figures trained
}

func runLoRA(ctx context.Context, streams Streams, o *loraOptions) error {
	began := time.Now()
	display := streams.display()
	defer display.Close()
	j := &job{loraOptions: o, report: display, figures: trained{AdapterPath: o.AdapterPath}}
	if err := j.open(ctx, streams); err != nil {
		return err
	}
	defer j.engine.Close()
	if err := j.work(ctx); err != nil {
		return err
	}
	j.figures.Seconds, j.figures.PeakBytes = time.Since(began).Seconds(), machine.PeakMemory()
	return writeFigures(o.JSON, j.figures)
}

func (j *job) say(format string, args ...any) {
	j.report.Report(run.Message{Text: fault.Say(format, args...)})
}

// open loads model and data, and refuses what cannot work before anything long begins.
func (j *job) open(ctx context.Context, streams Streams) error {
	if _, err := j.training(); err != nil {
		return err
	}
	if _, err := j.lora(); err != nil {
		return err
	}
	if _, _, err := j.parts(); err != nil {
		return err
	}
	var err error
	j.say("Loading pretrained model")
	options := streams.opening(j.Threads)
	if !j.Train {
		options.Adapter = j.AdapterPath
	}
	if j.engine, err = engine.Open(ctx, j.Model, options); err != nil {
		return err
	}
	j.say("Loading datasets")
	if err := j.openData(ctx, streams); err != nil {
		j.engine.Close()
		return err
	}
	return nil
}

func (j *job) openData(ctx context.Context, streams Streams) (err error) {
	if j.splits, err = j.loadData(ctx, streams, j.say); err != nil {
		return err
	}
	if j.Train {
		if j.AdapterPath == "" {
			return usage("--adapter-path is empty\nGive the folder that the adapter is to be written to.")
		}
		if err := j.splits.CheckTrain(); err != nil {
			return inputError(err)
		}
	}
	if j.Test {
		if err := j.splits.CheckTest(); err != nil {
			return inputError(err)
		}
	}
	template, err := j.engine.Template() // none is enough for rows of text; others are refused when they are tokenised
	if err != nil {
		return err
	}
	j.encoder = dataset.NewEncoder(j.engine.Tokenizer, template, dataset.EncoderOptions{
		MaskPrompt: j.MaskPrompt, CompatMLX: j.Compat == "mlx", MaxSeqLength: j.MaxSeqLength,
	})
	return nil
}

func (j *job) work(ctx context.Context) error {
	if j.Train {
		j.say("Training")
		if err := j.train(ctx); err != nil {
			return err
		}
	}
	if j.Test {
		j.say("Testing")
		return j.test(ctx)
	}
	return nil
}

// tokens tokenises a split and warns of what is likely not meant.
func (j *job) tokens(ctx context.Context, split *dataset.Split) (*dataset.Rows, error) {
	rows, err := j.encoder.Rows(split)
	if err != nil {
		return nil, inputError(err)
	}
	if split.Len() == 0 {
		return rows, nil
	}
	report, err := rows.Prepare(ctx, func(done, total int) {
		j.report.Report(run.Progress{Task: "Tokenizing " + split.Name, Done: done, Total: total})
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, inputError(err)
	}
	for _, w := range report.Warnings() {
		j.report.Report(run.Warning{Text: w})
	}
	return rows, nil
}

// makeTrainable puts a new adapter on m, or frees its weights for full fine-tuning.
func (o *loraOptions) makeTrainable(m *model.Model) error {
	if o.NumLayers > len(m.Blocks) {
		return usage("--num-layers %d: the model has %d layers\nGive --num-layers %d, or -1 for all.", o.NumLayers, len(m.Blocks), len(m.Blocks))
	}
	if o.FineTuneType == "full" {
		return fault.Mark(m.Unfreeze(o.NumLayers, o.TrainEmbeddings), compute.ErrNoMemory)
	}
	config, err := o.lora()
	if err != nil {
		return err
	}
	_, err = adapter.New(m, config, compute.NewKey(uint64(o.Seed)))
	return fault.Mark(err, compute.ErrNoMemory)
}

func (j *job) train(ctx context.Context) (err error) {
	folder, err := run.OpenFolder(j.AdapterPath)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	j.report = run.Multi(folder, j.report)
	rows, err := j.tokens(ctx, j.splits.Train)
	if err != nil {
		return err
	}
	valid, err := j.tokens(ctx, j.splits.Valid)
	if err != nil {
		return err
	}
	if text := j.splits.ValidWarning(); text != "" {
		j.report.Report(run.Warning{Text: fault.Say("%s", strings.TrimPrefix(text, "Warning: "))})
	}
	lengths, err := rowLengths(rows)
	if err != nil {
		return err
	}
	plan, err := j.plan(j.engine, lengths)
	if err != nil {
		return err
	}
	j.report.Report(plan)
	if !plan.Fits {
		return tooLarge(plan)
	}
	if err := j.makeTrainable(j.engine.Model); err != nil {
		return err
	}
	if err := j.resume(); err != nil {
		return err
	}
	if err := j.writeManifest(folder); err != nil {
		return err
	}
	return j.loop(ctx, plan, rows, valid)
}

// tooLarge is the error for a run that does not fit into memory; the plan has told the rest.
func tooLarge(p run.Plan) error {
	remedies := fault.Say("")
	for _, r := range p.Remedies {
		remedies = fault.Say("%v\nTry: %v", remedies, r)
	}
	return fault.Of("the run needs %s of memory and %s is available%v", run.Bytes(p.TotalBytes), run.Bytes(p.AvailableBytes), remedies)
}

// loop runs the training loop with its first and last events.
func (j *job) loop(ctx context.Context, plan run.Plan, rows, valid *dataset.Rows) error {
	settings, err := j.training()
	if err != nil {
		return err
	}
	settings.Frozen = j.frozenCache(plan)
	trainer := &train.Trainer{
		Model: j.engine.Model, Train: train.FromRows(rows), Valid: train.FromRows(valid), Save: j.save,
		PeakMemory: machine.PeakMemory, Reporter: j.report, Options: settings,
	}
	trainable, total := countParameters(j.engine.Model)
	j.report.Report(run.Start{
		Title: j.title(), Model: j.Model, AdapterPath: j.AdapterPath, FirstIteration: 1, Iterations: j.Iters,
		TrainableParams: trainable, TotalParams: total,
	})
	began := time.Now()
	result, err := trainer.Run(ctx)
	end := run.End{Outcome: run.Done, Iteration: result.Iterations, Seconds: time.Since(began).Seconds()}
	switch {
	case errors.Is(err, train.ErrInterrupted):
		end.Outcome = run.Interrupted
	case err != nil:
		end.Outcome, end.Error = run.Failed, err.Error()
	}
	j.report.Report(end)
	if end.Outcome == run.Interrupted {
		j.sayHowToGoOn(result.Iterations)
		return fmt.Errorf("%w: %w", errSaid, err)
	}
	j.figures.Iterations, j.figures.TrainedTokens = result.Iterations, result.TrainedTokens
	j.figures.TrainLoss, j.figures.ValLoss = figure(result.TrainLoss), figure(result.ValLoss)
	return err
}

func (j *job) sayHowToGoOn(done int) {
	if done == 0 {
		j.say("Nothing was trained yet; run the same command again.")
		return
	}
	checkpoint := filepath.Join(j.AdapterPath, checkpointName(done))
	j.say("To go on from iteration %d, give the same command with: %v %s %v %d", done, fault.Setting("resume_adapter_file"), checkpoint, fault.Setting("iters"), max(1, j.Iters-done))
}

// resume puts the weights of --resume-adapter-file over the new adapter's, by name.
func (j *job) resume() error {
	if j.ResumeAdapterFile == "" {
		return nil
	}
	j.say("Loading fine-tuned weights from %s", j.ResumeAdapterFile)
	file, err := weights.OpenSafetensors(j.ResumeAdapterFile)
	if err != nil {
		return usage("--resume-adapter-file: %w", err)
	}
	defer file.Close()
	return fault.Mark(adapter.Resume(j.engine.Model, file), compute.ErrNoMemory)
}

func checkpointName(iteration int) string {
	return fmt.Sprintf("%07d_%s", iteration, adapter.File)
}

// save writes the adapter, and a numbered copy at a checkpoint.
func (j *job) save(iteration int, checkpoint bool) (run.Saved, error) {
	saved := run.Saved{Iteration: iteration, Path: filepath.Join(j.AdapterPath, adapter.File)}
	if err := adapter.SaveWeights(j.engine.Model, saved.Path); err != nil {
		return saved, err
	}
	if !checkpoint {
		return saved, nil
	}
	saved.Checkpoint = filepath.Join(j.AdapterPath, checkpointName(iteration))
	return saved, adapter.SaveWeights(j.engine.Model, saved.Checkpoint)
}

// writeManifest writes run.json and mlx-lm's adapter_config.json, before training starts.
func (j *job) writeManifest(folder *run.Folder) error {
	m := run.Manifest{Version: Version(), Command: os.Args, Started: time.Now().UTC(), Model: j.Model, Settings: j.settings()}
	for _, split := range []*dataset.Split{j.splits.Train, j.splits.Valid, j.splits.Test} {
		for _, path := range split.Files {
			if slices.ContainsFunc(m.Data, func(d run.DataFile) bool { return d.Path == path }) {
				continue // two splits of one file
			}
			file, err := run.HashFile(path)
			if err != nil {
				return err
			}
			m.Data = append(m.Data, file)
		}
	}
	if err := folder.WriteManifest(m); err != nil {
		return err
	}
	return run.WriteFile(folder.Path(adapter.ConfigFile), []byte(pythonJSON(j.adapterConfig())))
}

// settings are all options of the run, mlx-lm's and Lentil's own.
func (j *job) settings() map[string]any {
	settings := plainValue(j.adapterConfig()).(map[string]any)
	settings["train_embeddings"] = j.TrainEmbeddings
	settings["compat"] = j.Compat
	settings["threads"] = j.Threads
	settings["no_frozen_cache"] = j.NoFrozenCache
	return settings
}

// plainValue turns dicts into maps, for encoding/json.
func plainValue(value any) any {
	switch v := value.(type) {
	case dict:
		out := make(map[string]any, len(v))
		for _, m := range v {
			out[m.key] = plainValue(m.value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plainValue(item)
		}
		return out
	case float64:
		return figure(v)
	}
	return value
}

// title is the headline of the live view.
func (j *job) title() string {
	parts := []string{filepath.Base(strings.TrimRight(j.Model, "/")), j.FineTuneType}
	parts = append(parts, fmt.Sprintf("%d layers", len(j.engine.Model.LastBlocks(j.NumLayers))))
	if rank, ok := j.LoRAParameters.get("rank"); ok && j.FineTuneType != "full" {
		parts = append(parts, fmt.Sprintf("rank %v", rank))
	}
	parts = append(parts, fmt.Sprintf("batch %d", j.BatchSize))
	return strings.Join(parts, " · ")
}

func (j *job) test(ctx context.Context) error {
	rows, err := j.tokens(ctx, j.splits.Test)
	if err != nil {
		return err
	}
	got, err := train.Evaluate(ctx, j.engine.Model, train.FromRows(rows), train.EvalOptions{
		BatchSize: j.BatchSize, Batches: j.TestBatches, MaxSeqLength: j.MaxSeqLength, Seed: uint64(j.Seed), CompatMLX: j.Compat == "mlx",
	}, func(done, total int) {
		j.report.Report(run.Progress{Task: "Calculating loss", Done: done, Total: total})
	})
	if err != nil {
		return err
	}
	j.report.Report(run.TestReport{Loss: got.Loss, Perplexity: got.Perplexity(), Tokens: got.Tokens})
	j.figures.TestLoss, j.figures.TestPPL = figure(got.Loss), figure(got.Perplexity())
	return nil
}

// countParameters counts what is trained and all there is, quantized weights as the numbers they stand for.
func countParameters(m *model.Model) (trainable, total int64) {
	for _, p := range m.Trainable() {
		trainable += int64(p.Shape().Elems())
	}
	for _, name := range m.Source().Names() {
		if w, ok := m.Matrix(strings.TrimSuffix(name, ".weight")); ok && strings.HasSuffix(name, ".weight") {
			total += int64(w.Rows) * int64(w.Cols)
		} else if v, ok := m.Vector(name); ok {
			total += int64(v.Shape().Elems())
		}
	}
	for _, l := range m.Adapted() {
		for _, p := range l.Adapter.Params() {
			total += int64(p.Shape().Elems())
		}
	}
	return trainable, total
}
