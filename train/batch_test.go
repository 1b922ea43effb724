package train

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/model"
)

func TestNumpyPermutations(t *testing.T) {
	t.Parallel()
	// What np.random.seed and np.random.permutation give.
	for _, test := range []struct {
		seed uint32
		want [][]int
	}{
		{0, [][]int{{2, 8, 4, 9, 1, 6, 7, 3, 0, 5}, {1, 0, 2, 3, 4}}},
		{0, [][]int{{18, 1, 19, 8, 10, 17, 6, 13, 4, 2, 5, 14, 9, 7, 16, 11, 3, 0, 15, 12}}},
		{0, [][]int{{6, 2, 1, 7, 3, 0, 5, 4}, {2, 0, 1}, {3, 1, 2, 7, 5, 0, 6, 4}}},
		{42, [][]int{{8, 1, 5, 0, 7, 2, 9, 4, 3, 6}}},
		{0, [][]int{{0}, {}, {2, 8, 4, 9, 1, 6, 7, 3, 0, 5}}}, // one and none draw nothing
	} {
		r := newNumpyRandom(test.seed)
		for i, want := range test.want {
			if got := r.Permutation(len(want)); !slices.Equal(got, want) {
				t.Errorf("seed %d, permutation %d: %v, want %v", test.seed, i, got, want)
			}
		}
	}
	r := newNumpyRandom(1) // beyond one refill of the state
	long := r.Permutation(5000)
	slices.Sort(long)
	for i, v := range long {
		if i != v {
			t.Fatalf("a long permutation misses %d", i)
		}
	}
}

func TestBatchOrder(t *testing.T) {
	t.Parallel()
	// mlx-lm: consecutive examples, shuffled batches, no partial one.
	random, same := newNumpyRandom(0), newNumpyRandom(0)
	o := order{examples: 10, size: 3, mlx: true}
	if o.batches() != 3 {
		t.Errorf("%d batches of 3 from 10 examples, want 3", o.batches())
	}
	for pass := range 2 {
		for i, k := range same.Permutation(3) {
			if b := o.next(&random); !slices.Equal(b, []int{3 * k, 3*k + 1, 3*k + 2}) {
				t.Errorf("pass %d, batch %d is %v", pass, i, b)
			}
		}
	}
	// Otherwise every example comes once, in another order each pass.
	random, o = newNumpyRandom(0), order{examples: 10, size: 4}
	if o.batches() != 3 {
		t.Errorf("%d batches of 4 from 10 examples, want 3", o.batches())
	}
	var passes [2][]int
	for seen := 0; seen < 20; {
		b := o.next(&random)
		pass := &passes[seen/10]
		if *pass = append(*pass, b...); len(b) != 4 && len(*pass) != 10 {
			t.Errorf("a short batch %v in the middle of a pass", b)
		}
		seen += len(b)
	}
	if slices.Equal(passes[0], passes[1]) {
		t.Error("two passes have one order")
	}
	for _, p := range passes {
		slices.Sort(p)
		for i, v := range p {
			if i != v {
				t.Errorf("a pass has the examples %v", p)
				break
			}
		}
	}
}

// ids are the tokens first, first+1, ...
func ids(n int, first int32) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = first + int32(i)
	}
	return out
}

