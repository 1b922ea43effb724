package train

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/internal/mersenne"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// The files of a saved state: figures, and arrays. Both come at once, with the weights
// that they belong to.
const (
	stateFigures = "state.json"
	stateArrays  = "state.safetensors"
	stateFormat  = 1
	// maxFigures is how long the figures may be.
	maxFigures = 16 << 20
)

// ErrState says that a state is none of the run that was to go on from it.
var ErrState = errors.New("it is not the state of this run")

// StateFiles are the names of the files of a state.
func StateFiles() []string { return []string{stateFigures, stateArrays} }

// Names of the arrays. Those of a parameter have its name behind them.
const (
	arrayOrder     = "order"      // U32: the permutation of this pass
	arrayRandom    = "random"     // U32 [624]: NumPy's generator
	arrayWeight    = "weight."    // F32, as it is trained
	arrayGradient  = "gradient."  // F32: waits for an update
	arrayOptimizer = "optimizer." // F32, with a number
)

func optimizerArray(i int, name string) string { return arrayOptimizer + strconv.Itoa(i) + "." + name }

// A Snapshot is a run between two steps, for Trainer.Save to keep.
type Snapshot struct {
	Iteration  int
	Checkpoint bool // the weights are to be kept under the number of the iteration, too

	tr    *Trainer
	state *state
	keys  []compute.Key // of dropout, of each worker
}

// figures are what a saved state has beside arrays.
type figures struct {
	Format        int           `json:"format"`
	Iterations    int           `json:"iterations"`
	TrainedTokens int64         `json:"trained_tokens"`
	TrainLoss     exact         `json:"train_loss"`
	ValLoss       exact         `json:"val_loss"`
	Updates       int           `json:"updates"`
	OrderAt       int           `json:"order_at"`
	RandomAt      int           `json:"random_at"`
	DropoutKeys   []compute.Key `json:"dropout_keys"` // of each worker
	WaitingUnit   int           `json:"waiting_unit"`
	WaitingUnits  int           `json:"waiting_units"`
	Window        windowFigures `json:"window"`
	Trend         trendFigures  `json:"trend"`
	Skipped       int           `json:"skipped"`
	Worse         int           `json:"worse"`
	BestIteration int           `json:"best_iteration"`
	BestLoss      exact         `json:"best_loss"`
	Early         bool          `json:"early"`
}

type windowFigures struct {
	Spent   time.Duration `json:"spent"` // nanoseconds
	Loss    exact         `json:"loss"`
	Tokens  int           `json:"tokens"`
	Steps   int           `json:"steps"`
	Learnt  int           `json:"learnt"`
	Sums    []namedSum    `json:"sums"`
	Norms   exact         `json:"norms"`
	Updates int           `json:"updates"`
}

type namedSum struct {
	Name string `json:"name"`
	Sum  exact  `json:"sum"`
}

type trendFigures struct {
	Before []beforeFigures `json:"before"`
	Steps  int             `json:"steps"`
	Sum    exact           `json:"sum"`
	Square exact           `json:"square"`
	Told   bool            `json:"told"`
}

type beforeFigures struct {
	Loss    exact `json:"loss"`
	Batches int   `json:"batches"`
}

// exact is a number that is kept to the bit in JSON, also one that JSON has no word for.
type exact float64

func (e exact) MarshalText() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(e), 'g', -1, 64), nil
}

func (e *exact) UnmarshalText(text []byte) error {
	v, err := strconv.ParseFloat(string(text), 64)
	*e = exact(v)
	return err
}

// WriteState puts all that the run needs to go on to the bit into the folder dir of a set:
// beside the figures, each trained weight in float32, what the optimizer keeps, and
// gradients that wait.
func (s Snapshot) WriteState(set *atomicfile.Set, dir string) error {
	figures := s.state.figures()
	figures.DropoutKeys = s.keys
	text, err := json.MarshalIndent(figures, "", "    ")
	if err != nil {
		return fmt.Errorf("%s: %w", stateFigures, err)
	}
	if err := set.Write(dir+"/"+stateFigures, append(text, '\n')); err != nil {
		return err
	}
	return weights.WriteEntries(filepath.Join(set.Dir(), filepath.FromSlash(dir), stateArrays), s.tr.arrays(s.state), nil)
}

