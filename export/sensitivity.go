package export

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// Sensitivity tells what rounding the weights of each module costs, in nats for
// each token of a calibration text.
//
// To second order, a change Δ of a matrix moves the model's predictions by a
// Kullback-Leibler divergence of half of Σ F_ij·Δ_ij², where F is the diagonal of
// the Fisher information: the mean square of the gradient of the loss when the next
// token is drawn from the model's own prediction. (With the text's tokens instead it
// would measure how the model takes to the text.) A token with input x and
// gradient g of the output contributes g_i²·x_j² to F_ij. What is kept are the sums
// of these over each row and over each column's input: F_ij ≈ rows_i·cols_j with
// Σ cols = 1, so two vectors for a matrix.
type Sensitivity struct {
	Tokens  int // of the text
	modules map[string][]profile
}

// profile is one use that a model makes of a matrix.
type profile struct {
	rows, cols []float64 // [out], [in]
}

// probes is how many random sums estimate the squares of a window's gradients:
// with several windows their errors fall below a tenth.
const probes = 16

// MeasureSensitivity runs windows of tokens through a model without adapters,
// forwards and backwards. progress may be nil.
func MeasureSensitivity(ctx context.Context, m *model.Model, windows [][]int32, progress func(done, total int)) (*Sensitivity, error) {
	if len(m.Adapted()) > 0 {
		return nil, errors.New("calibrating a model with an adapter: fuse it first")
	}
	c, err := newCalibration(m)
	if err != nil {
		return nil, err
	}
	defer c.free()
	for i, window := range windows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.window(window); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(i+1, len(windows))
		}
	}
	if c.tokens == 0 {
		return nil, errors.New("the calibration text is too short: it has no tokens")
	}
	return c.result(), nil
}

// calibration is the state of one MeasureSensitivity.
type calibration struct {
	model   *model.Model
	tape    *tensor.Tape
	random  *rand.Rand
	sensors []*sensor
	embed   *sensor // of the embedding's output
	eye     *tensor.Tensor
	head    profile
	tokens  int
}

func newCalibration(m *model.Model) (*calibration, error) {
	c := &calibration{model: m, tape: tensor.NewTape(m.Device()), random: rand.New(rand.NewPCG(1, 2))}
	c.tape.Exact = true
	c.head = profile{make([]float64, m.Config.VocabSize), make([]float64, m.Config.HiddenSize)}
	eye := make([]float32, probes*probes)
	for i := range probes {
		eye[i*probes+i] = 1
	}
	var err error
	if c.eye, err = tensor.NewFloats(m.Device(), compute.Shape{probes, probes}, eye); err != nil {
		return nil, err
	}
	if c.embed, err = c.sensor(embedding, 0, m.Config.HiddenSize); err != nil {
		c.free()
		return nil, err
	}
	for _, l := range m.Linears() {
		if l == m.Head { // its gradient never exists as a whole
			continue
		}
		s, err := c.sensor(l.Name, l.In(), l.Out())
		if err != nil {
			c.free()
			return nil, err
		}
		s.experts = l.Experts
		l.Adapter = s
	}
	return c, nil
}

const embedding = "model.embed_tokens"

func (c *calibration) sensor(name string, in, out int) (*sensor, error) {
	sums, err := tensor.NewFloats(c.model.Device(), compute.Shape{probes, out}, make([]float32, probes*out))
	if err != nil {
		return nil, err
	}
	sums.SetTrainable(true)
	s := &sensor{c: c, name: name, profile: profile{make([]float64, out), make([]float64, in)}, sums: sums}
	c.sensors = append(c.sensors, s)
	return s, nil
}

func (c *calibration) free() {
	c.model.Detach()
	if c.embed != nil {
		c.embed.Free()
	}
	c.eye.Free()
}

// sensor is an adapter that adds nothing and measures the input and the gradient
// of a projection.
//
// The gradient of a tensor that is added to the output [T, out] times signs
// [T, probes] is the sum of the tokens' gradients with these signs; its square is
// on average the sum of their squares (Hutchinson's estimator).
type sensor struct {
	c       *calibration
	name    string
	experts int // 0: an ordinary projection
	profile
	sums *tensor.Tensor // [probes, out], zero
}

// Forward takes the input's squares in. It runs twice where blocks are computed
// again for the backward pass, which doubles all columns alike.
func (s *sensor) Forward(t *tensor.Tape, l *nn.Linear, x, ids *tensor.Tensor) *tensor.Tensor {
	var y *tensor.Tensor
	if ids != nil {
		y = t.ExpertLinear(x, l.Weight, ids, l.Experts) // [T·K, out]
	} else {
		y = t.Linear(x, l.Weight, l.Bias)
	}
	values := t.Read(x) // [T, in], or [T·K, in]
	if t.Err() != nil {
		return y
	}
	norms := make([]float32, y.Rows())
	each := y.Rows() / x.Rows() // rows of y from one of x
	for i := range x.Rows() {
		var sum float64
		for j, v := range values[i*len(s.cols) : (i+1)*len(s.cols)] {
			square := float64(v) * float64(v)
			s.cols[j] += square
			sum += square
		}
		for k := range each {
			norms[i*each+k] = float32(math.Sqrt(sum))
		}
	}
	s.probe(t, y, norms)
	return y
}

// probe puts the zero tensor behind signs times size, which is by token.
func (s *sensor) probe(t *tensor.Tape, y *tensor.Tensor, size []float32) {
	signs := make([]float32, len(size)*probes)
	for i := range signs {
		signs[i] = size[i/probes]
		if s.c.random.IntN(2) == 0 {
			signs[i] = -signs[i]
		}
	}
	t.LowRank(y, t.Floats(signs, len(size), probes), s.c.eye, s.sums, 1, 0)
}

