package cuda

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/quant"
)

// steppingDevice is a card that goes through steps: that of the machine, or an emulated one of few multiprocessors.
func steppingDevice(t *testing.T, env string) *Device {
	t.Helper()
	if os.Getenv("LENTIL_TEST_CUDA") == "" {
		return emulated(t, "capability=90,"+env)
	}
	d := card(t, "")
	if !d.stepping() {
		t.Skip("a Hopper card with cooperative launches is missing: the emulated one is, without LENTIL_TEST_CUDA")
	}
	return d
}

// collected are the launches of passes that are not run, with results and work memory of their own.
func (l *layer) collected(hidden, between, passes int) (all []compute.Buffer, list []record) {
	all, list = l.d.collect(func() (all []compute.Buffer) {
		for range passes {
			all = append(all, l.pass(hidden, between)...)
			l.d.emit()
		}
		return all
	})
	last := func(r record) int { // what is no step, and nothing else needs, comes behind all passes
		switch name := l.d.kernelName(r.f); {
		case passes == 1, strings.HasPrefix(name, "one_"), strings.HasPrefix(name, "turn_store_"), strings.HasPrefix(name, "single_"):
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b record) int { return last(a) - last(b) })
	return all, list
}

// collect notes the launches of ops that are not run.
func (d *Device) collect(ops func() []compute.Buffer) ([]compute.Buffer, []record) {
	c := &collector{}
	d.flush()
	d.collecting = c
	results := ops()
	d.emit()
	d.freeAreas()
	d.collecting, d.waited = nil, false
	return results, c.records
}

// TestSteps: launches that become the steps of one give, to the bit, what they give alone, again and again.
func TestSteps(t *testing.T) {
	for _, c := range []struct {
		hidden, between int
		passes          int
		env             string
		attended
	}{
		{64, 4672, 1, "cores=6", attended{}},
		{320, 640, 2, "cores=4", attended{heads: 8, kv: 1, head: 128, room: 300, row: 271, keys: 272}}, // two parts of some tiles of keys
		{64, 320, 8, "cores=8", attended{heads: 20, kv: 2, head: 64, room: 40, row: 3, keys: 40}},      // pieces that share keys, a ring
		{64, 320, 1, "cores=8", attended{heads: 8, kv: 4, head: 72, room: 80, row: 0, keys: 1}},        // parts without keys
		{64, 320, 1, "cores=8", attended{heads: 8, kv: 4, head: 64, room: 80, row: 9, keys: 9}},        // a key that nobody sees
		{64, 320, 1, "cores=5", attended{heads: 3, kv: 1, head: 128, window: 100, room: 640, row: 600, keys: 601}},
		{1088, 4096, 1, "cores=3", attended{}}, // attention that has one part is a launch
	} {
		if testing.Short() {
			c.passes = 1
		}
		d := steppingDevice(t, c.env)
		l := &layer{t: t, d: d, cache: compute.BF16, attended: c.attended}
		var want [][]float32
		for _, b := range l.pass(c.hidden, c.between) {
			want = append(want, floats(t, d, b))
		}
		all, records := l.collected(c.hidden, c.between, c.passes)
		d.enter()
		list, held := d.inSteps(records)
		d.freeSteps(held)
		graph, err := d.capture(records)
		d.leave()
		if err != nil {
			t.Fatal(err)
		}
		alone := slices.ContainsFunc(list, func(r record) bool { return strings.HasPrefix(d.kernelName(r.f), "turn_store") })
		if one := d.card.Multiprocessors == 3; len(held) != 1 || len(records)-len(list) < 3 || alone != one {
			t.Errorf("hidden size %d: %d launches become %d, with %d of steps; rotation alone: %v", c.hidden, len(records), len(list), len(held), alone)
		}
		for range 3 {
			for _, b := range all {
				data := bytes.Repeat([]byte{0xFF}, int(b.Spec().Bytes()))
				if slices.Contains(l.inputs, b) { // a cache: only the row of the token
					if err := d.Read(b, data); err != nil {
						t.Fatal(err)
					}
					row := 2 * l.kv * l.head
					copy(data[l.row*row:], bytes.Repeat([]byte{0xFF}, row))
				}
				if err := d.Write(b, data); err != nil {
					t.Fatal(err)
				}
			}
			d.enter()
			d.flush()
			d.replay(graph)
			d.leave()
			for i, b := range all {
				got, wrong := floats(t, d, b), []string{}
				for j := range got {
					if got[j] != want[i%len(want)][j] && len(wrong) < 4 {
						wrong = append(wrong, fmt.Sprintf("%d: %v, alone %v", j, got[j], want[i%len(want)][j]))
					}
				}
				if len(wrong) > 0 {
					t.Errorf("%+v: result %d of %d: %v", c, i, len(all), wrong)
				}
			}
		}
		d.enter()
		d.discard(graph)
		d.leave()
	}
}

