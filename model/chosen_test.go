package model_test

import (
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tensor"
)

// TestChosen: tokens that lie on the device, in whatever places, give the logits that they give from the host.
func TestChosen(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := modeltest.Load(t, dev, modeltest.Architectures()[0])
	on := func(ids ...int32) *tensor.Tensor {
		x, err := tensor.New(dev, compute.Shape{len(ids)}, compute.I32, compute.IntBytes(ids))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(x.Free)
		return x
	}
	a, b := on(7, 3, 11), on(5)
	host := func(ids ...int32) model.Row { return model.Row{Tokens: ids} }
	chosen := func(x *tensor.Tensor, at int) model.Row { return model.Row{Tokens: []int32{-1}, Chosen: x, At: at} }
	for name, c := range map[string]struct{ got, want []model.Row }{
		"one":            {[]model.Row{chosen(b, 0)}, []model.Row{host(5)}},
		"all of a pass":  {[]model.Row{chosen(a, 0), chosen(a, 1), chosen(a, 2)}, []model.Row{host(7), host(3), host(11)}},
		"the first":      {[]model.Row{chosen(a, 0), chosen(a, 1)}, []model.Row{host(7), host(3)}},
		"in other order": {[]model.Row{chosen(a, 2), chosen(a, 0), chosen(a, 1)}, []model.Row{host(11), host(7), host(3)}},
		"of two passes":  {[]model.Row{chosen(a, 2), chosen(b, 0)}, []model.Row{host(11), host(5)}},
		"and the host": {[]model.Row{host(2, 4), chosen(a, 1), host(6), chosen(b, 0), chosen(a, 0), host(8, 9)},
			[]model.Row{host(2, 4), host(3), host(6), host(5), host(7), host(8, 9)}},
	} {
		logits := func(rows []model.Row) (v []float32) {
			rows = slices.Clone(rows)
			for i := range rows {
				rows[i].Last, rows[i].Cache = 1, newCache(t, m, 0)
			}
			tape := tensor.NewTape(dev)
			tape.Exact = true
			tape.Scope(func() *tensor.Tensor { v = tape.Read(m.StepRows(tape, rows)); return nil })
			if err := tape.Err(); err != nil {
				t.Fatal(err)
			}
			return v
		}
		if !slices.Equal(logits(c.got), logits(c.want)) {
			t.Errorf("%s: other logits", name)
		}
	}
}