func (s *sensor) Params() []nn.Param { return []nn.Param{{Name: s.name, Tensor: s.sums}} }
func (s *sensor) Free()              { s.sums.Free() }

// collect adds the gradient's squares after a backward pass.
func (s *sensor) collect(dev compute.Device) error {
	if s.sums.Grad() == nil {
		return fmt.Errorf("%s: no gradient came back", s.name)
	}
	sums := make([]float32, probes*len(s.rows))
	if err := dev.Read(s.sums.Grad(), compute.FloatBytes(sums)); err != nil {
		return err
	}
	s.sums.ZeroGrad()
	for i, v := range sums {
		s.rows[i%len(s.rows)] += float64(v) * float64(v) / probes
	}
	return nil
}

// window runs one piece of text.
func (c *calibration) window(tokens []int32) error {
	t, m := c.tape, c.model
	n := len(tokens)
	at, ones := make([]int32, n), make([]float32, n)
	for i := range at {
		at[i], ones[i] = int32(i), 1
	}
	t.Reset(true)
	t.Scope(func() *tensor.Tensor {
		x, pass := m.Begin(t, model.Sequence(tokens, 0), nil)
		c.embed.probe(t, x, ones)
		x = m.Layers(t, x, pass, 0, len(m.Blocks), true)
		m.Loss(t, x, at, c.draw(t.Read(x)), ones)
		return nil
	})
	if err := t.Backward(); err != nil {
		return err
	}
	for _, s := range c.sensors {
		if err := s.collect(m.Device()); err != nil {
			return err
		}
	}
	c.tokens += n
	return nil
}

// draw takes the head in, for hidden [T, width] of the last block, and draws the
// next token of each from what the model expects.
func (c *calibration) draw(hidden []float32) (next []int32) {
	t, m, width := c.tape, c.model, c.model.Config.HiddenSize
	const rows = 32 // at a time: logits are wide
	for part := range slices.Chunk(hidden, rows*width) {
		t.Scope(func() *tensor.Tensor {
			h := m.Final(t, t.Activations(part, len(part)/width, width))
			next = append(next, c.headRows(t.Read(h), t.Read(m.Logits(t, h)))...)
			return nil
		})
	}
	return next
}

// headRows takes inputs h [R, width] and outputs [R, vocab] of the head in, and
// draws a token for each. The gradient of a logit is p, less 1 for the token drawn;
// its square is p(1-p) on average.
func (c *calibration) headRows(h, logits []float32) (drawn []int32) {
	width, vocab := len(c.head.cols), len(c.head.rows)
	for ; len(h) >= width && len(logits) >= vocab; h, logits = h[width:], logits[vocab:] {
		var norm, sum float64
		for j, v := range h[:width] {
			square := float64(v) * float64(v)
			c.head.cols[j] += square
			norm += square
		}
		top := slices.Max(logits[:vocab])
		for i, v := range logits[:vocab] {
			e := math.Exp(float64(v - top))
			logits[i] = float32(e)
			sum += e
		}
		left, token := c.random.Float64()*sum, 0
		for i, e := range logits[:vocab] {
			p := float64(e) / sum
			c.head.rows[i] += p * (1 - p) * norm
			if left -= float64(e); left >= 0 {
				token = min(i+1, vocab-1)
			}
		}
		drawn = append(drawn, int32(token))
	}
	return drawn
}

// result brings all profiles to nats per token.
func (c *calibration) result() *Sensitivity {
	out := &Sensitivity{Tokens: c.tokens, modules: map[string][]profile{}}
	add := func(module string, p profile) {
		for i := range p.rows {
			p.rows[i] *= 0.5 / float64(c.tokens)
		}
		var sum float64
		for _, v := range p.cols {
			sum += v
		}
		for j := range p.cols {
			p.cols[j] /= max(sum, math.SmallestNonzeroFloat64)
		}
		out.modules[module] = append(out.modules[module], p)
	}
	for _, s := range c.sensors {
		if s != c.embed {
			add(s.name, s.whole())
			continue
		}
		// A token picks one row: the gradient belongs to its columns, and any
		// row is as likely to be asked for.
		var all float64
		for _, v := range s.rows {
			all += v
		}
		rows := make([]float64, c.model.Config.VocabSize)
		for i := range rows {
			rows[i] = all / float64(len(rows))
		}
		add(embedding, profile{rows, s.rows})
	}
	add(c.model.Head.Name, c.head) // the embedding again where the head is tied to it
	return out
}

// whole is the profile of all rows of the matrix. Experts share one: each gets its
// part of what the tokens of all were worth.
func (s *sensor) whole() profile {
	p := profile{cols: s.cols}
	for range max(s.experts, 1) {
		for _, v := range s.rows {
			p.rows = append(p.rows, v/float64(max(s.experts, 1)))
		}
	}
	return p
}

// Has reports whether a module was measured.
func (s *Sensitivity) Has(module string) bool { return len(s.modules[module]) > 0 }

// cost is the expected divergence, in nats per token, when rows [first,
// first+n) of a module change by delta [n, in].
func (s *Sensitivity) cost(module string, first int, delta []float32) (sum float64) {
	for _, p := range s.modules[module] {
		for i := range len(delta) / len(p.cols) {
			var row float64
			for j, d := range delta[i*len(p.cols) : (i+1)*len(p.cols)] {
				row += p.cols[j] * float64(d) * float64(d)
			}
			sum += p.rows[first+i] * row
		}
	}
	return sum
}