// TestStepsRefused: where the driver takes no launch of steps, graphs are of the launches themselves.
func TestStepsRefused(t *testing.T) {
	d := emulated(t, "capability=90,cores=2")
	l := &layer{t: t, d: d, cache: compute.BF16}
	l.pass(64, 640) // makes the inputs
	_, records := l.collected(64, 640, 1)
	d.enter()
	defer d.leave()
	d.card.Multiprocessors = 1000 // more blocks than the card holds
	graph, err := d.capture(records)
	if err != nil || d.err != nil || !d.noSteps || len(d.steps) != 0 {
		t.Fatalf("%v, %v, steps refused: %v, %d held", err, d.err, d.noSteps, len(d.steps))
	}
	d.discard(graph)
}

// TestStepsLimits: launches have as many steps, and rounds of a unit, as there is room for, and what has more rounds is no step.
func TestStepsLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: hundreds of steps are long on the emulated card")
	}
	d := steppingDevice(t, "cores=1")
	if d.card.Multiprocessors != 1 {
		t.Skip("a card of one multiprocessor is missing, whose limits are those of one block: the emulated one is that, without LENTIL_TEST_CUDA")
	}
	short := slices.Repeat([]int{64}, 200)
	for _, c := range []struct {
		name string
		rows []int
		want []int // steps of a launch, or 0 where it is a product
	}{
		{"many steps", short, []int{192, 8}},
		{"many rounds", slices.Repeat([]int{2752, 64}, 8), []int{10, 6}}, // 86 and 2
		{"a long product", append(append(short[:3:3], 16*2*mostEntries+64), short[:3]...), []int{3, 0, 3}},
		{"as many rounds as there may be", []int{64, 64, 16000, 64}, []int{4}}, // 2, 2, 500 and 8
	} {
		l := &layer{t: t, d: d}
		pass := func() (all []compute.Buffer) {
			l.at = 0
			x := l.filled(compute.BF16, 1, 64)
			for _, n := range c.rows {
				x = l.linear(x, n)
				all = append(all, x)
			}
			return all
		}
		want := bits(t, d, pass())
		results, records := d.collect(pass)
		d.enter()
		list, held := d.inSteps(records)
		var steps []int
		for _, r := range list {
			n := 0
			if d.kernelName(r.f) == "token_steps" {
				n = int(r.words[2])
			}
			steps = append(steps, n)
			d.queue(r)
		}
		d.freeSteps(held)
		d.leave()
		if !slices.Equal(steps, c.want) {
			t.Errorf("%s: steps %v, want %v", c.name, steps, c.want)
		}
		if got := bits(t, d, results); !slices.Equal(got, want) {
			t.Errorf("%s: other results than alone", c.name)
		}
	}
}

