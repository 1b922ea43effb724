package model

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// A Mix runs rows of several models in one pass: models that share their weights and have
// adapters of their own, or none (see Share). Products with the weights run once for all
// rows, each row gets the update of its model's adapter.
//
// A Mix is for one goroutine at a time. The models may be used beside it.
type Mix struct {
	base *Model // weights without an adapter
}

// NewMix makes a Mix of m and the models that share its weights.
func (m *Model) NewMix() (*Mix, error) {
	base, err := m.Share()
	if err != nil {
		return nil, err
	}
	return &Mix{base}, nil
}

// Free gives the Mix's hold on the weights back.
func (x *Mix) Free() { x.base.Free() }

// Takes reports whether rows of a model may go together with those of others: it must
// share all weights, and its adapter must be a plain LoRA that leaves experts alone.
func (x *Mix) Takes(m *Model) bool {
	if m.Config != x.base.Config || m.dev != x.base.dev {
		return false
	}
	for _, l := range m.Linears() {
		if lora, ok := l.Adapter.(*nn.LoRA); l.Adapter != nil && (!ok || lora.Experts > 0 || lora.Magnitude != nil) {
			return false
		}
	}
	return x.base.sharesWeights(m)
}

// sharesWeights tells whether all weights of m are also other's.
func (m *Model) sharesWeights(other *Model) bool {
	theirs := other.matrices()
	for i, s := range m.matrices() {
		if !s.weight.Shares(theirs[i].weight) {
			return false
		}
	}
	vectors := other.vectors()
	for name, v := range m.vectors() {
		if !v.Shares(vectors[name]) {
			return false
		}
	}
	return true
}

// A MixedRow is a row of one of the models.
type MixedRow struct {
	Row
	Model *Model // one that the Mix takes
}

// StepRows is Model.StepRows over rows of several models. It uploads the rows of each
// adapter once. Rows of one model are best side by side.
func (x *Mix) StepRows(t *tensor.Tape, rows []MixedRow) *tensor.Tensor {
	plain, alone := plainRows(rows)
	if alone {
		return rows[0].Model.StepRows(t, plain)
	}
	return t.Scope(func() *tensor.Tensor {
		x.attach(rows, func(bounds []int32) *tensor.Tensor { return t.IntRows(bounds, 2) })
		defer x.base.Detach()
		return x.base.StepRows(t, plain)
	})
}

// plainRows are rows without their models, and whether they have one model.
func plainRows(rows []MixedRow) (plain []Row, alone bool) {
	plain, alone = make([]Row, len(rows)), true
	for i, r := range rows {
		plain[i] = r.Row
		alone = alone && r.Model == rows[0].Model
	}
	return plain, alone
}

// attach gives the base's projections the adapters of the rows' models.
func (x *Mix) attach(rows []MixedRow, upload func(bounds []int32) *tensor.Tensor) {
	type segment struct {
		adapted  []*nn.Linear
		from, to int32
	}
	var segments []segment
	var at int32
	for i, r := range rows {
		n := int32(len(r.Tokens))
		if i > 0 && r.Model == rows[i-1].Model {
			segments[len(segments)-1].to += n
		} else {
			segments = append(segments, segment{r.Model.Linears(), at, at + n})
		}
		at += n
	}
	uploaded := map[string]*tensor.Tensor{}
	for i, l := range x.base.Linears() {
		var by nn.ByRow
		var bounds []int32
		for _, s := range segments {
			if lora, ok := s.adapted[i].Adapter.(*nn.LoRA); ok {
				by.Updates, bounds = append(by.Updates, lora), append(bounds, s.from, s.to)
			}
		}
		if len(by.Updates) == 0 {
			continue
		}
		key := string(compute.IntBytes(bounds))
		if uploaded[key] == nil {
			uploaded[key] = upload(bounds)
		}
		by.Rows = uploaded[key]
		l.Adapter = &by
	}
}
