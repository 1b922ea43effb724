package tune

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/weights"
)

// A planner tells what training by a recipe takes, without doing it.
type planner struct {
	recipe  Recipe
	device  compute.Device // that the run will be on
	source  weights.Source // of the base model
	blocks  int            // of the model
	lengths []int          // of the sequences of all rows, in tokens, sorted
	program int64          // bytes of the program's own file that are in memory
	own     int64          // bytes of memory that the process has for itself: tokenizer, rows, copies of weights
}

// garbagePercent is how much the garbage collector lets the memory of Go grow before it works, while a model is trained:
// by little, as the plan counts that as needed, and training leaves next to no garbage.
const garbagePercent = 25

// laterPages is what training touches first that no account has: code, stacks, work areas of kernels. It was measured on
// models of 1 to 135 million parameters, by TestPlanPeak.
const laterPages = 8 << 20

// collectOften makes the garbage collector work as the plan says, unless it does already, until stop.
func collectOften() (stop func()) {
	was := debug.SetGCPercent(garbagePercent)
	if was >= 0 && was < garbagePercent {
		debug.SetGCPercent(was)
	}
	return func() { debug.SetGCPercent(was) }
}

// A need is what a training run takes, by the plan device.
type need struct {
	held      int64 // before: program, tokenizer, rows
	mapped    int64 // weights used where they lie in the file
	trainable int64 // adapter, or trained copies of weights
	step      int64 // at most during a step: activations, gradients, optimizer, and blocks kept for the next
	garbage   int64 // copies that a save makes, and what the collector has not taken yet
	flops     int64 // of an average step
	disk      int64 // see diskBytes
}

// host is what the program needs beside the device's memory, if that is not the same.
func (n need) host() int64 { return n.held + n.garbage }

// total is what the memory of the device has to hold. Where that is the computer's, the
// program is there, too.
func (p *planner) total(n need) int64 {
	total := n.mapped + n.trainable + n.step
	if p.device.Info().Async {
		return total
	}
	return total + n.host()
}

// Forecast tells what a training on the rows would need, without one.
func (j *Job) Forecast(rows *dataset.Rows) (run.Plan, error) {
	lengths, err := rowLengths(rows)
	if err != nil {
		return run.Plan{}, err
	}
	return j.forecast(lengths)
}

// forecast is Forecast for rows of these lengths, sorted.
func (j *Job) forecast(lengths []int) (run.Plan, error) {
	m := j.Engine.Model
	debug.FreeOSMemory() // what loading has left behind is not needed again
	own, program := machine.HeldMemory()
	return (&planner{j.Recipe, m.Device(), m.Source(), len(m.Blocks), lengths, program, own}).plan()
}

// plan tells what the rest of the run needs, of which done iterations are behind it, and refuses one that does not fit into memory.
func (j *Job) plan(lengths []int, done, stepsPerPass int) (run.Plan, error) {
	p, err := j.forecast(lengths)
	if err != nil {
		return p, err
	}
	p.Iterations -= done
	if p.Fits {
		m := j.Engine.Model
		if err := (&planner{recipe: j.Recipe, device: m.Device(), source: m.Source(), blocks: len(m.Blocks), lengths: lengths}).pace(m, &p, max(0, stepsPerPass-done)); err != nil {
			return p, err
		}
	}
	j.options.report(p)
	if p.FreeDiskBytes > 0 && p.DiskBytes > p.FreeDiskBytes {
		j.options.report(run.Warning{Text: fault.Say("the run writes up to %s to %s, where %s are free: give %v 1, or a larger %v",
			run.Bytes(p.DiskBytes), j.Recipe.AdapterPath, run.Bytes(p.FreeDiskBytes), fault.Setting("keep_checkpoints"), fault.Setting("save_every"))})
	}
	if !p.Fits {
		return p, tooLarge(p)
	}
	return p, nil
}

// tooLarge is the error for a run that does not fit into memory; the plan has told the rest.
func tooLarge(p run.Plan) error {
	remedies := fault.Say("")
	for i, r := range p.Remedies {
		remedies = fault.Say("%v%sTry: %v", remedies, []string{"", "\n"}[min(i, 1)], r)
	}
	return fault.Of("the run needs %s of memory and %s is available", run.Bytes(p.TotalBytes), run.Bytes(p.AvailableBytes)).Try("%v", remedies)
}