func (s *state) figures() figures {
	w, t := s.window, s.trend
	f := figures{
		Format: stateFormat, Iterations: s.result.Iterations, TrainedTokens: s.result.TrainedTokens,
		TrainLoss: exact(s.result.TrainLoss), ValLoss: exact(s.result.ValLoss), Updates: s.updates.done,
		OrderAt: s.order.at, RandomAt: s.random.Next,
		WaitingUnit: s.waiting.unit, WaitingUnits: s.waiting.units,
		Window:  windowFigures{w.spent, exact(w.loss), w.tokens, w.steps, w.learnt, nil, exact(w.norms), w.updates},
		Trend:   trendFigures{nil, t.steps, exact(t.sum), exact(t.square), t.told},
		Skipped: s.skipped, Worse: s.worse, BestIteration: s.result.Best.Iteration, BestLoss: exact(s.result.Best.Loss), Early: s.result.Early,
	}
	for _, x := range w.figures {
		f.Window.Sums = append(f.Window.Sums, namedSum{x.Name, exact(x.Value)})
	}
	for _, b := range t.before {
		f.Trend.Before = append(f.Trend.Before, beforeFigures{exact(b.loss), b.batches})
	}
	return f
}

// arrays lists the arrays of a state. Each is read from the device when its turn comes.
func (tr *Trainer) arrays(s *state) []weights.Entry {
	permutation := make([]uint32, len(s.order.permutation))
	for i, v := range s.order.permutation {
		permutation[i] = uint32(v)
	}
	out := []weights.Entry{words(arrayOrder, permutation), words(arrayRandom, s.random.State[:])}
	dev := tr.Model.Device()
	for i, p := range tr.params {
		out = append(out, array(dev, arrayWeight+p.Name, p.Buffer()))
		if g := p.Grad(); g != nil && s.waiting.units > 0 {
			out = append(out, array(dev, arrayGradient+p.Name, g))
		}
		for k, x := range s.updates.state[i] {
			out = append(out, array(dev, optimizerArray(k, p.Name), x.Buffer()))
		}
	}
	return out
}

// StateBytes is how many bytes the arrays of a saved state take at most, for a model that is ready to be trained.
func StateBytes(m *model.Model, o Options) (int64, error) {
	rule, err := newOptimizer(o.Optimizer)
	if err != nil {
		return 0, err
	}
	var numbers int64
	for _, p := range m.Trainable() {
		n := int64(p.Shape().Elems())
		numbers += n
		if o.GradAccumulationSteps > 1 {
			numbers += n // gradients that wait
		}
		for _, s := range rule.state(p) {
			numbers += int64(s.Elems())
		}
	}
	return numbers * int64(compute.F32.Size()), nil
}

func words(name string, list []uint32) weights.Entry {
	return weights.Entry{Name: name, DType: quant.U32, Shape: []int{len(list)}, Bytes: func() ([]byte, error) {
		out := make([]byte, 0, 4*len(list))
		for _, v := range list {
			out = binary.LittleEndian.AppendUint32(out, v)
		}
		return out, nil
	}}
}

func array(dev compute.Device, name string, b compute.Buffer) weights.Entry {
	spec := b.Spec()
	return weights.Entry{Name: name, DType: spec.DType, Shape: spec.Shape, Bytes: func() ([]byte, error) {
		out := make([]byte, spec.Bytes())
		return out, dev.Read(b, out)
	}}
}

// A State is what a Snapshot has written, for a Trainer that goes on from it.
type State struct {
	path    string // of the folder
	figures figures
	random  numpyRandom
	arrays  *weights.Safetensors
}

