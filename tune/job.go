package tune

import (
	"context"
	"os"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// A Job is a recipe whose model and data are open. Run does all of a recipe at once;
// who opens a Job can ask the model and measure it between the steps.
type Job struct {
	Recipe Recipe
	Engine *engine.Engine
	Data   *dataset.Splits

	encoder  *dataset.Encoder
	replay   *dataset.Split // nil for none
	options  Options
	identity identity      // of the run, before its training begins
	trained  *train.Result // nil before a training

	manifest    *run.Manifest // of the training, as it is written
	config      []byte        // adapter_config.json
	checkpoints []int         // iterations of the run's numbered copies
}

// Result is what a run found.
type Result struct {
	Trained    *train.Result     // nil if nothing was trained
	Tested     *train.Evaluation // nil if nothing was tested
	Checkpoint string            // the last numbered copy of the adapter; empty if there is none
	PeakBytes  int64             // the most memory that was held, see engine.Engine.PeakMemory
}

// Run opens a recipe, trains and tests as it says, and closes it. When ctx ends, the
// adapter is saved and the error is train.ErrInterrupted.
func Run(ctx context.Context, r Recipe, o Options) (result Result, err error) {
	j, err := Open(ctx, r, o)
	if err != nil {
		return result, err
	}
	defer j.Close()
	if r.Train {
		j.options.say("Training")
		if result, err = j.Train(ctx); err != nil {
			return result, err
		}
	}
	if r.Test {
		j.options.say("Testing")
		tested, err := j.Test(ctx)
		if err != nil {
			return result, err
		}
		result.Tested = &tested
	}
	result.PeakBytes = j.Engine.PeakMemory()
	return result, nil
}

// Open loads model and data, and refuses what cannot work before anything long begins.
func Open(ctx context.Context, r Recipe, o Options) (*Job, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if err := o.checkAsking(&r); err != nil {
		return nil, err
	}
	if r.Train && o.first() {
		if err := o.checkFolder(&r); err != nil {
			return nil, err
		}
	}
	if path := r.ResumeAdapterFile; path != "" {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return nil, fault.Given("resume_adapter_file", path, "there is no such file").Try("Give the %s of an adapter, or one of the files that were saved on the way.", adapter.File)
		}
	}
	j := &Job{Recipe: r, options: o}
	if err := j.followAdapter(); err != nil {
		return nil, err
	}
	j.options.say("Loading pretrained model")
	var err error
	if j.Engine, err = engine.Open(ctx, r.Model, o.engine(&r)); err != nil {
		return nil, err
	}
	j.followModel()
	j.options.say("Loading datasets")
	if err := j.openData(ctx); err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// Close frees the model.
func (j *Job) Close() { j.Engine.Close() }

func (j *Job) openData(ctx context.Context) (err error) {
	r := &j.Recipe
	if j.Data, err = FindData(ctx, r.query(), j.options); err != nil {
		return err
	}
	if r.Train {
		if err := j.Data.CheckTrain(); err != nil {
			return fault.Mark(err)
		}
	}
	if err := j.openReplay(); err != nil {
		return err
	}
	if r.Test {
		if err := j.Data.CheckTest(); err != nil {
			return fault.Mark(err)
		}
	}
	renderer, err := j.Engine.Template() // none is enough for rows of text; others are refused when they are tokenised
	if err != nil {
		return err
	}
	j.encoder = dataset.NewEncoder(j.Engine.Tokenizer, renderer, dataset.EncoderOptions{
		MaskPrompt: r.MaskPrompt || r.TrainMode == dpo, CompatMLX: r.compatMLX(), MaxSeqLength: r.MaxSeqLength,
	})
	return nil
}

// Rows tokenises a split, reports how that comes along and warns of what is likely not meant.
func (j *Job) Rows(ctx context.Context, split *dataset.Split) (*dataset.Rows, error) {
	rows, err := j.encoder.Rows(split)
	if err != nil {
		return nil, fault.Mark(err)
	}
	if split.Len() == 0 {
		return rows, nil
	}
	report, err := rows.Prepare(ctx, func(done, total int) {
		j.options.report(run.Progress{Task: "Tokenizing " + split.Name, Done: done, Total: total})
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.Mark(err)
	}
	j.options.report(run.Data{
		Split: report.Split, Rows: report.Rows, Tokens: report.Tokens, LossTokens: report.LossTokens, Median: report.P50, P95: report.P95,
		Longest: report.Longest, Cut: report.Truncated, BinWidth: report.BinWidth, Bins: report.Bins,
	})
	for _, w := range report.Warnings() {
		j.options.report(run.Warning{Text: w})
	}
	return rows, nil
}
