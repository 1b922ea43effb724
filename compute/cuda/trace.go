package cuda

import (
	"slices"

	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// A record is one launch: the kernel, its grid, and its arguments in words of 8 bytes.
type record struct {
	f     driver.Func
	grid  driver.Grid
	words []uint64
	at    []uint8 // word at which each argument begins
}

func (r record) equal(o record) bool {
	return r.f == o.f && r.grid == o.grid && slices.Equal(r.words, o.words)
}

// key is a hash.
func (r record) key() uint64 {
	h := uint64(r.f)
	for _, w := range r.words {
		h = (h ^ w) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	return h
}

// An issuer is what a trace drives: the device's stream, or a test.
type issuer interface {
	issue(record)
	behind() bool                               // whether the card is still at what was queued before the host's last bytes
	capture([]record) (driver.GraphExec, error) // makes one graph of launches, without running them
	replay(driver.GraphExec)
	discard(driver.GraphExec)
}

// A graph is a sequence of launches that was seen twice.
type graph struct {
	records []record
	exec    driver.GraphExec
}

// A start is the key of a graph's first launch, beside the graph: most graphs are ruled out without a look at them.
type start struct {
	key uint64
	*graph
}

// A trace finds sequences of launches that come again and again, as those of one token after another do, and replays them as
// graphs: a fifth of the time of launches for small kernels. Sequences lie between the moments at which the host waits or
// copies, and long ones are cut, so that the card is at work on the first part while the host makes the next. While launches
// are those of a known graph they are held back; as soon as one is not, all are issued.
type trace struct {
	to     issuer
	graphs []start
	recent [][]record // of sequences that have no graph
	words  []uint64   // of the records of now
	starts []uint8    // of their arguments

	now      []record
	issued   int      // launches of now that are no longer held back
	possible []*graph // that begin as now does
}

const (
	// mostLaunches is how long a sequence may be: with longer ones the card would wait for the host to make them.
	mostLaunches   = 24
	fewestLaunches = 16 // sequences of fewer gain nothing
	// mostGraphs is how many are kept, and how many sequences are remembered: those of a step of some thousand launches.
	mostGraphs = 192
)

// add takes on a launch, and tells whether it ends a sequence. Its words may be changed afterwards.
func (t *trace) add(f driver.Func, g driver.Grid, words []uint64, at []uint8) bool {
	n, m := len(t.words), len(t.starts)
	t.words, t.starts = append(t.words, words...), append(t.starts, at...)
	r := record{f, g, t.words[n:len(t.words):len(t.words)], t.starts[m:len(t.starts):len(t.starts)]}
	i := len(t.now)
	t.now = append(t.now, r)
	if i == 0 {
		t.begin(r)
	} else {
		t.possible = slices.DeleteFunc(t.possible, func(g *graph) bool { return i >= len(g.records) || !g.records[i].equal(r) })
	}
	if len(t.possible) == 0 {
		t.release()
	}
	if len(t.now) < mostLaunches {
		return false
	}
	t.end()
	return true
}

// begin finds the graphs that begin with a launch.
func (t *trace) begin(r record) {
	t.possible = t.possible[:0]
	key := r.key()
	for _, s := range t.graphs {
		if s.key == key && s.records[0].equal(r) {
			t.possible = append(t.possible, s.graph)
		}
	}
}

// holds reports whether launches are held back.
func (t *trace) holds() bool { return t.issued < len(t.now) }

// release issues what is held back.
func (t *trace) release() {
	for ; t.issued < len(t.now); t.issued++ {
		t.to.issue(t.now[t.issued])
	}
}

// end closes the sequence: it is long, or the host is about to wait or to copy.
func (t *trace) end() {
	if len(t.now) == 0 {
		return
	}
	if i := slices.IndexFunc(t.possible, func(g *graph) bool { return len(g.records) == len(t.now) }); t.issued == 0 && i >= 0 {
		g := t.possible[i]
		t.to.replay(g.exec)
		j := slices.IndexFunc(t.graphs, func(s start) bool { return s.graph == g })
		s := t.graphs[j]
		t.graphs = append(slices.Delete(t.graphs, j, j+1), s) // the one used last comes last
	} else {
		t.release()
		t.learn()
	}
	t.now, t.words, t.starts, t.issued = t.now[:0], t.words[:0], t.starts[:0], 0
}

// learn makes a graph of a sequence that was seen before, and remembers it otherwise. While the card is behind the host, launches
// take no time of its, and making a graph may: the driver waits for all that is queued, now and then.
func (t *trace) learn() {
	if len(t.now) < fewestLaunches {
		return
	}
	i := slices.IndexFunc(t.recent, func(s []record) bool { return slices.EqualFunc(s, t.now, record.equal) })
	if i < 0 {
		if len(t.recent) == mostGraphs {
			t.recent = slices.Delete(t.recent, 0, 1)
		}
		kept := slices.Clone(t.now)
		words, starts := slices.Clone(t.words), slices.Clone(t.starts)
		for j := range kept {
			r := &kept[j]
			n, m := len(r.words), len(r.at)
			r.words, words = words[:n:n], words[n:]
			r.at, starts = starts[:m:m], starts[m:]
		}
		t.recent = append(t.recent, kept)
		return
	}
	if t.to.behind() {
		return
	}
	records := t.recent[i]
	t.recent = slices.Delete(t.recent, i, i+1)
	exec, err := t.to.capture(records)
	if err != nil {
		return // launches do as well
	}
	if len(t.graphs) == mostGraphs {
		t.to.discard(t.graphs[0].exec)
		t.graphs = slices.Delete(t.graphs, 0, 1)
	}
	t.graphs = append(t.graphs, start{records[0].key(), &graph{records, exec}})
}

// close gives the graphs back.
func (t *trace) close() {
	for _, g := range t.graphs {
		t.to.discard(g.exec)
	}
	t.graphs, t.possible, t.recent = nil, nil, nil
}
