package train

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/fault"
)

// Options are the settings of a training run; names and meaning are mlx-lm's.
type Options struct {
	Objective             Objective // nil for CrossEntropy
	BatchSize             int
	Iters                 int // steps, of a batch each
	ValBatches            int // of a validation, -1 for all
	StepsPerReport        int
	StepsPerEval          int
	SaveEvery             int // steps
	GradAccumulationSteps int // steps whose gradients make one update: that of the mean over all their tokens
	MaxSeqLength          int // tokens; longer examples are cut
	GradCheckpoint        bool
	Seed                  uint64
	Optimizer             OptimizerConfig
	Schedule              Schedule
	EarlyStop             int     // end after so many validations in a row that are not better than the best; 0: never
	MaxGradNorm           float64 // gradients of an update with a larger norm, over all parameters, are scaled down to it; 0: none are
	// CompatMLX copies mlx-lm's choices that do not help: the pad target in the
	// loss, batches of consecutive examples, a dropped last batch.
	CompatMLX bool
	Frozen    FrozenCache
}

// Defaults are mlx-lm's settings.
func Defaults() Options {
	return Options{
		BatchSize: 4, Iters: 1000, ValBatches: 25, StepsPerReport: 10, StepsPerEval: 200, SaveEvery: 100,
		GradAccumulationSteps: 1, MaxSeqLength: 2048, Optimizer: OptimizerConfig{Name: "adam"}, Schedule: Constant(1e-5),
	}
}

// StepsPerPass is the number of steps that take each of the examples once; under mlx-lm's
// rules, all but those of the last partial batch.
func (o Options) StepsPerPass(examples int) int {
	order := order{examples: examples, size: o.BatchSize, mlx: o.CompatMLX}
	return order.batches()
}

// Check refuses settings that no run can have. Run does so first.
func (o Options) Check() error {
	for _, s := range []struct {
		setting      fault.Setting
		value, least int
	}{
		{"batch_size", o.BatchSize, 1}, {"iters", o.Iters, 1}, {"steps_per_report", o.StepsPerReport, 1}, {"steps_per_eval", o.StepsPerEval, 1},
		{"save_every", o.SaveEvery, 1}, {"grad_accumulation_steps", o.GradAccumulationSteps, 1}, {"max_seq_length", o.MaxSeqLength, 2},
	} {
		if s.value < s.least {
			return fault.Value(s.setting, s.value, fmt.Sprintf("%d or more", s.least))
		}
	}
	if o.Schedule == nil {
		return fault.Missing("learning_rate")
	}
	if o.EarlyStop < 0 {
		return fault.Value("early_stop", o.EarlyStop, "0 for never, or more")
	}
	if m := float32(o.MaxGradNorm); !(m >= 0) || m > math.MaxFloat32 || m == 0 && o.MaxGradNorm > 0 { // as float32 has it
		return fault.Value("max_grad_norm", o.MaxGradNorm, "0 for no limit, or more")
	}
	if err := o.objective().check(); err != nil {
		return err
	}
	return o.Optimizer.check()
}

func (o Options) objective() Objective { return objectiveOr(o.Objective) }

func objectiveOr(o Objective) Objective {
	if o == nil {
		return CrossEntropy{}
	}
	return o
}