// rowLengths gives the number of tokens of each sequence of the rows, sorted.
func rowLengths(rows *dataset.Rows) ([]int, error) {
	lengths := make([]int, 0, rows.Len())
	for i := range rows.Len() {
		item, err := rows.Item(i)
		if err != nil {
			return nil, fault.Mark(err)
		}
		lengths = append(lengths, len(item.IDs))
		if item.Rejected != nil {
			lengths = append(lengths, len(item.Rejected.IDs))
		}
	}
	slices.Sort(lengths)
	return lengths, nil
}

// plan tells what the run needs and, if that does not fit, which settings would make it fit.
func (p *planner) plan() (run.Plan, error) {
	n, err := p.need(p.recipe)
	if err != nil {
		return run.Plan{}, err
	}
	part := "adapter"
	if p.recipe.FineTuneType == "full" {
		part = "trained weights"
	}
	parts := []run.PlanPart{
		{Name: "program and data", Bytes: n.host()}, {Name: "weights, mapped", Bytes: n.mapped}, {Name: part, Bytes: n.trainable}, {Name: "step, at most", Bytes: n.step},
	}
	if p.device.Info().Async {
		parts = parts[1:]
		parts[0].Name = "weights"
	}
	out := run.Plan{
		Parts: parts, TotalBytes: p.total(n), AvailableBytes: p.device.Info().Memory, FLOPsPerStep: float64(n.flops), Iterations: p.recipe.Iters,
		Fits: p.fits(n), DiskBytes: n.disk, FreeDiskBytes: freeDisk(p.recipe.AdapterPath), Watch: p.device.Info().Watch,
	}
	if !out.Fits {
		out.Remedies, err = p.remedies()
	}
	return out, err
}

func (p *planner) fits(n need) bool {
	memory := p.device.Info().Memory
	return memory == 0 || p.total(n) <= memory
}

// need does a step of the run on the plan device: with the longest rows for the memory,
// with average ones for the work.
func (p *planner) need(r Recipe) (need, error) {
	dev := plan.New(plan.For(p.device))
	m, err := model.Load(dev, p.source)
	if err != nil {
		return need{}, fault.Mark(err, compute.ErrNoMemory)
	}
	mapped := dev.Report().WeightBytes // pages of weights that are trained were read, too
	if err := r.makeTrainable(m); err != nil {
		return need{}, err
	}
	settings, err := r.training()
	if err != nil {
		return need{}, err
	}
	disk, err := r.diskBytes(m, settings)
	if err != nil {
		return need{}, err
	}
	trainer := &train.Trainer{Model: m, Options: settings}
	before := dev.Report()
	n := need{held: p.program + p.own, mapped: mapped, trainable: before.CurrentBytes, disk: disk}
	longest := p.lengths[max(0, len(p.lengths)-r.BatchSize*r.sequences()):]
	if err := trainer.DryRun(longest); err != nil {
		return need{}, fault.Mark(err, compute.ErrNoMemory)
	}
	dev.Reset()
	if err := trainer.DryRun(p.averageBatch(r)); err != nil {
		return need{}, fault.Mark(err, compute.ErrNoMemory)
	}
	n.flops = dev.Report().FLOPs
	// Steps of other lengths leave blocks that the longest cannot use.
	if err := trainer.DryRun(longest); err != nil {
		return need{}, fault.Mark(err, compute.ErrNoMemory)
	}
	after := dev.Report()
	n.step = after.HeldBytes - n.trainable
	n.garbage = laterPages + n.trainable + (p.own+after.HeapBytes)*garbagePercent/100
	return n, nil
}

// diskBytes is what a run writes beside its log, at most at once: the adapter, its numbered copies and the state, and a
// second one of each that is saved while the old ones are still there.
func (r *Recipe) diskBytes(m *model.Model, o train.Options) (int64, error) {
	state, err := train.StateBytes(m, o)
	if err != nil {
		return 0, err
	}
	copies := r.Iters / r.SaveEvery
	if keep := r.KeepCheckpoints; keep > 0 {
		copies = min(copies, keep)
	}
	files := int64(1 + copies + 2)
	if r.SaveBest {
		files++
	}
	return files*adapter.FileBytes(m) + 2*state, nil
}

