package train

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// somePairs are n pairs of answers of 3 to 40 tokens to a prompt of 4 to 11. With whole, the
// prompt of the chosen sequence is learnt, too.
func somePairs(n int, seed uint64, whole bool) rowList {
	random := rand.New(rand.NewPCG(seed, 0))
	var out rowList
	for range n {
		prompt := make([]int32, 4+random.IntN(8))
		tokens := func(ids []int32) []int32 {
			for i := range ids {
				ids[i] = int32(random.IntN(modeltest.Vocab))
			}
			return ids
		}
		tokens(prompt)
		answer := func(from int) Example {
			ids := append(slices.Clone(prompt), tokens(make([]int32, 3+random.IntN(38)))...)
			return Example{IDs: ids, Loss: [][2]int{{from, len(ids)}}, Offset: len(prompt)}
		}
		from := len(prompt)
		if whole {
			from = 1
		}
		pair := answer(from)
		pair.Others = []Example{answer(len(prompt))}
		out = append(out, pair)
	}
	return out
}

func newPairTrainer(t testing.TB, dev compute.Device, o Objective, layers int) (*Trainer, *log) {
	t.Helper()
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Bits: 4, Config: map[string]any{"num_hidden_layers": 3}})
	if _, err := adapter.New(m, adapter.Config{Rank: 2, Scale: 4, NumLayers: layers}, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	l, whole := &log{}, false
	if _, ok := o.(ORPO); ok {
		whole = true
	}
	settings := options()
	settings.Objective = o
	return &Trainer{Model: m, Train: somePairs(12, 1, whole), Valid: somePairs(5, 2, whole), Reporter: l, Options: settings}, l
}

var objectives = map[string]Objective{"dpo": DPO{Beta: 0.3}, "orpo": ORPO{Beta: 0.8}}