func TestPack(t *testing.T) {
	t.Parallel()
	whole := func(n int) [][2]int { return [][2]int{{1, n}} }
	for _, test := range []struct {
		name    string
		rows    []Example
		max     int
		pad     bool
		tokens  []int32
		bounds  []int32
		at      []int32
		targets []int32
	}{
		{"row of six, prompt of four", []Example{{IDs: ids(6, 10), Loss: [][2]int{{4, 6}}}}, 2048, false, ids(5, 10), []int32{0, 5}, []int32{3, 4}, []int32{14, 15}},
		{"with the pad target", []Example{{IDs: ids(6, 10), Loss: [][2]int{{4, 6}}}}, 2048, true, ids(6, 10), []int32{0, 6}, []int32{3, 4, 5}, []int32{14, 15, 0}},
		{"token 0 is never predicted", []Example{{IDs: ids(3, 10), Loss: [][2]int{{0, 3}}}}, 2048, false, ids(2, 10), []int32{0, 2}, []int32{0, 1}, []int32{11, 12}},
		{"two rows", []Example{{IDs: ids(3, 10), Loss: whole(3)}, {IDs: ids(2, 20), Loss: whole(2)}}, 2048, false, []int32{10, 11, 20}, []int32{0, 2, 3}, []int32{0, 1, 2}, []int32{11, 12, 21}},
		{"cut", []Example{{IDs: ids(9, 10), Loss: whole(9)}}, 4, false, ids(3, 10), []int32{0, 3}, []int32{0, 1, 2}, []int32{11, 12, 13}},
		{"cut, no room for a pad target", []Example{{IDs: ids(9, 10), Loss: whole(9)}}, 4, true, ids(3, 10), []int32{0, 3}, []int32{0, 1, 2}, []int32{11, 12, 13}},
		{"prompt longer than the limit", []Example{{IDs: ids(9, 10), Loss: [][2]int{{6, 9}}}}, 4, true, ids(3, 10), []int32{0, 3}, nil, nil},
		{"two spans", []Example{{IDs: ids(6, 10), Loss: [][2]int{{1, 2}, {4, 99}}}}, 2048, false, ids(5, 10), []int32{0, 5}, []int32{0, 3, 4}, []int32{11, 14, 15}},
		{"one token", []Example{{IDs: ids(1, 10), Loss: nil}, {IDs: ids(2, 20), Loss: whole(2)}}, 2048, false, []int32{20}, []int32{0, 1}, []int32{0}, []int32{21}},
		{"no token", []Example{{IDs: nil, Loss: nil}, {IDs: ids(2, 20), Loss: whole(2)}}, 2048, true, []int32{20, 21}, []int32{0, 2}, []int32{0, 1}, []int32{21, 0}},
		{"no token, yet a span", []Example{{IDs: nil, Loss: whole(3)}}, 2048, true, nil, []int32{0}, nil, nil},
	} {
		p := pack(test.rows, test.max, test.pad)
		if !slices.Equal(p.Tokens, test.tokens) || !slices.Equal(p.Bounds, test.bounds) || !slices.Equal(p.rows, test.at) || !slices.Equal(p.targets, test.targets) {
			t.Errorf("%s: tokens %v, bounds %v, rows %v, targets %v", test.name, p.Tokens, p.Bounds, p.rows, p.targets)
		}
		for i := range len(p.Bounds) - 1 {
			for k := p.Bounds[i]; k < p.Bounds[i+1]; k++ {
				if p.Positions[k] != k-p.Bounds[i] {
					t.Errorf("%s: positions %v", test.name, p.Positions)
				}
			}
		}
	}
}

