package cli

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/dataset"
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
func (o *loraOptions) plannedNeed(e *engine, lengths []int) (need, error) {
	dev := plan.New(plan.For(e.dev))
	m, err := model.Load(dev, e.src)
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

// plan tells what the run needs and, if that does not fit, which flags would make it fit. The error is
// set if the run cannot even start.
func (o *loraOptions) plan(e *engine, lengths []int) (run.Plan, error) {
	n, err := o.plannedNeed(e, lengths)
	if err != nil {
		return run.Plan{}, memoryOrInput(err)
	}
	p := run.Plan{
		Parts: []run.PlanPart{
			{Name: "weights, mapped", Bytes: n.mapped},
			{Name: map[bool]string{true: "trained weights", false: "adapter"}[o.FineTuneType == "full"], Bytes: n.trainable},
			{Name: "step, at most", Bytes: n.step},
		},
		TotalBytes: n.total(), AvailableBytes: e.dev.Info().Memory, FLOPsPerStep: float64(n.flops), Iterations: o.Iters,
	}
	p.Fits = fits(n, e.dev.Info())
	if !p.Fits {
		if p.Remedies, err = o.remedies(e, lengths); err != nil {
			return p, err
		}
	}
	return p, nil
}

func fits(n need, info compute.Info) bool { return info.Memory == 0 || n.total() <= info.Memory }

// remedies tries flags that lower the need, each on top of those before it, until the run fits.
func (o *loraOptions) remedies(e *engine, lengths []int) ([]string, error) {
	smaller := *o
	var flags string
	var out []string
	try := func(flag string) (bool, error) {
		flags += flag + " "
		n, err := smaller.plannedNeed(e, lengths)
		if err != nil {
			return false, memoryOrInput(err)
		}
		if fits(n, e.dev.Info()) {
			out = append(out, fmt.Sprintf("%s(%s)", flags, run.Bytes(n.total())))
			return true, nil
		}
		return false, nil
	}
	if !smaller.GradCheckpoint {
		smaller.GradCheckpoint = true
		if done, err := try("--grad-checkpoint"); done || err != nil {
			return out, err
		}
	}
	for _, step := range smaller.reductions(e, lengths) {
		step.apply(&smaller)
		if done, err := try(step.flag); done || err != nil {
			return out, err
		}
	}
	return []string{"a smaller or a quantized model: even " + flags + "is not enough"}, nil
}

type reduction struct {
	flag  string
	apply func(*loraOptions)
}

// reductions lists what can be made smaller, the least harmful first.
func (o *loraOptions) reductions(e *engine, lengths []int) []reduction {
	var out []reduction
	if o.BatchSize > 1 {
		flag := fmt.Sprintf("--batch-size 1 --grad-accumulation-steps %d", o.GradAccumulation*o.BatchSize)
		out = append(out, reduction{flag, func(s *loraOptions) { s.BatchSize = 1 }})
	}
	if n := min(o.MaxSeqLength, lengths[len(lengths)-1]) / 2; n >= 64 {
		out = append(out, reduction{fmt.Sprintf("--max-seq-length %d", n), func(s *loraOptions) { s.MaxSeqLength = n }})
	}
	if blocks := len(e.model.LastBlocks(o.NumLayers)); blocks > 4 {
		out = append(out, reduction{"--num-layers 4", func(s *loraOptions) { s.NumLayers = 4 }})
	}
	return out
}