// OpenState opens the state in a folder. A Trainer closes it, or who has no use for it.
func OpenState(dir string) (*State, error) {
	s := &State{path: dir}
	path := filepath.Join(dir, stateFigures)
	text, err := smallfile.Read(path, maxFigures)
	if err != nil {
		return nil, err
	}
	if err := jsonpos.Error(path, text, json.Unmarshal(text, &s.figures)); err != nil {
		return nil, err
	}
	if f := s.figures.Format; f != stateFormat {
		return nil, fmt.Errorf("%s: format is %d, expected %d: another version of Lentil wrote it", path, f, stateFormat)
	}
	if err := s.figures.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.arrays, err = weights.OpenSafetensors(filepath.Join(dir, stateArrays)); err != nil {
		return nil, err
	}
	random, err := s.words(arrayRandom, mersenne.Words)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	copy(s.random.State[:], random)
	s.random.Next = s.figures.RandomAt
	return s, nil
}

// Close closes the files.
func (s *State) Close() error { return s.arrays.Close() }

// Result is that of the run so far.
func (s *State) Result() Result {
	f := s.figures
	return Result{Iterations: f.Iterations, TrainLoss: float64(f.TrainLoss), ValLoss: float64(f.ValLoss), TrainedTokens: f.TrainedTokens,
		Best: Best{f.BestIteration, float64(f.BestLoss)}, Early: f.Early, random: s.random}
}

// check refuses figures that no run has.
func (f *figures) check() error {
	for name, v := range map[string]int64{
		"trained_tokens": f.TrainedTokens, "updates": int64(f.Updates), "order_at": int64(f.OrderAt),
		"skipped": int64(f.Skipped), "worse": int64(f.Worse), "best_iteration": int64(f.BestIteration), "waiting_unit": int64(f.WaitingUnit), "waiting_units": int64(f.WaitingUnits), "window.spent": int64(f.Window.Spent),
		"window.tokens": int64(f.Window.Tokens), "window.steps": int64(f.Window.Steps), "window.learnt": int64(f.Window.Learnt), "trend.steps": int64(f.Trend.Steps),
	} {
		if v < 0 {
			return fmt.Errorf("%s is %d, expected 0 or more", name, v)
		}
	}
	switch {
	case f.Iterations < 1:
		return fmt.Errorf("iterations is %d, expected 1 or more", f.Iterations)
	case f.Updates > f.Iterations:
		return fmt.Errorf("updates is %d, more than the %d iterations", f.Updates, f.Iterations)
	case f.Skipped >= mostSkipped:
		return fmt.Errorf("skipped is %d, expected less than %d", f.Skipped, mostSkipped)
	case f.RandomAt < 0 || f.RandomAt > mersenne.Words:
		return fmt.Errorf("random_at is %d, expected 0 to %d", f.RandomAt, mersenne.Words)
	case (f.WaitingUnit == 0) != (f.WaitingUnits == 0) || f.WaitingUnit > f.WaitingUnits:
		return fmt.Errorf("waiting_unit is %d of %d waiting_units", f.WaitingUnit, f.WaitingUnits)
	}
	return nil
}

// restore puts a saved state into the trainer's new one, and its weights into the model.
func (tr *Trainer) restore(s *state, from *State) error {
	return from.notOfThisRun(tr.restoreAll(s, from))
}

func (s *State) notOfThisRun(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %w", s.path, ErrState, err)
}

