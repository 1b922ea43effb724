package tune

import (
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// Bounds of the measurement that the estimate of time comes from.
const (
	paceTokens = 1024                   // of its batch, at most
	paceTime   = 100 * time.Millisecond // that it goes on for: other programs take their share of it, as of the run
	paceRuns   = 50                     // at most
)

// pace sets the estimate of the time of a step: the work of all steps, by the plan device, at the speed at which the last block of the model
// has just done some of that work. frozen rows from the second epoch on skip the blocks that are not trained.
func (p *planner) pace(m *model.Model, out *run.Plan, stepsPerPass int) error {
	batch := p.paceBatch()
	planned, err := model.Load(plan.New(plan.For(p.device)), p.source)
	if err != nil {
		return fault.Mark(err, compute.ErrNoMemory)
	}
	dev := planned.Device().(*plan.Device)
	dev.Reset()
	if err := lastBlock(planned, batch); err != nil {
		return fault.Mark(err, compute.ErrNoMemory)
	}
	flops := float64(dev.Report().FLOPs)
	var began time.Time
	n := -1 // the first one reads pages of the file
	for ; n < 1 || n < paceRuns && time.Since(began) < paceTime; n++ {
		if n == 0 {
			began = time.Now()
		}
		if err := lastBlock(m, batch); err != nil {
			return fault.Mark(err, compute.ErrNoMemory)
		}
	}
	speed := flops * float64(n) / max(time.Since(began).Seconds(), 1e-9) // FLOP/s
	if flops == 0 {
		return nil
	}
	tokens := 0
	for _, n := range p.averageBatch(p.recipe) {
		tokens += n
	}
	again := 0.0 // what a later step is spared
	if trained := p.recipe.NumLayers; !p.recipe.NoFrozenCache && trained > 0 {
		again = float64(max(0, p.blocks-trained)) * flops * float64(tokens) / float64(len(batch.Tokens))
	}
	steps := float64(max(out.Iterations, 1))
	spared := max(0, steps-float64(stepsPerPass)) / steps * again
	out.SecondsPerStep = (out.FLOPsPerStep - spared) / speed
	return nil
}

// paceBatch is a batch of average rows, or as many of them as are enough to measure with.
func (p *planner) paceBatch() (b model.Batch) {
	for _, n := range p.averageBatch(p.recipe) {
		n = min(n, paceTokens)
		if len(b.Tokens) > 0 && len(b.Tokens)+n > paceTokens {
			break
		}
		b.Bounds = append(b.Bounds, int32(len(b.Tokens)))
		for i := range n {
			b.Tokens, b.Positions = append(b.Tokens, 0), append(b.Positions, int32(i))
		}
	}
	b.Bounds = append(b.Bounds, int32(len(b.Tokens)))
	return b
}

// lastBlock runs the last block of a model over a batch, and waits for it.
func lastBlock(m *model.Model, b model.Batch) error {
	t := tensor.NewTape(m.Device())
	t.Scope(func() *tensor.Tensor {
		x, pass := m.Begin(t, b, nil)
		m.Layers(t, x, pass, len(m.Blocks)-1, len(m.Blocks), false)
		return nil
	})
	if err := t.Err(); err != nil {
		return err
	}
	return m.Device().Sync()
}