// TestMail: what is added to a product comes by mail only as long as it is what was mailed, and blocks wait before they read
// what others write otherwise.
func TestMail(t *testing.T) {
	const (
		wide   = 64 // of all tokens and results
		nobody = -1
	)
	product := func(kind int, token uint64, results ...uint64) (s step) {
		s[0], s[stepToken], s[stepCols] = uint64(kind), token, halves(wide, 1)
		for i, p := range results {
			s[stepResults+i] = p
			s[stepRows+i/2] |= wide << (32 * (i % 2))
		}
		return s
	}
	normed := func(s step, y uint64) step {
		s[0] |= stepNormed
		s[stepNorm] = y
		return s
	}
	behind := func(s step, kind int, sum, addend uint64) step {
		s[0] |= uint64(kind)
		s[stepSum], s[stepAddend] = sum, addend
		return s
	}
	attends := func(y, q, k uint64) (s step) {
		s[0], s[attendResult], s[attendQuery], s[attendKey] = stepAttend, y, q, k
		s[attendHeads], s[attendHeads+1] = halves(0, 2), halves(1, 32) // two heads of 32
		return s
	}
	// memory, 128 bytes apart
	const x, h, h2, y, n, q, k, v, g, a = 0x1000, 0x1080, 0x1100, 0x1180, 0x1200, 0x1280, 0x1300, 0x1380, 0x1400, 0x1480
	first := behind(product(0, a, y), stepAdded, h, x) // gives h
	for _, c := range []struct {
		name         string
		steps        []step
		waits, mails string // by step
		addend       int    // of the last one
	}{
		{"layer", []step{first, normed(behind(product(0, h, y, g), stepGated, q, 0), n), behind(product(0, q, y), stepAdded, h2, h)}, "...", "mm.", 0},
		{"sum of the step before", []step{first, behind(product(0, h, y), stepAdded, h2, h)}, "..", "m.", 0},
		{"result among several", []step{first, normed(product(0, h, h, k, v), n), behind(product(0, a, y), stepAdded, h2, h)}, "..w", "m..", nobody},
		{"result before a gate", []step{first, normed(behind(product(0, h, y, h), stepGated, q, 0), n), behind(product(0, q, y), stepAdded, h2, h)}, "..w", "mm.", nobody},
		{"overlapping", []step{first, product(0, h, h+64), behind(product(0, h+64, y), stepAdded, h2, h)}, "..w", "mm.", nobody},
		{"norm", []step{first, normed(behind(product(0, h, y, g), stepGated, q, 0), n), behind(product(0, q, y), stepAdded, h2, n)}, "..w", "mm.", nobody},
		{"attention", []step{first, normed(product(0, h, q, k, v), n), attends(h, q, k), behind(product(0, h, y), stepAdded, h2, h)}, "..ww", "m...", nobody},
		{"query", []step{first, normed(product(0, h, q, k, v), n), attends(a, h, k), behind(product(0, a, y), stepAdded, h2, h)}, "..ww", "m...", nobody},
		{"from before", []step{first, normed(behind(product(0, h, y, g), stepGated, q, 0), n), behind(product(0, q, y), stepAdded, h2, x)}, "...", "mm.", nobody},
		{"of two steps before, and waited for", []step{first, product(0, x, k), behind(product(0, k, y), stepAdded, h2, h)}, ".w.", ".m.", nobody},
		{"of two steps before", []step{product(0, a, h, v), product(0, h, k), product(0, k, q), behind(product(0, q, y), stepAdded, h2, v)}, ".w..", ".mm.", nobody},
		{"of the step before, beside others", []step{first, product(0, h, k), behind(product(0, k, y), stepAdded, h2, k)}, "...", "mm.", 64},
	} {
		size := mail(c.steps)
		var waits, mails strings.Builder
		for i, s := range c.steps {
			fmt.Fprint(&waits, map[bool]string{false: ".", true: "w"}[s.kind()&stepWaits != 0])
			mailed := s.product() && i+1 < len(c.steps) && c.steps[i+1].product() && int32(uint32(c.steps[i+1][stepMailed])) >= 0
			fmt.Fprint(&mails, map[bool]string{false: ".", true: "m"}[mailed])
		}
		last := c.steps[len(c.steps)-1]
		if addend := int(int32(last[stepMailed] >> 32)); waits.String() != c.waits || mails.String() != c.mails || addend != c.addend || size != wide*strings.Count(c.mails, "m") {
			t.Errorf("%s: waits %s, mails %s, addend %d, want %s, %s, %d; %d numbers", c.name, &waits, &mails, addend, c.waits, c.mails, c.addend, size)
		}
	}
}

// tokenOf is a token of numbers that at gives.
func tokenOf(t *testing.T, d *Device, n int, at func(i int) float32) compute.Buffer {
	t.Helper()
	b, err := d.Alloc(compute.Shape{1, n}, compute.BF16)
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = at(i)
	}
	data := make([]byte, 2*n)
	quant.PutFloats(data, v, quant.BF16)
	if err := d.Write(b, data); err != nil {
		t.Fatal(err)
	}
	return b
}

// oddTokens are numbers of a token that are unlike one another.
var oddTokens = map[string]func(i int) float32{
	"numbers": func(i int) float32 { return float32(i%13-6) * 0.3 },
	"zeros":   func(int) float32 { return 0 },
	"tiny":    func(i int) float32 { return float32(i%7-3) * 1e-39 },
	"large":   func(i int) float32 { return float32(i%5-2) * 1e33 },
	"peaks": func(i int) float32 {
		if i%64 == 5 {
			return 3000
		}
		return float32(i%9-4) * 0.01
	},
	"NaN": func(i int) float32 {
		if i == 70 {
			return float32(math.NaN())
		}
		return float32(i % 3)
	},
	"infinite": func(i int) float32 {
		if i == 3 {
			return float32(math.Inf(-1))
		}
		return float32(i % 3)
	},
}