// freeDisk is the space where a folder is or will be; 0 if unknown.
func freeDisk(dir string) int64 {
	for {
		if _, err := os.Stat(dir); err == nil {
			return machine.FreeDisk(dir)
		}
		above := filepath.Dir(dir)
		if above == dir {
			return 0
		}
		dir = above
	}
}

// averageBatch is a batch of rows of the average length, after cutting.
func (p *planner) averageBatch(r Recipe) []int {
	sum := 0
	for _, n := range p.lengths {
		sum += min(n, r.MaxSeqLength)
	}
	batch := make([]int, min(r.BatchSize*r.sequences(), len(p.lengths)))
	for i := range batch {
		batch[i] = max(2, sum/len(p.lengths))
	}
	return batch
}

// remedies tries settings that lower the need, each on top of those before it, until the run fits.
func (p *planner) remedies() ([]fault.Note, error) {
	smaller := p.recipe
	said := fault.Say("")
	for _, r := range p.reductions() {
		r.apply(&smaller)
		said = fault.Say("%v%v ", said, r.said)
		n, err := p.need(smaller)
		if err != nil {
			return nil, err
		}
		if p.fits(n) {
			return []fault.Note{fault.Say("%v(%s)", said, run.Bytes(p.total(n)))}, nil
		}
	}
	return []fault.Note{fault.Say("a smaller or a quantized model: even %vis not enough", said)}, nil
}

// A reduction makes a recipe need less.
type reduction struct {
	said  fault.Note // as the user would set it
	apply func(*Recipe)
}

const (
	shortestRows = 64 // in tokens: remedies cut no further
	fewestLayers = 4  // that a remedy leaves to be trained
)

// reductions lists what can be made smaller, the least harmful first.
func (p *planner) reductions() []reduction {
	r := &p.recipe
	var out []reduction
	add := func(apply func(*Recipe), format string, args ...any) {
		out = append(out, reduction{fault.Say(format, args...), apply})
	}
	if !r.GradCheckpoint {
		add(func(s *Recipe) { s.GradCheckpoint = true }, "%v", fault.Setting("grad_checkpoint"))
	}
	if r.BatchSize > 1 {
		steps := r.GradAccumulation * r.BatchSize
		add(func(s *Recipe) { s.BatchSize, s.GradAccumulation = 1, steps },
			"%v 1 %v %d", fault.Setting("batch_size"), fault.Setting("grad_accumulation_steps"), steps)
	}
	if n := min(r.MaxSeqLength, p.lengths[len(p.lengths)-1]) / 2; n >= shortestRows {
		add(func(s *Recipe) { s.MaxSeqLength = n }, "%v %d", fault.Setting("max_seq_length"), n)
	}
	if r.NumLayers <= 0 && p.blocks > fewestLayers || r.NumLayers > fewestLayers {
		add(func(s *Recipe) { s.NumLayers = fewestLayers }, "%v %d", fault.Setting("num_layers"), fewestLayers)
	}
	return out
}

// frozenCache bounds what is kept of the frozen layers: on a device with memory of its own half of what the run
// leaves free there; then a quarter of the memory, at most 2 GiB and what the run leaves free; beyond that half of
// the free disk, beside the adapter.
func (r *Recipe) frozenCache(p run.Plan, info compute.Info) (c train.FrozenCache) {
	const most = 2 << 30
	if r.NoFrozenCache {
		return c
	}
	c = train.FrozenCache{Memory: most, Disk: machine.FreeDisk(r.AdapterPath) / 2, Dir: r.AdapterPath}
	switch free := p.AvailableBytes - p.TotalBytes; {
	case info.Async:
		c.Device = max(0, free/2)
		if host := machine.AvailableMemory(); host > 0 {
			c.Memory = min(most, host/4)
		}
	case p.AvailableBytes > 0:
		c.Memory = max(0, min(most, p.AvailableBytes/4, free))
	}
	return c
}
