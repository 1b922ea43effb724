package cli

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/train"
)

// loraOptions holds everything that `lentil lora` can be told, by flags or by YAML. The flags of the first
// groups, with their names and defaults, are mlx-lm's.
type loraOptions struct {
	Model             string
	Train, Test       bool
	Data              string
	FineTuneType      string
	Optimizer         string
	MaskPrompt        bool
	NumLayers         int
	BatchSize         int
	Iters             int
	ValBatches        int
	LearningRate      float64
	StepsPerReport    int
	StepsPerEval      int
	GradAccumulation  int
	ResumeAdapterFile string
	AdapterPath       string
	SaveEvery         int
	TestBatches       int
	MaxSeqLength      int
	Config            string
	GradCheckpoint    bool
	ClearCache        int
	ReportTo          string
	ProjectName       string
	Seed              int64
	TrustRemoteCode   bool

	// Set by YAML alone.
	OptimizerConfig dict
	LRSchedule      any // nil or dict
	LoRAParameters  dict
	Extra           []setting // keys that are not options, kept for adapter_config.json

	// Lentil's own.
	TrainEmbeddings bool
	Compat          string
	NoFrozenCache   bool
	Threads         int
	JSON            string
}

// The keys of a YAML config that have no flag; Extra keys that Lentil itself reads are among them.
const (
	keyOptimizerConfig = "optimizer_config"
	keyLRSchedule      = "lr_schedule"
	keyLoRAParameters  = "lora_parameters"
)

// dataKeys are YAML keys about where rows come from. They are read from Extra.
var dataKeys = []string{"hf_dataset", "prompt_feature", "completion_feature", "chat_feature", "text_feature"}

// newLoRAOptions gives the built-in defaults of what flags do not set.
func newLoRAOptions() *loraOptions {
	return &loraOptions{
		OptimizerConfig: dict{{"adam", dict{}}, {"adamw", dict{}}, {"muon", dict{}}, {"sgd", dict{}}, {"adafactor", dict{}}},
		LoRAParameters:  dict{{"rank", int64(8)}, {"dropout", 0.0}, {"scale", 20.0}},
	}
}

// declare adds the flags to cmd and gives them their defaults.
func (o *loraOptions) declare(cmd *cobra.Command) {
	group(cmd, "Model and data", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "Qwen/Qwen3-0.6B", "`folder` or .gguf file of the base model")
		f.StringVar(&o.Data, "data", "mlx-community/WikiSQL", "`folder` with train.jsonl, valid.jsonl and test.jsonl, a file of rows,\nor a dataset ORG/NAME on the hub (Parquet, JSON or CSV)")
		f.StringVar(&o.AdapterPath, "adapter-path", "adapters", "`folder` of the adapter: written by --train, read by --test\n(\"\" with --test: the base model alone)")
		f.StringVar(&o.ResumeAdapterFile, "resume-adapter-file", "", "start from the weights in this `file`")
		f.StringVarP(&o.Config, "config", "c", "", "YAML `file` with any of these options, dashes as underscores;\nflags on the command line win")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "accepted for mlx-lm's sake; Lentil never runs code from a model folder")
	})
	group(cmd, "What to do", func(f *pflag.FlagSet) {
		f.BoolVar(&o.Train, "train", false, "fine-tune")
		f.BoolVar(&o.Test, "test", false, "measure the loss on the test set, after training if both are given")
		f.StringVar(&o.FineTuneType, "fine-tune-type", "lora", "`type` of fine-tuning: lora, dora or full")
		f.IntVar(&o.NumLayers, "num-layers", 16, "train the last `n` blocks; -1 for all")
		f.BoolVar(&o.TrainEmbeddings, "train-embeddings", false, "with --fine-tune-type full: also embeddings, final norm and head")
		f.BoolVar(&o.MaskPrompt, "mask-prompt", false, "count the loss of the answer only, not of the prompt")
	})
	group(cmd, "Training", func(f *pflag.FlagSet) {
		f.IntVar(&o.BatchSize, "batch-size", 4, "`rows` per step")
		f.IntVar(&o.Iters, "iters", 1000, "`steps` to take")
		f.StringVar(&o.Optimizer, "optimizer", "adam", "`name`: adam, adamw, muon, sgd or adafactor")
		f.Float64Var(&o.LearningRate, "learning-rate", 1e-5, "`rate`, unless the config has an lr_schedule")
		f.IntVar(&o.GradAccumulation, "grad-accumulation-steps", 1, "add up the gradients of `n` steps before each update")
		f.IntVar(&o.MaxSeqLength, "max-seq-length", 2048, "cut rows after this many `tokens`")
		f.BoolVar(&o.GradCheckpoint, "grad-checkpoint", false, "compute activations twice instead of keeping them: less memory, more time")
		f.Int64Var(&o.Seed, "seed", 0, "`number` that all random choices follow from")
	})
	group(cmd, "Reports and saves", func(f *pflag.FlagSet) {
		f.IntVar(&o.StepsPerReport, "steps-per-report", 10, "`steps` between two lines on the training loss")
		f.IntVar(&o.StepsPerEval, "steps-per-eval", 200, "`steps` between two validations")
		f.IntVar(&o.ValBatches, "val-batches", 25, "`batches` of a validation; -1 for all")
		f.IntVar(&o.TestBatches, "test-batches", 500, "`batches` of a test; -1 for all")
		f.IntVar(&o.SaveEvery, "save-every", 100, "`steps` between two saves")
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
		f.StringVar(&o.ReportTo, "report-to", "", "accepted for mlx-lm's sake; the event log is <adapter-path>/run.jsonl")
		f.StringVar(&o.ProjectName, "project-name", "", "`name` kept in the adapter's config")
	})
	group(cmd, "Engine", func(f *pflag.FlagSet) {
		f.StringVar(&o.Compat, "compat", "", "`mlx`: mlx-lm's loss mask, data order and random numbers,\nso that loss curves can be laid over each other")
		f.BoolVar(&o.NoFrozenCache, "no-frozen-cache", false, "compute the layers that are not trained anew in every epoch,\ninstead of keeping what they gave for a row: same losses, less memory, more time")
		f.IntVar(&o.Threads, "threads", 0, "worker `threads`; 0 for one per core")
		f.IntVar(&o.ClearCache, "clear-cache-threshold", 0, "accepted for mlx-lm's sake; has no effect")
	})
}

