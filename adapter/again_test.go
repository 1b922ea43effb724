package adapter_test

import (
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/cuda/emulate"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tensor"
)

// TestMixAgain: rows of several models have, in passes that are run again, the bits that they have in passes one by one.
func TestMixAgain(t *testing.T) {
	t.Parallel()
	dev := computetest.NewAsync(newCPU(t))
	mixAgain(t, dev, compute.F32)
	if c := dev.Take(); c.Programs < 6 {
		t.Errorf("%d passes were compiled ones", c.Programs)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}

// TestCardMixAgain: so they have on an NVIDIA card, or the processor that plays one.
func TestCardMixAgain(t *testing.T) {
	t.Parallel()
	card, err := cuda.New(cuda.Options{Driver: emulate.Driver(t)})
	if err != nil {
		t.Fatal(err)
	}
	mixAgain(t, fallback.New(card), compute.BF16)
	if used, _ := card.Memory(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
	if err := card.Close(); err != nil {
		t.Error(err)
	}
}

func mixAgain(t *testing.T, dev compute.Device, dtype compute.DType) {
	t.Helper()
	base := modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Bits: 4})
	defer base.Free()
	mix, err := base.NewMix()
	if err != nil {
		t.Fatal(err)
	}
	defer mix.Free()
	models := []*model.Model{base}
	for _, c := range []adapter.Config{{Rank: 8, Scale: 10, NumLayers: -1}, {Rank: 3, Scale: 5, NumLayers: 1}} {
		m, err := base.Share()
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		if _, err := adapter.New(m, c, compute.NewKey(uint64(c.Rank))); err != nil {
			t.Fatal(err)
		}
		modeltest.Shake(t, m, 0.2)
		models = append(models, m)
	}
	tape := tensor.NewTape(dev)
	logits := func(step func() *tensor.Tensor) (v []float32) {
		tape.Reset(false)
		tape.Scope(func() *tensor.Tensor { v = tape.Read(step()); return nil })
		if err := tape.Err(); err != nil {
			t.Fatal(err)
		}
		return v
	}
	var rows [2][]model.MixedRow
	var answers []any
	for i := range 4 {
		m := models[i*2/3]
		for side := range rows {
			cache, err := m.NewCache(0, dtype)
			if err != nil {
				t.Fatal(err)
			}
			defer cache.Free()
			row := model.MixedRow{Row: model.Row{Tokens: modeltest.Sequence(5 + i), Last: 1, Cache: cache}, Model: m}
			logits(func() *tensor.Tensor { return mix.StepRows(tape, []model.MixedRow{row}) })
			row.Tokens = []int32{int32(i)}
			rows[side] = append(rows[side], row)
		}
		answers = append(answers, i)
	}
	var again model.Again
	defer again.Free()
	for _, part := range [][2]int{{0, 4}, {1, 3}, {0, 2}} { // the first two rows are of the base
		from, to := part[0], part[1]
		for pass := range 4 {
			got := logits(func() *tensor.Tensor { return again.StepMixed(tape, mix, rows[0][from:to], answers[from:to]) })
			want := logits(func() *tensor.Tensor { return mix.StepRows(tape, rows[1][from:to]) })
			if !slices.Equal(got, want) {
				t.Fatalf("rows %v, pass %d: other logits", part, pass)
			}
		}
	}
}