func (tr *Trainer) restoreAll(s *state, from *State) error {
	f := from.figures
	if f.Iterations > tr.Options.Iters {
		return fault.Value("iters", tr.Options.Iters, fmt.Sprintf("more than the %d that are done", f.Iterations))
	}
	if err := s.order.restore(from, f.OrderAt); err != nil {
		return err
	}
	rank, size := tr.rank()
	if n := len(f.DropoutKeys); n != size {
		return fmt.Errorf("it is that of %d workers, and here %d would go on", n, size)
	}
	s.random, s.keys = from.random, f.DropoutKeys[rank]
	s.waiting = accumulation{f.WaitingUnit, f.WaitingUnits}
	s.window = window{spent: f.Window.Spent, loss: float64(f.Window.Loss), tokens: f.Window.Tokens, steps: f.Window.Steps, learnt: f.Window.Learnt, norms: float64(f.Window.Norms), updates: f.Window.Updates}
	for _, x := range f.Window.Sums {
		s.window.figures = append(s.window.figures, run.Figure{Name: x.Name, Value: float64(x.Sum)})
	}
	s.window.goOn()
	s.trend = trend{steps: f.Trend.Steps, sum: float64(f.Trend.Sum), square: float64(f.Trend.Square), told: f.Trend.Told}
	for _, b := range f.Trend.Before {
		s.trend.measured(float64(b.Loss), b.Batches)
	}
	s.skipped, s.worse = f.Skipped, f.Worse
	s.result, s.updates.done = from.Result(), f.Updates
	s.result.random = numpyRandom{}
	if err := from.restoreWeights(tr.Model, tr.params); err != nil {
		return err
	}
	for i, p := range tr.params {
		if err := tr.restoreParam(p, s.updates.state[i], from); err != nil {
			return err
		}
	}
	return nil
}

// restoreParam brings back what a run has for a parameter, beside its value.
func (tr *Trainer) restoreParam(p nn.Param, optimizer []*tensor.Tensor, from *State) error {
	dev := tr.Model.Device()
	for k, x := range optimizer {
		if err := from.read(dev, optimizerArray(k, p.Name), x.Buffer()); err != nil {
			return err
		}
	}
	if name := arrayGradient + p.Name; from.figures.WaitingUnits > 0 && from.has(name) {
		g, err := p.FillGrad(dev)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return from.read(dev, name, g)
	}
	return nil
}

// Restore puts the weights of the state into a model on which the same is trained.
func (s *State) Restore(m *model.Model) error {
	return s.notOfThisRun(s.restoreWeights(m, m.Trainable()))
}

func (s *State) restoreWeights(m *model.Model, params []nn.Param) error {
	for _, p := range params {
		if err := s.read(m.Device(), arrayWeight+p.Name, p.Buffer()); err != nil {
			return err
		}
	}
	return m.RefreshAdapters()
}

func (s *State) has(name string) bool {
	_, ok := s.arrays.Tensor(name)
	return ok
}

// read copies an array into a buffer of its shape.
func (s *State) read(dev compute.Device, name string, b compute.Buffer) error {
	x, ok := s.arrays.Tensor(name)
	if !ok {
		return fmt.Errorf("%s has no %s", stateArrays, name)
	}
	if spec := b.Spec(); x.DType != spec.DType || !spec.Shape.Equal(x.Shape) {
		return fmt.Errorf("%s: %s is %v %v, expected %v", stateArrays, name, x.DType, x.Shape, spec)
	}
	if err := dev.Write(b, x.Data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// words reads an array of n numbers.
func (s *State) words(name string, n int) ([]uint32, error) {
	x, ok := s.arrays.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("%s has no %s", stateArrays, name)
	}
	if x.DType != quant.U32 || len(x.Shape) != 1 || x.Shape[0] != n {
		return nil, fmt.Errorf("%s: %s is %v %v, expected %v [%d]", stateArrays, name, x.DType, x.Shape, quant.U32, n)
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(x.Data[4*i:])
	}
	return out, nil
}

// restore brings back the permutation of a pass and the place in it.
func (o *order) restore(from *State, at int) error {
	n := o.length()
	list, err := from.words(arrayOrder, n)
	if err != nil {
		return err
	}
	seen := make([]bool, n)
	permutation := make([]int, n)
	for i, v := range list {
		if int64(v) >= int64(n) || seen[v] {
			return fmt.Errorf("%s: %s is no permutation of %d numbers", stateArrays, arrayOrder, n)
		}
		seen[v], permutation[i] = true, int(v)
	}
	if at > n {
		return errors.New("the place in the order of the rows is behind its end")
	}
	o.permutation, o.at = permutation, at
	return nil
}
