package tune

import (
	"context"
	"math"
	"os"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// A Recipe says what is fine-tuned on what, and how. New gives mlx-lm's defaults.
// Configs, adapter_config.json and errors write the names of the settings as
// mlx-lm does: BatchSize is batch_size.
type Recipe struct {
	Model string // of the base: a folder, a .gguf file, or ORG/NAME on the hub
	Train bool   // fine-tune
	Test  bool   // measure the loss on the test set, after training if both are set

	Data         string   // folder, file, or ORG/NAME on the hub; see FindData
	Sources      []Source // instead of Data: hf_dataset, several datasets or parts of them
	Features     Features // the keys of the rows, where they are not the usual ones
	TrainMode    string   // sft: learn the rows; dpo, orpo: pairs of a chosen and a rejected answer
	Beta         float64  // of dpo: how firmly the adapter stays near its base; of orpo: the weight of the preference
	MaskPrompt   bool     // count the loss of the answer only; dpo always does, orpo counts the chosen prompt otherwise, as TRL does
	MaxSeqLength int      // longer rows are cut, in tokens

	AdapterPath       string // folder that training writes and a test reads; empty with Test alone: no adapter
	ResumeAdapterFile string // weights to start from
	FineTuneType      string // lora, dora or full
	NumLayers         int    // train the last blocks; -1 for all
	LoRA              LoRA   // lora_parameters, for lora and dora
	TrainEmbeddings   bool   // with full: also embeddings, final norm and head

	Iters            int                   // steps
	BatchSize        int                   // rows per step
	GradAccumulation int                   // grad_accumulation_steps: steps whose gradients are added up for an update
	Optimizer        string                // one of train.Optimizers
	OptimizerOptions map[string]any        // its keyword arguments in MLX; nil: those that Set was given in optimizer_config, else MLX's defaults
	LearningRate     float64               // unless there is an LRSchedule
	LRSchedule       *train.ScheduleConfig // nil: LearningRate throughout
	GradCheckpoint   bool                  // compute activations twice instead of keeping them
	Seed             int64                 // all random choices follow from it

	MaxGradNorm float64 // larger gradients are scaled down to this norm, over all parameters; 0: none are
	EarlyStop   int     // end after so many validations in a row that are not better than the best; 0: never
	SaveBest    bool    // keep the adapter of the best validation in the folder best of AdapterPath

	StepsPerReport int
	StepsPerEval   int
	// EvalQuestions is a file of questions that the model is asked on the way, every EvalEvery steps
	// (0: every StepsPerEval), by Options.Ask. SaveBest keeps the adapter with the most right answers, then.
	EvalQuestions string
	EvalEvery     int
	// Replay is FILE:SHARE, rows that have nothing to do with the data and their share of all that
	// is trained on: what they show is forgotten less.
	Replay string
	// KL keeps the adapter near its base where the data says nothing, the more the larger it is: on prompts that are
	// masked and on replayed rows, which then need no right answers. 0: nowhere.
	KL float64

	ValBatches  int // of a validation; -1 for all
	TestBatches int // of a test; -1 for all
	SaveEvery   int // steps between two saves
	// KeepCheckpoints is how many numbered copies stay, of those that the run writes; 0: all.
	KeepCheckpoints int

	Compat        string // "mlx": mlx-lm's loss mask, data order, random numbers and reading of config.json
	NoFrozenCache bool   // compute the layers that are not trained anew in every epoch
	Device        string // name of the device to train on; "auto" for the best there is
	Threads       int    // of the CPU; 0 for one per core

	// ReportTo is "tensorboard" for event files in the folder tensorboard of AdapterPath.
	ReportTo string

	// These are kept in adapter_config.json, as mlx-lm keeps them, and change nothing here.
	Config              string // file that settings came from
	ProjectName         string
	ClearCacheThreshold int
	TrustRemoteCode     bool

	kept kept // what Set was given, as far as the fields do not hold it
}

// LoRA is the shape of an adapter.
type LoRA struct {
	Rank    int
	Scale   float64
	Dropout float64
	Keys    []string // projections, relative to a block or whole module paths; nil: all of a block
}

// Features name the keys under which rows keep their parts; empty for the usual
// ones: prompt, completion, messages, text.
type Features struct{ Prompt, Completion, Chat, Text string }

// New gives a recipe with mlx-lm's defaults. It neither trains nor tests yet: set
// Train, Test or both.
func New() Recipe {
	t := train.Defaults()
	return Recipe{
		Model: "Qwen/Qwen3-0.6B", Data: "mlx-community/WikiSQL", AdapterPath: "adapters",
		TrainMode: sft, Beta: 0.1, FineTuneType: "lora", NumLayers: 16, LoRA: LoRA{Rank: 8, Scale: 20},
		Iters: t.Iters, BatchSize: t.BatchSize, GradAccumulation: t.GradAccumulationSteps, Optimizer: t.Optimizer.Name, LearningRate: t.Schedule(0),
		MaxSeqLength: t.MaxSeqLength, StepsPerReport: t.StepsPerReport, StepsPerEval: t.StepsPerEval, ValBatches: t.ValBatches, TestBatches: 500,
		SaveEvery: t.SaveEvery, Device: "auto",
	}
}

// Values of Recipe.TrainMode.
const (
	sft  = "sft"
	dpo  = "dpo"
	orpo = "orpo"
)

// reportTensorBoard is the one value of Recipe.ReportTo.
const reportTensorBoard = "tensorboard"

var trainModes = []string{sft, dpo, orpo}

// fineTuneTypes are the values of Recipe.FineTuneType.
var fineTuneTypes = []string{"lora", "dora", "full"}

// Check refuses what no run can start with. Run and Open do so first.
func (r *Recipe) Check() error {
	switch {
	case !r.Train && !r.Test:
		return fault.Of("nothing to do: neither %v nor %v is set", fault.Setting("train"), fault.Setting("test"))
	case r.Train && r.AdapterPath == "":
		return fault.Of("%v is empty", fault.Setting("adapter_path")).Try("Give the folder that the adapter is to be written to.")
	}
	if err := r.checkValues(); err != nil {
		return err
	}
	if err := r.checkReplay(); err != nil {
		return err
	}
	for i := range r.Sources {
		s := &r.Sources[i]
		if err := s.check(); err != nil {
			return fault.At(keySources, "%w", err)
		}
		if r.Test && s.Test == "" {
			return fault.At(keySources, "%s: there is no test_split, which %v needs", s.Path, fault.Setting("test")).Try("Give one, such as test_split: test.")
		}
	}
	t, err := r.training()
	if err != nil {
		return err
	}
	return t.Check()
}

func (r *Recipe) checkValues() error {
	for _, c := range []struct {
		setting fault.Setting
		value   string
		known   []string
	}{{"train_mode", r.TrainMode, trainModes}, {"fine_tune_type", r.FineTuneType, fineTuneTypes}, {"compat", r.Compat, []string{"", "mlx"}}} {
		if err := fault.Choice(c.setting, c.value, c.known...); err != nil {
			return err
		}
	}
	switch {
	case r.ReportTo != "" && r.ReportTo != reportTensorBoard:
		return fault.Given("report_to", r.ReportTo, "Lentil sends nothing to a service").
			Try("Give %v %s, which writes files that the tools of wandb and swanlab import, too (wandb sync, swanlab convert). %s in the folder of %v has every event of the run, one JSON object a line.",
				fault.Setting("report_to"), reportTensorBoard, run.LogName, fault.Setting("adapter_path"))
	case r.pairs() && r.compatMLX():
		return fault.Of("%v %s is not in mlx-lm, whose rules %v mlx copies", fault.Setting("train_mode"), r.TrainMode, fault.Setting("compat")).Try("Leave one of them out.")
	case r.TrainMode == dpo && r.FineTuneType == "full":
		return fault.Of("%v dpo compares with the model without its adapter, and %v full has none", fault.Setting("train_mode"), fault.Setting("fine_tune_type")).
			Try("Use lora or dora, or %v orpo, which needs no model to compare with.", fault.Setting("train_mode"))
	case math.IsNaN(r.KL) || math.IsInf(r.KL, 0) || r.KL < 0:
		return fault.Value("kl", r.KL, "0 or more")
	case r.KL > 0 && (r.pairs() || r.compatMLX() || r.FineTuneType == "full"):
		return fault.Of("%v goes with an adapter and single answers under Lentil's own rules", fault.Setting("kl")).
			Try("Leave it out, or %v %s, %v or %v full.", fault.Setting("train_mode"), r.TrainMode, fault.Setting("compat"), fault.Setting("fine_tune_type"))
	case r.Train && r.KL > 0 && !r.MaskPrompt && r.Replay == "":
		return fault.Given("kl", r.KL, "there is nothing to hold: prompts are learnt, and no rows are replayed").Try("Set %v, or give %v.", fault.Setting("mask_prompt"), fault.Setting("replay"))
	case r.EvalEvery < 0:
		return fault.Value("eval_every", r.EvalEvery, "0 or more")
	case r.Train && r.EvalEvery > 0 && r.EvalQuestions == "":
		return fault.Given("eval_every", r.EvalEvery, "there is nothing to ask").Try("Give %v, or leave it out.", fault.Setting("eval_questions"))
	case r.KeepCheckpoints < 0:
		return fault.Value("keep_checkpoints", r.KeepCheckpoints, "0 for all, or more")
	case math.IsNaN(r.LearningRate) || r.LearningRate < 0:
		return fault.Value("learning_rate", r.LearningRate, "0 or more")
	case r.TrainEmbeddings && r.FineTuneType != "full":
		return fault.Of("%v goes with %v full, not %s", fault.Setting("train_embeddings"), fault.Setting("fine_tune_type"), r.FineTuneType)
	case r.Train && r.FineTuneType != "full" && r.LoRA.Rank < 1:
		return fault.Value(keyLoRA+".rank", r.LoRA.Rank, "1 or more")
	case math.IsNaN(r.LoRA.Scale) || math.IsInf(r.LoRA.Scale, 0):
		return fault.Value(keyLoRA+".scale", r.LoRA.Scale, "a finite number")
	case !(r.LoRA.Dropout >= 0 && r.LoRA.Dropout < 1):
		return fault.Value(keyLoRA+".dropout", r.LoRA.Dropout, "0 or more and less than 1")
	}
	return nil
}

// lora gives the adapter's shape.
func (r *Recipe) lora() adapter.Config {
	return adapter.Config{
		Rank: r.LoRA.Rank, Scale: float32(r.LoRA.Scale), Dropout: float32(r.LoRA.Dropout), Keys: r.LoRA.Keys,
		NumLayers: r.NumLayers, DoRA: r.FineTuneType == "dora",
	}
}

// training gives the settings of the training loop.
func (r *Recipe) training() (train.Options, error) {
	t := train.Options{
		Objective: r.objective(), BatchSize: r.BatchSize, Iters: r.Iters, ValBatches: r.ValBatches, StepsPerReport: r.StepsPerReport,
		StepsPerEval: r.StepsPerEval, SaveEvery: r.SaveEvery, GradAccumulationSteps: r.GradAccumulation,
		EarlyStop: r.EarlyStop, MaxGradNorm: r.MaxGradNorm,
		MaxSeqLength: r.MaxSeqLength, GradCheckpoint: r.GradCheckpoint, Seed: uint64(r.Seed), CompatMLX: r.compatMLX(),
		Schedule: train.Constant(r.LearningRate),
	}
	var err error
	if r.LRSchedule != nil {
		if t.Schedule, err = train.NewSchedule(*r.LRSchedule); err != nil {
			return t, fault.Mark(err)
		}
	}
	t.Optimizer, err = r.optimizer()
	return t, err
}

// ItersFor is the number of steps that make some passes over the training rows. found tells
// whether the rows are at hand: none are downloaded to be counted.
func (r *Recipe) ItersFor(ctx context.Context, passes float64) (iters, rows int, found bool) {
	if _, err := os.Stat(r.Data); err != nil || r.Sources != nil || r.BatchSize < 1 {
		return 0, 0, false
	}
	q := r.query()
	q.Train, q.Valid, q.Test = true, false, false
	data, err := FindData(ctx, q, Options{})
	if err != nil || data.Train.Len() == 0 {
		return 0, 0, false
	}
	rows = data.Train.Len()
	t := train.Options{BatchSize: r.BatchSize, CompatMLX: r.compatMLX()}
	return max(1, int(math.Ceil(passes*float64(t.StepsPerPass(rows))))), rows, true
}

// objective is the loss of the recipe's mode.
func (r *Recipe) objective() train.Objective {
	switch r.TrainMode {
	case dpo:
		return train.DPO{Beta: r.Beta}
	case orpo:
		return train.ORPO{Beta: r.Beta}
	}
	if r.KL > 0 {
		return train.Near{Weight: r.KL}
	}
	return train.CrossEntropy{}
}

// pairs tells whether the rows are pairs of a chosen and a rejected answer.
func (r *Recipe) pairs() bool { return r.TrainMode == dpo || r.TrainMode == orpo }

// sequences is how many a row has.
func (r *Recipe) sequences() int {
	if r.pairs() {
		return 2
	}
	return 1
}

func (r *Recipe) compatMLX() bool { return r.Compat == "mlx" }

// evaluation gives the settings of a test.
func (r *Recipe) evaluation() train.EvalOptions {
	return train.EvalOptions{
		Objective: r.objective(), BatchSize: r.BatchSize, Batches: r.TestBatches, MaxSeqLength: r.MaxSeqLength, Seed: uint64(r.Seed), CompatMLX: r.compatMLX(),
	}
}

// query says which rows the recipe needs.
func (r *Recipe) query() DataQuery {
	return DataQuery{
		Data: r.Data, Sources: r.Sources, Features: r.Features, CompatMLX: r.compatMLX(),
		Pairs: r.pairs(), Train: r.Train, Valid: r.Train, Test: r.Test,
	}
}
