package train

import (
	"fmt"
	"math"
	"testing"

	"github.com/lentil-lm/lentil/tensor"
)

// TestNear: rows that are held stay nearer the base than without, those that are learnt are learnt, and a batch may have
// nothing but held rows.
func TestNear(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	// drift trains and tells how far the losses of the held rows have gone, and the last loss.
	drift := func(weight float64, size int) (off, loss float64) {
		o := options()
		o.BatchSize, o.Iters, o.MaxGradNorm = size, 30, 0
		if weight > 0 {
			o.Objective = Near{Weight: weight}
		}
		tr, _ := newTrainer(t, dev, o)
		tr.Valid = nil
		rows := someRows(6)
		held := append(List{}, rows[:3]...)
		var list List
		for _, e := range rows[3:] {
			if weight > 0 {
				e = Held(e, true)
			}
			list = append(list, e)
		}
		if weight > 0 {
			for _, e := range held {
				list = append(list, Held(e, false))
			}
		}
		tr.Train = list
		tape := tensor.NewTape(dev)
		tape.Exact = true
		before, err := Losses(tape, tr.Model, held)
		if err != nil {
			t.Fatal(err)
		}
		result, err := tr.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		after, err := Losses(tape, tr.Model, held)
		if err != nil {
			t.Fatal(err)
		}
		for i := range after {
			off += math.Abs(float64(after[i]-before[i])) / float64(len(after))
		}
		return off, result.TrainLoss
	}
	free, _ := drift(0, 6)
	// Alone in its batch, what is learnt and what is held take turns, and each turn undoes a part of the other.
	for size, share := range map[int]float64{6: 1. / 3, 1: 0.8} {
		if off, _ := drift(10, size); !(off <= share*free) {
			t.Errorf("batches of %d: held rows are %.4f off, %.4f without being held", size, off, free)
		}
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	e := Example{IDs: make([]int32, 9), Loss: [][2]int{{3, 5}, {7, 8}}}
	if got := fmt.Sprint(Held(e, true).Hold, Held(e, true).Loss); got != "[[1 3] [5 7] [8 9]] [[3 5] [7 8]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(Held(e, false).Hold, Held(e, false).Loss); got != "[[1 9]] []" {
		t.Error(got)
	}
	p := pack([]Example{Held(e, true), Held(e, false)}, 6, false)
	if got := fmt.Sprint(p.held, p.rows); got != "[0 1 4 5 6 7 8 9] [2 3]" {
		t.Error(got)
	}
	if err := (Near{}).check(); err == nil {
		t.Error("a weight of 0")
	}
}
