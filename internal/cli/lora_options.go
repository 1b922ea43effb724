package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/internal/yaml"
	"github.com/lentil-lm/lentil/tune"
)

// loraOptions holds everything that `lentil lora` can be told, by flags or by YAML.
type loraOptions struct {
	tune.Recipe
	JSON string

	resume    bool
	overwrite bool
	lora      tune.LoRA       // what the flags for its members say
	epochs    float64         // mlx-lm has no such flag: see countSteps
	given     map[string]bool // settings that flags or the config have
}

// configOnly lists the settings that have no flag.
var configOnly = []string{
	keyLoRA, "lr_schedule", "optimizer_config", "hf_dataset", "prompt_feature", "completion_feature", "chat_feature", "text_feature",
}

const keyLoRA = "lora_parameters"

// loraFlags name the flags for the members of lora_parameters.
var loraFlags = []string{"rank", "scale", "dropout", "keys"}

// declare adds the flags to cmd. Their names and the defaults are mlx-lm's.
func (o *loraOptions) declare(cmd *cobra.Command) {
	r := &o.Recipe
	*r = tune.New()
	o.lora = r.LoRA
	group(cmd, "Model and data", func(f *pflag.FlagSet) {
		f.StringVar(&r.Model, "model", r.Model, "`folder` or .gguf file of the base model")
		f.StringVar(&r.Data, "data", r.Data, "`folder` with train.jsonl, valid.jsonl and test.jsonl, a file of rows,\nor a dataset ORG/NAME on the hub (Parquet, JSON or CSV)")
		f.StringVar(&r.AdapterPath, "adapter-path", r.AdapterPath, "`folder` of the adapter: written by --train, read by --test\n(\"\" with --test: the base model alone)")
		f.BoolVar(&o.resume, "resume", false, "go on with the run in that folder, as the same command does by itself;\nan error if there is none")
		f.BoolVar(&o.overwrite, "overwrite", false, "begin anew, over the adapter in that folder")
		f.StringVar(&r.ResumeAdapterFile, "resume-adapter-file", r.ResumeAdapterFile, "start from the weights in this `file`")
		f.StringVarP(&r.Config, "config", "c", r.Config, "YAML `file` with any of these options, dashes as underscores;\nflags on the command line win")
		f.BoolVar(&r.TrustRemoteCode, "trust-remote-code", r.TrustRemoteCode, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
	})
	group(cmd, "What to do", func(f *pflag.FlagSet) {
		f.BoolVar(&r.Train, "train", r.Train, "fine-tune")
		f.BoolVar(&r.Test, "test", r.Test, "measure the loss on the test set, after training if both are given")
		f.StringVar(&r.FineTuneType, "fine-tune-type", r.FineTuneType, "`type` of fine-tuning: lora, dora or full")
		f.StringVar(&r.TrainMode, "train-mode", r.TrainMode, "`mode`: sft learns the rows; dpo and orpo learn from pairs of a chosen and\na rejected answer: to prefer the one to the other")
		f.Float64Var(&r.Beta, "beta", r.Beta, "with dpo: `strength` of the tie to the base model;\nwith orpo: weight of the preference beside the loss of the chosen answer")
		f.IntVar(&r.NumLayers, "num-layers", r.NumLayers, "train the last `n` blocks; -1 for all")
		f.BoolVar(&r.TrainEmbeddings, "train-embeddings", r.TrainEmbeddings, "with --fine-tune-type full: also embeddings, final norm and head")
		f.BoolVar(&r.MaskPrompt, "mask-prompt", r.MaskPrompt, "count the loss of the answer only, not of the prompt")
	})
	group(cmd, "Adapter (lora_parameters of a config)", func(f *pflag.FlagSet) {
		f.IntVar(&o.lora.Rank, "rank", o.lora.Rank, "rank `n` of its matrices: a higher one can learn more")
		f.Float64Var(&o.lora.Scale, "scale", o.lora.Scale, "`factor` of its update: PEFT's alpha divided by the rank")
		f.Float64Var(&o.lora.Dropout, "dropout", o.lora.Dropout, "`share` of its inputs that each step leaves out")
		f.StringArrayVar(&o.lora.Keys, "keys", o.lora.Keys, "`projections` of a block that get one, self_attn.q_proj mlp.up_proj\nand so on; default: all")
		annotate(f.Lookup("keys"), manyKey, "1")
	})
	group(cmd, "Training", func(f *pflag.FlagSet) {
		f.IntVar(&r.BatchSize, "batch-size", r.BatchSize, "`rows` per step")
		f.IntVar(&r.Iters, "iters", r.Iters, "`steps` to take")
		f.StringVar(&r.Optimizer, "optimizer", r.Optimizer, "`name`: adam, adamw, muon, sgd or adafactor")
		f.Float64Var(&r.LearningRate, "learning-rate", r.LearningRate, "`rate`, unless the config has an lr_schedule")
		f.IntVar(&r.GradAccumulation, "grad-accumulation-steps", r.GradAccumulation, "add up the gradients of `n` steps before each update")
		f.Float64Var(&r.MaxGradNorm, "max-grad-norm", r.MaxGradNorm, "scale the gradients of an update down where their `norm` is larger; 0 for no limit")
		f.StringVar(&r.Replay, "replay", r.Replay, "rows about other things, and their `share` of all rows: FILE:0.2; what they\nshow is forgotten less")
		f.Float64Var(&r.KL, "kl", r.KL, "`weight` of staying near the base where the data says nothing: on masked prompts,\nand on the rows of --replay, which then need no right answers; 0 for none")
		f.IntVar(&r.MaxSeqLength, "max-seq-length", r.MaxSeqLength, "cut rows after this many `tokens`")
		f.BoolVar(&r.GradCheckpoint, "grad-checkpoint", r.GradCheckpoint, "compute activations twice instead of keeping them: less memory, more time")
		f.Float64Var(&o.epochs, "epochs", 0, "see countSteps")
		f.Lookup("epochs").Hidden = true
		f.Int64Var(&r.Seed, "seed", r.Seed, "`number` that all random choices follow from")
	})
	group(cmd, "Reports and saves", func(f *pflag.FlagSet) {
		f.IntVar(&r.StepsPerReport, "steps-per-report", r.StepsPerReport, "`steps` between two lines on the training loss")
		f.IntVar(&r.StepsPerEval, "steps-per-eval", r.StepsPerEval, "`steps` between two validations")
		f.IntVar(&r.ValBatches, "val-batches", r.ValBatches, "`batches` of a validation; -1 for all")
		f.IntVar(&r.TestBatches, "test-batches", r.TestBatches, "`batches` of a test; -1 for all")
		f.StringVar(&r.EvalQuestions, "eval-questions", r.EvalQuestions, "`file` of questions (see lentil eval) to ask on the way: right answers beside the loss")
		f.IntVar(&r.EvalEvery, "eval-every", r.EvalEvery, "`steps` between two times that they are asked; 0: as --steps-per-eval")
		f.IntVar(&r.EarlyStop, "early-stop", r.EarlyStop, "end after `n` validations in a row that are not better than the best one;\n0 for never")
		f.BoolVar(&r.SaveBest, "save-best", r.SaveBest, "also keep the adapter of the best validation, or with the most right answers\nto --eval-questions, in <adapter-path>/best")
		f.IntVar(&r.KeepCheckpoints, "keep-checkpoints", r.KeepCheckpoints, "remove all but the last `n` numbered copies that the run has saved; 0 keeps all")
		f.IntVar(&r.SaveEvery, "save-every", r.SaveEvery, "`steps` between two saves")
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
		f.StringVar(&r.ReportTo, "report-to", r.ReportTo, "tensorboard writes event files to <adapter-path>/tensorboard; other `services` are\nrefused, as Lentil sends nothing anywhere")
		f.StringVar(&r.ProjectName, "project-name", r.ProjectName, "`name` kept in the adapter's config")
	})
	group(cmd, "Engine", func(f *pflag.FlagSet) {
		f.StringVar(&r.Compat, "compat", r.Compat, "`mlx`: mlx-lm's loss mask, data order, random numbers and reading of\nconfig.json, so that loss curves can be laid over each other")
		f.BoolVar(&r.NoFrozenCache, "no-frozen-cache", r.NoFrozenCache, "compute the layers that are not trained anew in every epoch,\ninstead of keeping what they gave for a row, and the reference of dpo as well:\nsame losses, less memory, more time")
		declareDevice(f, &r.Device, &r.Threads, r.Device, r.Threads)
		f.IntVar(&r.ClearCacheThreshold, "clear-cache-threshold", r.ClearCacheThreshold, "")
		ignore(f.Lookup("clear-cache-threshold"), "Lentil keeps what the next step needs")
	})
}

// resolve completes the flags with the config file and checks the whole.
func (o *loraOptions) resolve(ctx context.Context, flags *pflag.FlagSet, streams Streams) error {
	o.given = map[string]bool{}
	if o.Config != "" {
		entries, err := configure(&o.Recipe, o.Config, flags, streams)
		if err != nil {
			return err
		}
		for _, e := range entries {
			o.given[strings.ReplaceAll(e.Key, "-", "_")] = e.Value != nil
		}
	}
	flags.Visit(func(f *pflag.Flag) { o.given[strings.ReplaceAll(f.Name, "-", "_")] = true })
	if err := o.takeLoRA(flags); err != nil {
		return err
	}
	if flags.Changed("epochs") {
		return o.countSteps(ctx)
	}
	if flags.Changed("beta") && o.TrainMode == "sft" && o.Train {
		return fault.Of("--beta goes with --train-mode dpo or orpo, not %s", o.TrainMode)
	}
	if !o.Train && !o.Test {
		return fault.Of("Must provide at least one of --train or --test").Try("`lentil train` and `lentil test` are short for them.")
	}
	return o.Check()
}

// takeLoRA sets those members of lora_parameters that have a flag on the command line.
func (o *loraOptions) takeLoRA(flags *pflag.FlagSet) error {
	for _, name := range loraFlags {
		if !flags.Changed(name) {
			continue
		}
		if o.FineTuneType == "full" {
			return fault.Of("--%s goes with --fine-tune-type lora or dora, not full: full fine-tuning has no adapter", name)
		}
		switch name {
		case "rank":
			o.LoRA.Rank = o.lora.Rank
		case "scale":
			o.LoRA.Scale = o.lora.Scale
		case "dropout":
			o.LoRA.Dropout = o.lora.Dropout
		case "keys":
			o.LoRA.Keys = o.lora.Keys
		}
	}
	return nil
}

// countSteps is the error for --epochs, which mlx-lm does not have. It tells the --iters for it.
func (o *loraOptions) countSteps(ctx context.Context) error {
	err := fault.Of("--epochs %g is not known: as in mlx-lm, a run is counted in steps of --batch-size rows", o.epochs)
	iters, rows, found := o.ItersFor(ctx, o.epochs)
	if !found || !(o.epochs > 0) {
		return err.Try("Give --iters: the rows of the data divided by --batch-size, times the passes over them.")
	}
	return err.Try("Give --iters %d: %g passes over the %d rows of %s, %d a step.", iters, o.epochs, rows, o.Data, o.BatchSize)
}

// configure takes the settings of a YAML config into a recipe, but those that flags were given for; flags may be
// nil. Keys that are no settings are kept, with a warning. It returns all keys.
func configure(r *tune.Recipe, path string, flags *pflag.FlagSet, streams Streams) ([]yaml.Entry, error) {
	fmt.Fprintln(streams.Out, "Loading configuration file", path)
	entries, err := readYAML(path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if flags != nil && flags.Changed(strings.ReplaceAll(e.Key, "_", "-")) {
			continue
		}
		if err := r.Set(e.Key, e.Value); err != nil {
			return nil, fault.Of("%s:%d: %s", path, e.Line, err.Error()) // in a config, settings have their own names
		}
		if !slices.Contains(tune.Settings(), strings.ReplaceAll(e.Key, "-", "_")) {
			warnUnknown(streams.Err, path, e)
		}
	}
	r.Config = path
	return entries, nil
}

// readYAML reads the top-level keys of a YAML config, in order.
func readYAML(path string) ([]yaml.Entry, error) {
	text, err := smallfile.ReadAny(path, yaml.MaxBytes)
	if errors.As(err, new(*fault.Mistake)) {
		return nil, err // it names the file
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Given("config", path, "there is no such file").Try("Give a YAML file with settings, such as batch_size: 4, one a line.")
	case err != nil:
		return nil, fault.At("config", "%w", err)
	}
	entries, err := yaml.Parse(text)
	if err != nil {
		return nil, fault.Of("%s:%w", path, err)
	}
	return entries, nil
}

func warnUnknown(warn io.Writer, path string, e yaml.Entry) {
	fmt.Fprintf(warn, "Warning: %s:%d: unknown key %s is kept but does nothing%s\n", path, e.Line, e.Key, instead(e.Key))
}

// flagsAlone say what one command does, and are no settings of a run.
var flagsAlone = []string{"resume", "overwrite", "json"}

// instead tells what to write for a key that is no setting.
func instead(key string) string {
	other, known := otherNames[strings.ReplaceAll(key, "_", "-")]
	if slices.Contains(loraFlags, key) {
		other, known = otherName{flag: key}, true
	}
	if slices.Contains(flagsAlone, key) {
		return "; give --" + key + " with the command"
	}
	switch near := fault.Nearest(key, tune.Settings()); {
	case slices.Contains(loraFlags, other.flag):
		return fmt.Sprintf("; write lora_parameters: {rank: 8, scale: 20.0, dropout: 0.0}, with your %s%s", other.flag, other.how)
	case other.flag == "epochs":
		return "; give iters: the rows of the data divided by batch_size, times the passes over them"
	case known:
		return "; it is " + strings.ReplaceAll(other.flag, "-", "_") + " here" + other.how
	case near != "":
		return "; did you mean " + near + "?"
	}
	return ""
}
