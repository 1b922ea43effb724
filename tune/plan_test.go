package tune

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/weights"
)

// smallDevice says that it has little memory.
type smallDevice struct {
	compute.Device
	memory int64
}

func (d smallDevice) Info() compute.Info {
	info := d.Device.Info()
	info.Memory = d.memory
	return info
}

func (d smallDevice) Ledger() compute.Ledger { return d.Device.(compute.Hoarder).Ledger() }

// newPlanner plans a run on 16 rows of 200 tokens.
func newPlanner(t *testing.T, change func(*Recipe)) *planner {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.(*cpu.Device).Close() })
	src, err := weights.Open(modeltest.Write(t, modeltest.Spec{Type: "llama"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	p := &planner{recipe: New(), device: dev, source: src, own: 10 << 20, blocks: len(modeltest.Open(t, dev, src.Path()).Blocks)}
	p.recipe.NumLayers, p.recipe.BatchSize, p.recipe.MaxSeqLength = -1, 8, 128
	for range 16 {
		p.lengths = append(p.lengths, 200)
	}
	change(&p.recipe)
	return p
}

func TestPlan(t *testing.T) {
	t.Parallel()
	p := newPlanner(t, func(*Recipe) {})
	roomy, err := p.plan()
	if err != nil || !roomy.Fits || roomy.FLOPsPerStep <= 0 || roomy.Remedies != nil {
		t.Fatalf("%+v, %v", roomy, err)
	}
	var sum int64
	for _, part := range roomy.Parts {
		if part.Bytes <= 0 {
			t.Errorf("%s needs nothing", part.Name)
		}
		sum += part.Bytes
	}
	if sum != roomy.TotalBytes {
		t.Errorf("the parts are %d bytes, the whole %d", sum, roomy.TotalBytes)
	}

	device := p.device
	p.device = smallDevice{device, roomy.TotalBytes}
	if exact, err := p.plan(); err != nil || !exact.Fits {
		t.Errorf("just enough memory: %+v, %v", exact, err)
	}
	p.device = smallDevice{device, 1000}
	hopeless, err := p.plan()
	want := "a smaller or a quantized model: even grad_checkpoint batch_size 1 grad_accumulation_steps 8 max_seq_length 64 is not enough"
	if err != nil || hopeless.Fits || len(hopeless.Remedies) != 1 || hopeless.Remedies[0].String() != want {
		t.Errorf("no memory: %v, %v\nwant %s", hopeless.Remedies, err, want)
	}
	text := fault.Text(tooLarge(hopeless), func(s fault.Setting) string { return "<" + string(s) + ">" })
	if want := fmt.Sprintf("the run needs %s of memory and 1.00 kB is available\nTry: a smaller or a quantized model: even <grad_checkpoint> <batch_size> 1", run.Bytes(roomy.TotalBytes)); !strings.HasPrefix(text, want) {
		t.Errorf("%s\nwant %s", text, want)
	}
	if !errors.As(tooLarge(hopeless), new(*fault.Mistake)) {
		t.Error("a run that is too large is no mistake of the user's")
	}
}

// halfDevice has memory of its own and keeps activations in BF16.
type halfDevice struct{ compute.Device }

func (d halfDevice) Info() compute.Info {
	return compute.Info{Name: "half", Memory: 1 << 40, Activations: compute.BF16, Async: true}
}

// TestPlanOwnMemory: a device with memory of its own holds what lies there and not the
// program, and activations of two bytes take less than those of four.
func TestPlanOwnMemory(t *testing.T) {
	t.Parallel()
	p := newPlanner(t, func(*Recipe) {})
	full, err1 := p.need(p.recipe)
	p.device = halfDevice{p.device}
	half, err2 := p.need(p.recipe)
	plan, err3 := p.plan()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if half.step >= full.step*3/4 {
		t.Errorf("a step takes %d bytes in BF16 and %d in F32", half.step, full.step)
	}
	if want := half.mapped + half.trainable + half.step; plan.TotalBytes != want || len(plan.Parts) != 3 || plan.Parts[0].Name != "weights" {
		t.Errorf("%+v, want %d bytes of weights, adapter and step", plan, want)
	}
}

// TestRemedies: what is advised is what makes the run fit, and no more.
func TestRemedies(t *testing.T) {
	t.Parallel()
	p := newPlanner(t, func(*Recipe) {})
	device := p.device
	steps := []func(*Recipe){
		func(r *Recipe) { r.GradCheckpoint = true },
		func(r *Recipe) { r.BatchSize, r.GradAccumulation = 1, 8 },
		func(r *Recipe) { r.MaxSeqLength = 64 },
	}
	said := "grad_checkpoint "
	smaller := p.recipe
	for i, apply := range steps {
		apply(&smaller)
		n, err := p.need(smaller)
		if err != nil {
			t.Fatal(err)
		}
		said += []string{"", "batch_size 1 grad_accumulation_steps 8 ", "max_seq_length 64 "}[i]
		p.device = smallDevice{device, p.total(n)}
		plan, err := p.plan()
		if want := said + "(" + run.Bytes(p.total(n)) + ")"; err != nil || plan.Fits || len(plan.Remedies) != 1 || plan.Remedies[0].String() != want {
			t.Errorf("with %d bytes: %v, %v, want %s", p.total(n), plan.Remedies, err, want)
		}
	}
}

func TestReductions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*Recipe)
		blocks int
		want   string
	}{
		{func(r *Recipe) { r.NumLayers, r.BatchSize, r.GradCheckpoint, r.MaxSeqLength = 4, 1, true, 127 }, 9, ""},
		{func(r *Recipe) { r.NumLayers, r.BatchSize, r.GradCheckpoint, r.MaxSeqLength = 5, 1, true, 2048 }, 9, "max_seq_length 100, num_layers 4"},
		{func(r *Recipe) { r.NumLayers, r.BatchSize, r.GradAccumulation, r.MaxSeqLength = -1, 2, 3, 128 }, 5, "grad_checkpoint, batch_size 1 grad_accumulation_steps 6, max_seq_length 64, num_layers 4"},
		{func(r *Recipe) { r.NumLayers, r.BatchSize, r.GradCheckpoint, r.MaxSeqLength = 0, 1, true, 100 }, 4, ""},
	} {
		p := &planner{recipe: New(), blocks: c.blocks, lengths: []int{50, 200}}
		c.change(&p.recipe)
		var said []string
		for _, r := range p.reductions() {
			said = append(said, r.said.String())
		}
		if got := strings.Join(said, ", "); got != c.want {
			t.Errorf("%+v: %s, want %s", p.recipe, got, c.want)
		}
	}
}

func TestFrozenCacheLimits(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, c := range []struct{ total, available, want int64 }{
		{gib, 0, 2 * gib}, {gib, 64 * gib, 2 * gib}, {gib, 4 * gib, gib}, {3*gib + gib/2, 4 * gib, gib / 2}, {5 * gib, 4 * gib, 0},
	} {
		r := &Recipe{AdapterPath: t.TempDir()}
		p := run.Plan{TotalBytes: c.total, AvailableBytes: c.available}
		got := r.frozenCache(p, compute.Info{})
		if got.Memory != c.want || got.Dir != r.AdapterPath {
			t.Errorf("%+v: %+v", c, got)
		}
		if got := r.frozenCache(p, compute.Info{Async: true}); got.Device != max(0, (c.available-c.total)/2) || got.Memory > 2*gib || got.Dir != r.AdapterPath {
			t.Errorf("%+v, a device with memory of its own: %+v", c, got)
		}
		r.NoFrozenCache = true
		if got := r.frozenCache(run.Plan{}, compute.Info{}); got != (train.FrozenCache{}) {
			t.Errorf("without the cache: %+v", got)
		}
	}
}