// notYAML lists flags that are no option of a YAML config.
var notYAML = []string{"config", "help", "json"}

// mergeYAML takes the settings of the config file that no flag has set. Keys that are not options go to
// Extra, with a warning on warn.
func (o *loraOptions) mergeYAML(flags *pflag.FlagSet, warn io.Writer) error {
	settings, err := readYAML(o.Config)
	if err != nil {
		return err
	}
	for _, s := range settings {
		flag := flags.Lookup(strings.ReplaceAll(s.key, "_", "-"))
		switch {
		case s.key == keyOptimizerConfig, s.key == keyLRSchedule, s.key == keyLoRAParameters:
			err = o.setDict(s)
		case flag != nil && !slices.Contains(notYAML, flag.Name):
			if s.value == nil || flag.Changed {
				continue
			}
			err = setFlag(flag, s)
		default:
			o.Extra = append(o.Extra, s)
			if !slices.Contains(dataKeys, s.key) {
				warnUnknown(warn, o.Config, s, flags)
			}
		}
		if err != nil {
			return usage("%s:%d: %w", o.Config, s.line, err)
		}
	}
	return nil
}

func (o *loraOptions) setDict(s setting) error {
	if s.value == nil {
		return nil
	}
	d, ok := s.value.(dict)
	if !ok {
		return fmt.Errorf("%s: expected a mapping, found %s", s.key, describe(s.value))
	}
	switch s.key {
	case keyOptimizerConfig:
		o.OptimizerConfig = d
	case keyLRSchedule:
		o.LRSchedule = d
	case keyLoRAParameters:
		return o.setLoRAParameters(d)
	}
	return nil
}

// setLoRAParameters replaces all of lora_parameters, as mlx-lm does.
func (o *loraOptions) setLoRAParameters(d dict) error {
	for _, key := range []string{"rank", "dropout", "scale"} {
		if _, ok := d.get(key); !ok {
			return fmt.Errorf("lora_parameters has no %s\nA lora_parameters in the config replaces the built-in one: give rank, dropout and scale.", key)
		}
	}
	o.LoRAParameters = d
	return nil
}

// setFlag gives a flag the value that YAML has for it.
func setFlag(flag *pflag.Flag, s setting) error {
	text, ok := flagText(flag.Value.Type(), s.value)
	if !ok {
		return fmt.Errorf("%s: expected %s, found %s", s.key, kindNames[flag.Value.Type()], describe(s.value))
	}
	if err := flag.Value.Set(text); err != nil {
		return fmt.Errorf("%s: %s is not a value it can take", s.key, text)
	}
	return nil
}

var kindNames = map[string]string{
	"bool": "true or false", "int": "a whole number", "int64": "a whole number", "float64": "a number", "string": "a text",
}

