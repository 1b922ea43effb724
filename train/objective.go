package train

import (
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// An Objective is the loss that a run makes small: CrossEntropy, Near, DPO or ORPO.
//
// It is a mean over units, which are tokens or pairs of answers. A batch's loss is put on
// the tape and stays on the device; what is left of it there, [few numbers], is read once
// the update is on its way.
type Objective interface {
	// check refuses settings that no run can have.
	check() error
	// sequences is how many an example has; those of an example are in one batch.
	sequences() int
	// reference tells whether a pass needs the model without its adapter.
	reference() bool
	// units counts what the loss of a batch is a mean over; 0 if there is nothing to learn.
	units(b *packed) int
	// loss runs a batch forward and returns what measure needs. When recording, the backward
	// pass starts from share times the sum of the losses of all units.
	loss(p *pass, b *packed, share float32) *tensor.Tensor
	// measure sums up what loss has left of a batch.
	measure(b *packed, left []float32) measure
}

// A measure is what the loss of a batch, or of several, came to.
type measure struct {
	loss    float64     // mean over the units
	units   int         // 0: there was nothing to learn
	tokens  int         // that were to be predicted
	figures run.Figures // further means over the units

	references []float32 // of each sequence, for pass.known
	norm       float64   // of the gradients, before they were clipped, where an update was due and they may be clipped
}

// CrossEntropy is the mean over tokens of -log p(token), the loss of ordinary fine-tuning.
type CrossEntropy struct{}

func (CrossEntropy) check() error    { return nil }
func (CrossEntropy) sequences() int  { return 1 }
func (CrossEntropy) reference() bool { return false }

func (CrossEntropy) units(b *packed) int { return len(b.rows) }

// loss gives the loss of each row [R].
func (CrossEntropy) loss(p *pass, b *packed, share float32) *tensor.Tensor {
	weight := make([]float32, len(b.rows))
	for i := range weight {
		weight[i] = share
	}
	return p.tape.Scope(func() *tensor.Tensor {
		x := p.forward(b)
		return p.model.Loss(p.tape, x, b.rows, b.targets, weight)
	})
}

func (CrossEntropy) measure(b *packed, losses []float32) measure {
	return measure{loss: mean(losses), units: len(b.rows), tokens: len(b.rows)}
}

// A pass runs batches forward.
type pass struct {
	tape       *tensor.Tape
	model      *model.Model
	reference  *model.Model // of the same weights, without an adapter; nil if the objective needs none
	known      *references  // may be nil
	frozen     *frozen      // may be nil
	checkpoint bool
}

// forward runs a batch through all blocks: [T, hidden].
func (p *pass) forward(b *packed) *tensor.Tensor {
	x, pass, first := p.frozen.below(p.tape, p.model, b, p.checkpoint)
	return p.above(x, pass, first)
}

// unchanged runs a batch through the blocks that training does not change, which give the
// same with and without the adapter: the number of blocks done, and x [T, hidden].
func (p *pass) unchanged(b *packed) (x *tensor.Tensor, pass nn.Pass, done int) {
	x, pass, done = p.frozen.below(p.tape, p.model, b, p.checkpoint)
	if first := p.model.FirstTrained(); done < first {
		x, done = p.model.Layers(p.tape, x, pass, done, first, false), first
	}
	return x, pass, done
}

// above runs the blocks from first on.
func (p *pass) above(x *tensor.Tensor, pass nn.Pass, first int) *tensor.Tensor {
	return p.model.Layers(p.tape, x, pass, first, len(p.model.Blocks), p.checkpoint)
}

// newReference is the model without its adapter, if the objective needs it; its memory is
// that of its structs. It is to be freed.
func newReference(m *model.Model, o Objective) (*model.Model, error) {
	if !o.reference() {
		return nil, nil
	}
	return m.Share()
}