// TestPadTargets counts loss tokens as mlx-lm does: a row shorter than the
// padded width has one more. Widths: 1 to 32 tokens give 33, 33 and 64 give 65.
func TestPadTargets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ longest, row, max, want int }{
		{6, 6, 2048, 6}, {32, 32, 2048, 32}, {33, 33, 2048, 33}, {64, 64, 2048, 64},
		{2048, 2048, 2048, 2047}, {3000, 3000, 2048, 2047}, {2047, 2047, 2048, 2047},
		{33, 33, 33, 32}, {32, 32, 33, 32}, {3000, 5, 2048, 5},
	} {
		list := []Example{{IDs: ids(test.row, 1), Loss: [][2]int{{1, test.row}}}}
		if test.longest != test.row {
			list = append(list, Example{IDs: ids(test.longest, 1)})
		}
		if got := len(pack(list, test.max, true).rows); got != test.want {
			t.Errorf("%+v: %d loss tokens", test, got)
		}
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	const tolerance = 1e-12 // relative; all in float64
	for _, test := range []struct {
		c    ScheduleConfig
		want map[int]float64
	}{
		{ScheduleConfig{Name: "cosine_decay", Arguments: []float64{1e-5, 900, 1e-6}, Warmup: 100},
			map[int]float64{0: 0, 50: 5e-6, 100: 1e-5, 101: 1e-5, 1001: 1e-6, 5000: 1e-6}},
		{ScheduleConfig{Name: "cosine_decay", Arguments: []float64{0.1, 10}}, map[int]float64{0: 0.1, 4: 0.05 * (1 + math.Cos(0.4*math.Pi)), 10: 0, 11: 0}},
		{ScheduleConfig{Name: "linear_schedule", Arguments: []float64{1, 0.5, 5}}, map[int]float64{0: 1, 1: 0.9, 5: 0.5, 9: 0.5}},
		{ScheduleConfig{Name: "step_decay", Arguments: []float64{1, 0.1, 3}}, map[int]float64{0: 1, 2: 1, 3: 0.1, 5: 0.1, 6: 0.01}},
		{ScheduleConfig{Name: "exponential_decay", Arguments: []float64{2, 0.5}}, map[int]float64{0: 2, 1: 1, 3: 0.25}},
		{ScheduleConfig{Name: "exponential_decay", Arguments: []float64{2, 0.5}, Warmup: 2, WarmupInit: 1}, map[int]float64{0: 1, 1: 1.5, 2: 2, 3: 2, 4: 1}},
	} {
		s, err := NewSchedule(test.c)
		if err != nil {
			t.Errorf("%+v: %v", test.c, err)
			continue
		}
		for at, want := range test.want {
			if got := s(at); !(math.Abs(got-want) <= tolerance*max(want, 1e-3)) {
				t.Errorf("%+v at %d: %g, want %g", test.c, at, got, want)
			}
		}
	}
	for _, c := range []ScheduleConfig{
		{}, {Name: "cosine"}, {Name: "cosine_decay"}, {Name: "cosine_decay", Arguments: []float64{1, 0}}, {Name: "linear_schedule", Arguments: []float64{1, 0, -1}},
		{Name: "step_decay", Arguments: []float64{1, 0.5, 0}}, {Name: "step_decay", Arguments: []float64{1, 0.5, 1, 1}}, {Name: "exponential_decay", Arguments: []float64{1, 0.5}, Warmup: -1},
	} {
		if _, err := NewSchedule(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// rowList is a split in memory.
type rowList []Example

func (l rowList) Len() int                       { return len(l) }
func (l rowList) Example(i int) (Example, error) { return l[i], nil }
func (l rowList) Where(i int) string             { return fmt.Sprintf("rows.jsonl:%d", i+1) }

// letters is a tokenizer of bytes that ends each text with token 0.
type letters struct{ dataset.Tokenizer }

func (letters) Encode(text string, _ bool) (out []int32, _ error) {
	for _, c := range []byte(text) {
		out = append(out, int32(c))
	}
	return out, nil
}

func (l letters) EncodePlain(text string) ([]int32, error) { return l.Encode(text, true) }

func (letters) EOS() (int32, bool) { return 0, true }

// TestFromRows: what a dataset gives is what is trained on, and errors name file and line.
func TestFromRows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "train.jsonl"), []byte("{\"text\": \"ab\"}\n{\"text\": \"z\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	splits, err := dataset.Load(dir, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := dataset.NewEncoder(letters{}, nil, dataset.EncoderOptions{}).Rows(splits.Train)
	if err != nil {
		t.Fatal(err)
	}
	from := FromRows(rows)
	if from.Len() != 2 || FromRows(nil).Len() != 0 {
		t.Errorf("%d examples of two rows, %d of none", from.Len(), FromRows(nil).Len())
	}
	if got, err := from.Example(0); err != nil || !slices.Equal(got.IDs, []int32{'a', 'b', 0}) || len(got.Loss) != 1 || got.Loss[0][1] != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := example(&model.Model{Config: &model.Config{VocabSize: 'z'}}, CrossEntropy{}, from, 1, 64); err == nil || !strings.Contains(err.Error(), "train.jsonl") || !strings.Contains(err.Error(), "2") {
		t.Errorf("a token beyond the vocabulary: %v", err)
	}
}