// TestOneNumbers compares products of one token with sums in float64: they are within a part in 2^20 of what is added up, but that
// numbers of the token are held in units of the largest of their 64.
func TestOneNumbers(t *testing.T) {
	l := &layer{t: t, d: emulated(t, "capability=90")}
	for _, cols := range []int{64, 576, 4160, 19456} { // the last is the most
		if room := oneShared(cols); room > l.d.oneRoom() || oneShared(19457) <= l.d.oneRoom() {
			t.Fatalf("%d columns take %d bytes, there are %d", cols, room, l.d.oneRoom())
		}
		m := weight4(17, cols)
		w, err := l.d.ImportWeight(m)
		if err != nil {
			t.Fatal(err)
		}
		weights := m.Floats()
		for name, at := range oddTokens {
			x := tokenOf(t, l.d, cols, at)
			numbers := floats(t, l.d, x)
			got := floats(t, l.d, l.run(compute.Linear{Weight: compute.WeightOf(w.(*buffer).weight), Exact: true, To: compute.F32}, x, w))
			for row, y := range got {
				sum, off := 0.0, 1e-36
				for i := 0; i < cols; i += 64 {
					var largest, factors float64
					for j := i; j < i+64; j++ {
						x, w := float64(numbers[j]), float64(weights[row*cols+j])
						sum, off = sum+x*w, off+math.Abs(x*w)/(1<<20)
						largest, factors = max(largest, math.Abs(x)), factors+math.Abs(w)
					}
					off += largest * factors / (1 << 22)
				}
				if finite := sum-sum == 0; finite != (y-y == 0) || finite && !(math.Abs(float64(y)-sum) <= off) {
					t.Errorf("%d columns, %s: %v, want %v, give or take %.3g", cols, name, y, sum, off)
				}
			}
		}
	}
}

// TestStepsNumbers: so do steps with fewer items than blocks, results that come by mail whatever they are, and sums of what was mailed
// steps ago. Two graphs take turns, and each launch is of another token, so that nothing is left of the one before.
func TestStepsNumbers(t *testing.T) {
	for _, c := range []struct {
		env         string
		wide, first int
		tokens      []string
	}{
		{"cores=8", 64, 576, slices.Sorted(maps.Keys(oddTokens))},
		{"cores=3", 128, 16448, []string{"numbers"}},
		{"cores=8", 4160, 64, []string{"NaN", "numbers"}},
	} {
		if testing.Short() {
			c.tokens = c.tokens[:1]
		}
		d := steppingDevice(t, c.env)
		l := &layer{t: t, d: d}
		tokens, want := map[string][]byte{}, map[string][]string{}
		for _, name := range c.tokens {
			token := tokenOf(t, d, c.first, oddTokens[name])
			tokens[name], want[name] = read(t, d, token), bits(t, d, l.chain(token, c.wide))
		}
		token := tokenOf(t, d, c.first, oddTokens["zeros"])
		results, records := d.collect(func() []compute.Buffer { return l.chain(token, c.wide) })
		var graphs [2]driver.GraphExec
		d.enter()
		for i := range graphs {
			var err error
			if graphs[i], err = d.capture(records); err != nil || len(d.steps[graphs[i]]) != 1 {
				t.Fatalf("%v: %d launches of steps", err, len(d.steps[graphs[i]]))
			}
		}
		d.leave()
		for n := range 4 {
			for _, name := range c.tokens {
				if err := d.Write(token, tokens[name]); err != nil {
					t.Fatal(err)
				}
				d.enter()
				d.flush()
				d.replay(graphs[n/2])
				d.leave()
				for i, got := range bits(t, d, results) {
					if got != want[name][i] {
						t.Errorf("%s, %+v: result %d: %.64s, alone %.64s", name, c, i, got, want[name][i])
					}
				}
			}
		}
		d.enter()
		for _, g := range graphs {
			d.discard(g)
		}
		d.leave()
	}
}

// chain runs products one after another, each of what the one before gives, and returns what they give.
func (l *layer) chain(token compute.Buffer, wide int) (all []compute.Buffer) {
	keep := func(b compute.Buffer) compute.Buffer {
		all = append(all, b)
		return b
	}
	l.at = 0
	plus := compute.Add{Alpha: 1}
	a := keep(l.linear(token, wide))
	b := keep(l.linear(a, 128, l.filled(compute.F32, 128)))
	h := keep(l.run(plus, keep(l.linear(b, wide)), a))
	n := keep(l.run(compute.RMSNorm{Eps: 1e-5}, h, l.filled(compute.F32, wide)))
	u, v := l.filled(compute.F32, 1, 3), l.filled(compute.F32, 3, 64)
	g := keep(l.linear(n, 64, u, v))
	g = keep(l.run(compute.SwiGLU{}, g, keep(l.linear(n, 64))))
	h2 := keep(l.run(plus, keep(l.linear(g, wide)), h))
	keep(l.run(plus, keep(l.linear(h2, wide)), a))
	keep(l.linear(h2, 24))
	return all
}

func read(t *testing.T, d *Device, b compute.Buffer) []byte {
	t.Helper()
	data := make([]byte, b.Spec().Bytes())
	if err := d.Read(b, data); err != nil {
		t.Fatal(err)
	}
	return data
}

// bits are buffers in hexadecimal: NaN is like itself.
func bits(t *testing.T, d *Device, list []compute.Buffer) (all []string) {
	t.Helper()
	for _, b := range list {
		all = append(all, fmt.Sprintf("%x", read(t, d, b)))
	}
	return all
}
