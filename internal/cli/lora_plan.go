package cli

import (
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// rowLengths gives the number of tokens of each row.
func rowLengths(rows *dataset.Rows) ([]int, error) {
	lengths := make([]int, rows.Len())
	for i := range lengths {
		item, err := rows.Item(i)
		if err != nil {
			return nil, inputError(err)
		}
		lengths[i] = len(item.IDs)
	}
	slices.Sort(lengths)
	return lengths, nil
}

// A need is what a training run takes, by the plan device.
type need struct {
	mapped    int64 // weights used where they lie in the file
	trainable int64 // adapter, or trained copies of weights
	step      int64 // at most during a step: activations, gradients, optimizer
	flops     int64 // of an average step
}

func (n need) total() int64 { return n.mapped + n.trainable + n.step }

// plannedNeed does a step of the run on the plan device: with the longest rows for the memory, with
// average ones for the work. lengths are sorted.
func (o *loraOptions) plannedNeed(e *engine.Engine, lengths []int) (need, error) {
	dev := plan.New(plan.For(e.Device))
	m, err := model.Load(dev, e.Source)
	if err != nil {
		return need{}, err
	}
	if err := o.makeTrainable(m); err != nil {
		return need{}, err
	}
	settings, err := o.training()
	if err != nil {
		return need{}, err
	}
	trainer := &train.Trainer{Model: m, Options: settings}
	before := dev.Report()
	n := need{mapped: before.WeightBytes, trainable: before.CurrentBytes}
	longest := lengths[max(0, len(lengths)-o.BatchSize):]
	if err := trainer.DryRun(longest); err != nil {
		return need{}, err
	}
	n.step = dev.Report().PeakBytes - n.trainable
	dev.Reset()
	if err := trainer.DryRun(o.averageBatch(lengths)); err != nil {
		return need{}, err
	}
	n.flops = dev.Report().FLOPs
	return n, nil
}

// averageBatch is a batch of rows of the average length, after cutting.
func (o *loraOptions) averageBatch(lengths []int) []int {
	sum := 0
	for _, n := range lengths {
		sum += min(n, o.MaxSeqLength)
	}
	batch := make([]int, min(o.BatchSize, len(lengths)))
	for i := range batch {
		batch[i] = max(2, sum/len(lengths))
	}
	return batch
}

// plan tells what the run needs and, if that does not fit, which settings would make it fit. The error is
// set if the run cannot even start.
func (o *loraOptions) plan(e *engine.Engine, lengths []int) (run.Plan, error) {
	n, err := o.plannedNeed(e, lengths)
	if err != nil {
		return run.Plan{}, fault.Mark(err, compute.ErrNoMemory)
	}
	p := run.Plan{
		Parts: []run.PlanPart{
			{Name: "weights, mapped", Bytes: n.mapped},
			{Name: map[bool]string{true: "trained weights", false: "adapter"}[o.FineTuneType == "full"], Bytes: n.trainable},
			{Name: "step, at most", Bytes: n.step},
		},
		TotalBytes: n.total(), AvailableBytes: e.Device.Info().Memory, FLOPsPerStep: float64(n.flops), Iterations: o.Iters,
	}
	p.Fits = fits(n, e.Device.Info())
	if !p.Fits {
		if p.Remedies, err = o.remedies(e, lengths); err != nil {
			return p, err
		}
	}
	return p, nil
}

func fits(n need, info compute.Info) bool { return info.Memory == 0 || n.total() <= info.Memory }

// remedies tries settings that lower the need, each on top of those before it, until the run fits.
func (o *loraOptions) remedies(e *engine.Engine, lengths []int) ([]fault.Note, error) {
	smaller := *o
	var settings fault.Note
	var out []fault.Note
	try := func(setting fault.Note) (bool, error) {
		settings = fault.Say("%v%v ", settings, setting)
		n, err := smaller.plannedNeed(e, lengths)
		if err != nil {
			return false, fault.Mark(err, compute.ErrNoMemory)
		}
		if fits(n, e.Device.Info()) {
			out = append(out, fault.Say("%v(%s)", settings, run.Bytes(n.total())))
			return true, nil
		}
		return false, nil
	}
	if !smaller.GradCheckpoint {
		smaller.GradCheckpoint = true
		if done, err := try(fault.Say("%v", fault.Setting("grad_checkpoint"))); done || err != nil {
			return out, err
		}
	}
	for _, step := range smaller.reductions(e, lengths) {
		step.apply(&smaller)
		if done, err := try(step.setting); done || err != nil {
			return out, err
		}
	}
	return []fault.Note{fault.Say("a smaller or a quantized model: even %vis not enough", settings)}, nil
}

type reduction struct {
	setting fault.Note
	apply   func(*loraOptions)
}

// reductions lists what can be made smaller, the least harmful first.
func (o *loraOptions) reductions(e *engine.Engine, lengths []int) []reduction {
	var out []reduction
	if o.BatchSize > 1 {
		setting := fault.Say("%v 1 %v %d", fault.Setting("batch_size"), fault.Setting("grad_accumulation_steps"), o.GradAccumulation*o.BatchSize)
		out = append(out, reduction{setting, func(s *loraOptions) { s.BatchSize = 1 }})
	}
	if n := min(o.MaxSeqLength, lengths[len(lengths)-1]) / 2; n >= 64 {
		out = append(out, reduction{fault.Say("%v %d", fault.Setting("max_seq_length"), n), func(s *loraOptions) { s.MaxSeqLength = n }})
	}
	if blocks := len(e.Model.LastBlocks(o.NumLayers)); blocks > 4 {
		out = append(out, reduction{fault.Say("%v 4", fault.Setting("num_layers")), func(s *loraOptions) { s.NumLayers = 4 }})
	}
	return out
}