// TestPreferenceGradients compares the gradient of a batch with finite differences, along
// random directions and along itself.
func TestPreferenceGradients(t *testing.T) {
	t.Parallel()
	const (
		step      = 2e-3 // of a fourth-order formula
		tolerance = 2e-3 // of the gradient: float32 losses over the step
	)
	for name, objective := range objectives {
		for _, trained := range []string{"LoRA", "LoRA of the head, checkpoints", "full"} {
			tr, _ := newPairTrainer(t, newCPU(t), objective, 2)
			var err error
			switch trained {
			case "full":
				if objective.reference() {
					continue // the reference is the model as it was
				}
				tr.Model = modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
				err = tr.Model.Unfreeze(1, true)
			case "LoRA of the head, checkpoints":
				tr.Model = modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama", Config: map[string]any{"tie_word_embeddings": false}})
				tr.Options.GradCheckpoint = true
				_, err = adapter.New(tr.Model, adapter.Config{Rank: 2, Scale: 4, NumLayers: 1, Keys: []string{"self_attn.v_proj", "lm_head"}}, compute.NewKey(0))
			}
			if err != nil {
				t.Fatal(err)
			}
			modeltest.Shake(t, tr.Model, 0.1)
			s, err := tr.prepare()
			if err != nil {
				t.Fatal(err)
			}
			b, err := load(tr.Model, objective, tr.Train, []int{0, 1, 2}, 64, false)
			if err != nil {
				t.Fatal(err)
			}
			loss := func(learn bool) (got float64) {
				tr.tape.Scope(func() *tensor.Tensor {
					left, err := tr.gradients(s, &b)
					if err != nil {
						t.Fatal(err)
					}
					got, s.waiting = objective.measure(&b, tr.tape.Read(left)).loss, accumulation{}
					return nil
				})
				return got
			}
			loss(true)
			grads := readGrads(t, tr)
			random := rand.New(rand.NewPCG(3, 4))
			for try := range 4 {
				var slope, norm, size float64
				direction := make([][]float32, len(grads))
				for i, g := range grads {
					direction[i] = make([]float32, len(g))
					for k, v := range g {
						direction[i][k] = v
						if try > 0 {
							direction[i][k] = float32(random.NormFloat64())
						}
						d := float64(direction[i][k])
						slope, norm, size = slope+d*float64(v), norm+float64(v)*float64(v), size+d*d
					}
				}
				slope /= math.Sqrt(size)
				at := func(by float64) float64 {
					for i, p := range tr.params {
						was := read(t, tr.Model.Device(), p.Tensor)
						moved := slices.Clone(was)
						for k, d := range direction[i] {
							moved[k] += float32(by / math.Sqrt(size) * float64(d))
						}
						write(t, tr.Model.Device(), p.Tensor, moved)
						defer write(t, tr.Model.Device(), p.Tensor, was)
					}
					defer func() {
						for _, p := range tr.params {
							p.ZeroGrad()
						}
					}()
					return loss(false)
				}
				h := step * math.Sqrt(float64(len(tr.params))) // some of it for each
				numeric := (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
				if !(math.Abs(slope-numeric) <= tolerance*math.Sqrt(norm)) {
					t.Errorf("%s, %s, direction %d: gradient %g, finite differences %g, norm %g", name, trained, try, slope, numeric, math.Sqrt(norm))
				}
			}
			tr.close(s)
		}
	}
}

// TestPreferenceLearns: the margins begin at nothing and grow, in the reports as well.
func TestPreferenceLearns(t *testing.T) {
	t.Parallel()
	for name, objective := range objectives {
		dev := newCPU(t)
		tr, l := newPairTrainer(t, dev, objective, 2)
		tr.Options.Iters, tr.Options.Schedule = 30, Constant(3e-3)
		before := used(dev)
		if _, err := tr.Run(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		if after := used(dev); after != before {
			t.Errorf("%s: %d bytes held after the run, %d before", name, after, before)
		}
		reports, valid := eventsOf[run.TrainReport](l), eventsOf[run.Validation](l)
		first, last := reports[0].Figures, reports[len(reports)-1].Figures
		from, _ := first.Get(run.RewardsMargins)
		to, ok := last.Get(run.RewardsMargins)
		right, _ := last.Get(run.RewardsAccuracies)
		if !ok || to <= 2*from || right < 0.9 {
			t.Errorf("%s: from %v to %v", name, first, last)
		}
		if len(valid) == 0 || len(valid[0].Figures) < 6 {
			t.Fatalf("%s: validations %+v", name, valid)
		}
		margin, _ := valid[0].Figures.Get(run.RewardsMargins)
		if name == "dpo" && (margin != 0 || !(math.Abs(valid[0].Loss-math.Ln2) <= 1e-6)) {
			t.Errorf("before the first step: loss %v, margin %v", valid[0].Loss, margin)
		}
	}
}

// TestPreferenceKept: with the outputs of frozen layers kept, and the reference's numbers,
// losses are the same to the bit; frozen layers run once for policy and reference.
func TestPreferenceKept(t *testing.T) {
	t.Parallel()
	for name, objective := range objectives {
		for _, kernels := range []string{"", "generic"} {
			for layers, least := range map[int]float64{1: 0.3, 3: 0.1} { // of the products are saved
				if kernels != "" && layers == 3 || layers == 3 && !objective.reference() {
					continue
				}
				curve := func(memory int64) (losses []float64, linears int) {
					raw, err := cpu.New(cpu.Options{Threads: 2, Kernels: kernels})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { raw.(*cpu.Device).Close() })
					dev := &counter{Device: raw}
					tr, l := newPairTrainer(t, dev, objective, layers)
					tr.Train, tr.Valid = somePairs(11, 5, false), somePairs(5, 6, false)
					tr.Options.Iters, tr.Options.BatchSize, tr.Options.MaxSeqLength, tr.Options.Frozen.Memory = 16, 3, 40, memory
					if _, err := tr.Run(t.Context()); err != nil {
						t.Fatal(err)
					}
					for _, s := range eventsOf[run.Step](l) {
						losses = append(losses, s.Loss)
					}
					for _, v := range eventsOf[run.Validation](l) {
						losses = append(losses, v.Loss)
					}
					return losses, dev.linears
				}
				plain, all := curve(0)
				kept, fewer := curve(1 << 20)
				saved := 1 - float64(fewer)/float64(all)
				t.Logf("%s, %d layers: %.0f%% of the products saved", name, layers, 100*saved)
				if !slices.Equal(plain, kept) || saved < least {
					t.Errorf("%s, %d layers: losses %v with %d products, kept %v with %d", name, layers, plain, all, kept, fewer)
				}
			}
		}
	}
	// Of three layers one is trained: 2 + 1 for the policy, 1 more for the reference.
	dev := &counter{Device: newCPU(t)}
	tr, _ := newPairTrainer(t, dev, DPO{Beta: 1}, 1)
	e := func(o Objective) int {
		was := dev.linears
		if _, err := Evaluate(t.Context(), tr.Model, tr.Valid, EvalOptions{Objective: o, BatchSize: 8, Batches: 1, MaxSeqLength: 64}, nil); err != nil {
			t.Fatal(err)
		}
		return dev.linears - was
	}
	if one, two := e(ORPO{Beta: 1}), e(DPO{Beta: 1}); 3*two != 4*one {
		t.Errorf("%d products with a reference, %d without", two, one)
	}
}

// TestPreferenceAccumulation: parts of a batch give DPO's gradient of the whole.
func TestPreferenceAccumulation(t *testing.T) {
	t.Parallel()
	const tolerance = 1e-6 // of all gradients: sums in another order
	tr, _ := newPairTrainer(t, newCPU(t), DPO{Beta: 0.3}, 3)
	modeltest.Shake(t, tr.Model, 0.1)
	s, err := tr.prepare()
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close(s)
	gradients := func(parts ...[]int) [][]float32 {
		for _, part := range parts {
			b, err := load(tr.Model, tr.Options.Objective, tr.Train, part, 64, false)
			if err == nil {
				_, err = tr.gradients(s, &b)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.average(s); err != nil {
			t.Fatal(err)
		}
		return readGrads(t, tr)
	}
	if d := relativeDistance(gradients([]int{5}, []int{1, 2, 3}), gradients([]int{1, 2, 3, 5})); !(d <= tolerance) {
		t.Errorf("gradients %g away from those of the whole", d)
	}
}

// TestPreferencePlan: the plan knows that examples are pairs and that there is a reference.
func TestPreferencePlan(t *testing.T) {
	t.Parallel()
	const most, least = 1.02, 0.75
	spec := modeltest.Spec{Type: "llama", Config: map[string]any{"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "vocab_size": 300}}
	lengths := []int{60, 64, 57, 64}
	flops := map[string]int64{}
	for name, objective := range objectives {
		dry := func(dev compute.Device) {
			m := modeltest.Load(t, dev, spec)
			if _, err := adapter.New(m, adapter.Config{Rank: 4, Scale: 1, NumLayers: 2}, compute.NewKey(0)); err != nil {
				t.Fatal(err)
			}
			o := options()
			o.Objective = objective
			tr := &Trainer{Model: m, Options: o}
			if err := tr.DryRun(lengths); err != nil {
				t.Fatal(err)
			}
		}
		real := newCPU(t)
		planned := plan.New(plan.For(real))
		dry(planned)
		dry(real)
		_, peak := real.Memory()
		report := planned.Report()
		flops[name] = report.FLOPs
		if ratio := float64(report.HeldBytes) / float64(peak); ratio > most || ratio < least {
			t.Errorf("%s: planned %d bytes, the CPU took %d", name, report.HeldBytes, peak)
		}
	}
	if flops["dpo"] <= flops["orpo"] {
		t.Errorf("FLOPs %v: the reference is not counted", flops)
	}
}

func TestPreferenceErrors(t *testing.T) {
	t.Parallel()
	pairs := somePairs(12, 1, false)
	for _, test := range []struct {
		name   string
		change func(tr *Trainer)
		want   []string
	}{
		{"beta", func(tr *Trainer) { tr.Options.Objective = DPO{} }, []string{"beta 0: expected a number above 0"}},
		{"beta of ORPO", func(tr *Trainer) { tr.Options.Objective = ORPO{Beta: math.Inf(1)} }, []string{"beta +Inf"}},
		{"no pairs", func(tr *Trainer) { tr.Train = someRows(12) }, []string{"rows.jsonl:1", "2 sequences an example, found 1"}},
		{"pairs without an objective", func(tr *Trainer) { tr.Options.Objective = nil }, []string{"1 sequences an example, found 2"}},
		{"a side beyond the limit", func(tr *Trainer) { tr.Options.MaxSeqLength = 5 }, []string{"answer has no token within max_seq_length 5"}},
		{"token", func(tr *Trainer) {
			rows := slices.Clone(pairs)
			other := rows[3].Others[0]
			other.IDs = append(slices.Clone(other.IDs), modeltest.Vocab)
			rows[3].Others = []Example{other}
			tr.Train = rows
		}, []string{"rows.jsonl:4", "vocabulary has 48"}},
		{"all weights", func(tr *Trainer) {
			tr.Model = modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
			if err := tr.Model.Unfreeze(1, false); err != nil {
				t.Fatal(err)
			}
		}, []string{"is being trained"}},
	} {
		tr, _ := newPairTrainer(t, newCPU(t), DPO{Beta: 0.1}, 2)
		test.change(tr)
		_, err := tr.Run(t.Context())
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q has no %q", test.name, err, part)
			}
		}
	}
}
