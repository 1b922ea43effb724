package eval

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/weights"
)

// listed is a dataset in memory.
type listed []train.Example

func (l listed) Len() int { return len(l) }

func (l listed) Example(i int) (train.Example, error) {
	if l[i].IDs == nil {
		return train.Example{}, fmt.Errorf("row %d is broken", i)
	}
	return l[i], nil
}

// row has n tokens, 100·i, 100·i+1, ..., the loss from token from on.
func row(i, n, from int) train.Example {
	r := train.Example{IDs: []int32{}, Loss: [][2]int{{from, n}}}
	for k := range n {
		r.IDs = append(r.IDs, int32(100*i+k))
	}
	return r
}

func TestWindows(t *testing.T) {
	t.Parallel()
	var data listed
	for i := range 10 {
		data = append(data, row(i, 3, 1))
	}
	// np.random.seed(0); np.random.permutation(10) is 2 8 4 9 1 6 7 3 0 5.
	want := [][]int32{{200, 201, 202, 800}, {801, 802, 400, 401}, {402, 900, 901, 902}, {100, 101, 102, 600}, {601, 602, 700, 701}, {702, 300, 301, 302}, {0, 1, 2, 500}}
	for _, tt := range []struct{ samples, want int }{{2, 2}, {7, 7}, {8, 7}, {-1, 7}, {0, 7}} {
		got, err := Windows(data, 4, tt.samples, 0)
		if err != nil || len(got) != tt.want {
			t.Fatalf("%d samples: got %d, %v", tt.samples, len(got), err)
		}
		for i, w := range got {
			if !slices.Equal(w.IDs, want[i]) || !slices.Equal(w.Loss, [][2]int{{1, 4}}) {
				t.Errorf("window %d is %v, want %v", i, w, want[i])
			}
		}
	}
	if _, err := Windows(data, 31, 1, 0); fault.SettingOf(err) != "sequence_length" || !strings.Contains(err.Error(), "30 tokens, fewer than one sample of 31") {
		t.Errorf("too little data: %v", err)
	}
	// Rows that are not needed are not tokenised.
	data[5].IDs = nil
	if _, err := Windows(data, 4, 6, 0); err != nil {
		t.Error(err)
	}
	if _, err := Windows(data, 4, 7, 0); err == nil {
		t.Error("no error of a row that cannot be read")
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	data := listed{row(0, 6, 4), row(1, 3, 1), row(2, 9, 8), row(3, 1, 0), row(4, 8, 2)}
	got, cut, err := Rows(data, 7, -1, 1)
	if err != nil || cut != 1 || len(got) != 3 {
		t.Fatalf("%d rows, %d cut, %v", len(got), cut, err)
	}
	for _, r := range got {
		if r.IDs[0] == 400 && (len(r.IDs) != 7 || r.Loss[0] != [2]int{2, 7}) {
			t.Errorf("cut row %v", r)
		}
	}
	if got, _, err := Rows(data, 7, 2, 1); err != nil || len(got) != 2 {
		t.Errorf("%d rows, %v", len(got), err)
	}
	if _, _, err := Rows(data[3:4], 7, 2, 1); err == nil || !strings.Contains(err.Error(), "none of the 1 rows") {
		t.Error(err)
	}
}

func open(t *testing.T, spec modeltest.Spec) *model.Model {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	src, err := weights.Open(modeltest.Write(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// byHand computes the losses of a row one prediction at a time, from logits.
func byHand(t *testing.T, m *model.Model, r train.Example) (out []float64) {
	t.Helper()
	tape := tensor.NewTape(m.Device())
	tape.Exact = true
	var logits []float32
	tape.Scope(func() *tensor.Tensor {
		in, row := m.Begin(tape, model.Sequence(r.IDs, 0), nil)
		logits = tape.Read(m.Logits(tape, m.Final(tape, m.Layers(tape, in, row, 0, len(m.Blocks), false))))
		return nil
	})
	if tape.Err() != nil {
		t.Fatal(tape.Err())
	}
	v := m.Config.VocabSize
	for _, span := range r.Loss {
		for s := max(span[0], 1); s < span[1]; s++ {
			sum := 0.0
			for _, l := range logits[(s-1)*v : s*v] {
				sum += math.Exp(float64(l))
			}
			out = append(out, math.Log(sum)-float64(logits[(s-1)*v+int(r.IDs[s])]))
		}
	}
	return out
}

// sumTolerance is for sums of float32 products in another order.
const sumTolerance = 1e-5

func TestMeasure(t *testing.T) {
	t.Parallel()
	m := open(t, modeltest.Spec{Type: "llama"})
	rows := []train.Example{
		{IDs: []int32{1, 5, 9, 2, 30, 7}, Loss: [][2]int{{0, 6}}},
		{IDs: []int32{4, 4, 8}, Loss: [][2]int{{2, 3}}},
		{IDs: []int32{11}, Loss: [][2]int{{0, 1}}},
		{IDs: []int32{40, 41, 42, 43, 44, 45, 46}, Loss: [][2]int{{1, 3}, {5, 7}}},
	}
	var all []float64
	for _, r := range rows {
		all = append(all, byHand(t, m, r)...)
	}
	mean, spread := 0.0, 0.0
	for _, l := range all {
		mean += l / float64(len(all))
	}
	for _, l := range all {
		spread += (l - mean) * (l - mean)
	}
	wantErr := math.Exp(mean) * math.Sqrt(spread/float64(len(all)-1)) / math.Sqrt(float64(len(all)))
	for _, batch := range []int{1, 2, 3, 100} {
		calls := 0
		got, err := Measure(context.Background(), m, rows, Options{BatchSize: batch, Progress: func(done, total int) {
			if calls++; done != calls || total != (3+batch)/batch {
				t.Errorf("batch %d: progress %d of %d", batch, done, total)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got.Tokens != int64(len(all)) || !(math.Abs(got.Loss-mean) <= sumTolerance*mean) || !(math.Abs(got.StdErr()-wantErr) <= sumTolerance*wantErr) {
			t.Errorf("batch %d: %d tokens, loss %.7f, error %.7f; want %d, %.7f, %.7f", batch, got.Tokens, got.Loss, got.StdErr(), len(all), mean, wantErr)
		}
		if got.Value() != math.Exp(got.Loss) {
			t.Errorf("perplexity %v of loss %v", got.Value(), got.Loss)
		}
	}
}

func TestMeasureErrors(t *testing.T) {
	t.Parallel()
	m := open(t, modeltest.Spec{Type: "qwen2"})
	one := []train.Example{{IDs: []int32{1, 2}, Loss: [][2]int{{1, 2}}}}
	if _, err := Measure(context.Background(), m, one, Options{}); fault.SettingOf(err) != "batch_size" {
		t.Error(err)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Measure(stopped, m, one, Options{BatchSize: 1}); err != context.Canceled {
		t.Error(err)
	}
	one[0].IDs[1] = modeltest.Vocab
	if _, err := Measure(context.Background(), m, one, Options{BatchSize: 1}); err == nil || !strings.Contains(err.Error(), "vocabulary") {
		t.Error(err)
	}
	var none Perplexity
	if !math.IsNaN(none.StdErr()) {
		t.Error("a standard error of nothing")
	}
}