// flagText writes a YAML value as the text of a flag of the given kind, if it is one.
func flagText(kind string, value any) (string, bool) {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v), kind == "bool"
	case string:
		return v, kind == "string"
	case int64, uint64:
		return fmt.Sprint(v), kind == "int" || kind == "int64" || kind == "float64"
	case float64:
		if whole := v == math.Trunc(v) && math.Abs(v) < 1<<53; whole && strings.HasPrefix(kind, "int") {
			return strconv.FormatInt(int64(v), 10), true
		}
		return strconv.FormatFloat(v, 'g', -1, 64), kind == "float64"
	}
	return "", false
}

func describe(value any) string {
	switch v := value.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(v)
	case []any:
		return "a list"
	case dict:
		return "a mapping"
	default:
		return fmt.Sprint(v)
	}
}

func warnUnknown(warn io.Writer, path string, s setting, flags *pflag.FlagSet) {
	known := append([]string{keyOptimizerConfig, keyLRSchedule, keyLoRAParameters}, dataKeys...)
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(notYAML, f.Name) {
			known = append(known, strings.ReplaceAll(f.Name, "-", "_"))
		}
	})
	text := fmt.Sprintf("Warning: %s:%d: unknown key %s is kept but does nothing", path, s.line, s.key)
	if near := nearest(s.key, known); near != "" {
		text += "; did you mean " + near + "?"
	}
	fmt.Fprintln(warn, text)
}

// check refuses values that no run can start with.
func (o *loraOptions) check() error {
	oneOf := func(flag, value string, known ...string) error {
		if slices.Contains(known, value) {
			return nil
		}
		remedy := ""
		if near := nearest(value, known); near != "" {
			remedy = "\nDid you mean: --" + flag + " " + near
		}
		return usage("--%s %s: expected %s%s", flag, strconv.Quote(value), strings.Join(known, ", "), remedy)
	}
	if !o.Train && !o.Test {
		return usage("Must provide at least one of --train or --test\n`lentil train` and `lentil test` are short for them.")
	}
	if err := oneOf("fine-tune-type", o.FineTuneType, "lora", "dora", "full"); err != nil {
		return err
	}
	if err := oneOf("optimizer", o.Optimizer, train.Optimizers...); err != nil {
		return err
	}
	if err := oneOf("compat", o.Compat, "", "mlx"); err != nil {
		return err
	}
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"batch-size", o.BatchSize}, {"iters", o.Iters}, {"grad-accumulation-steps", o.GradAccumulation},
		{"max-seq-length", o.MaxSeqLength}, {"steps-per-report", o.StepsPerReport}, {"steps-per-eval", o.StepsPerEval},
		{"save-every", o.SaveEvery},
	} {
		if n.value < 1 {
			return usage("--%s %d: must be at least 1", n.flag, n.value)
		}
	}
	if math.IsNaN(o.LearningRate) || o.LearningRate < 0 {
		return usage("--learning-rate %v: must not be negative", o.LearningRate)
	}
	if o.TrainEmbeddings && o.FineTuneType != "full" {
		return usage("--train-embeddings goes with --fine-tune-type full, not %s", o.FineTuneType)
	}
	return nil
}

// adapterConfig gives the members of adapter_config.json: mlx-lm's keys and the config's extra ones, sorted.
func (o *loraOptions) adapterConfig() dict {
	d := dict{
		{"adapter_path", o.AdapterPath}, {"batch_size", o.BatchSize}, {"clear_cache_threshold", o.ClearCache},
		{"config", orNull(o.Config)}, {"data", o.Data}, {"fine_tune_type", o.FineTuneType},
		{"grad_accumulation_steps", o.GradAccumulation}, {"grad_checkpoint", o.GradCheckpoint}, {"iters", o.Iters},
		{"learning_rate", o.LearningRate}, {keyLoRAParameters, o.LoRAParameters}, {keyLRSchedule, o.LRSchedule},
		{"mask_prompt", o.MaskPrompt}, {"max_seq_length", o.MaxSeqLength}, {"model", o.Model}, {"num_layers", o.NumLayers},
		{"optimizer", o.Optimizer}, {keyOptimizerConfig, o.OptimizerConfig}, {"project_name", orNull(o.ProjectName)},
		{"report_to", orNull(o.ReportTo)}, {"resume_adapter_file", orNull(o.ResumeAdapterFile)}, {"save_every", o.SaveEvery},
		{"seed", o.Seed}, {"steps_per_eval", o.StepsPerEval}, {"steps_per_report", o.StepsPerReport}, {"test", o.Test},
		{"test_batches", o.TestBatches}, {"train", o.Train}, {"trust_remote_code", o.TrustRemoteCode}, {"val_batches", o.ValBatches},
	}
	if o.FineTuneType == "full" {
		d.set(keyLoRAParameters, nil)
	}
	for _, s := range o.Extra {
		d.set(s.key, s.value)
	}
	slices.SortFunc(d, func(a, b member) int { return strings.Compare(a.key, b.key) })
	return d
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
