package cuda

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// script writes down what a trace does: launches by their argument and where the next one lies, [graphs] in brackets.
type script struct {
	text   strings.Builder
	graphs [][]record
	late   bool
}

func (s *script) issue(r record) { fmt.Fprintf(&s.text, "%d:%d ", r.words[0], r.at[1]) }
func (s *script) behind() bool   { return s.late }
func (s *script) capture(r []record) (driver.GraphExec, error) {
	s.graphs = append(s.graphs, r)
	return driver.GraphExec(len(s.graphs)), nil
}
func (s *script) replay(g driver.GraphExec) {
	s.text.WriteString("[ ")
	for _, r := range s.graphs[g-1] {
		s.issue(r)
	}
	s.text.WriteString("] ")
}
func (s *script) discard(driver.GraphExec) {}

// TestTrace: in whatever way launches come, they are run in their order, and as a graph from the third time on.
func TestTrace(t *testing.T) {
	s := &script{}
	tr := trace{to: s}
	var want strings.Builder
	pass := func(graph bool, first, n, change int) {
		if graph {
			want.WriteString("[ ")
		}
		words := []uint64{0}
		for i := range n {
			words[0] = uint64(first + i)
			if i == change {
				words[0] = 999
			}
			fmt.Fprintf(&want, "%d:%d ", words[0], i%5)
			tr.add(1, driver.Grid{X: 1}, words, []uint8{0, uint8(i % 5)})
		}
		tr.end()
		if graph {
			want.WriteString("] ")
		}
	}
	pass(false, 0, 20, -1)
	pass(false, 0, 20, -1) // the second time makes the graph
	pass(true, 0, 20, -1)
	pass(false, 100, 20, -1) // another one
	pass(true, 0, 20, -1)
	pass(false, 0, 20, 10) // differs in the middle
	pass(false, 0, 19, -1) // ends early
	pass(false, 0, 21, -1) // goes on
	pass(true, 0, 20, -1)
	pass(false, 100, 20, -1)
	pass(true, 100, 20, -1) // two graphs take turns
	pass(true, 0, 20, -1)
	s.late = true
	pass(false, 200, 20, -1)
	pass(false, 200, 20, -1) // no graph while the card is behind
	s.late = false
	pass(false, 200, 20, -1)
	pass(true, 200, 20, -1)
	for range 3 { // too short for a graph
		pass(false, 0, fewestLaunches-1, -1)
	}
	for i := range 3 { // a long one is cut, and its rest too short
		for n := range 2*mostLaunches + 5 {
			if i == 2 && n%mostLaunches == 0 && n < 2*mostLaunches {
				want.WriteString("[ ")
			}
			fmt.Fprintf(&want, "%d:%d ", 1000+n, n%5)
			ends := tr.add(1, driver.Grid{X: 1}, []uint64{uint64(1000 + n)}, []uint8{0, uint8(n % 5)})
			if ends != (n%mostLaunches == mostLaunches-1) {
				t.Errorf("launch %d ends a sequence: %v", n, ends)
			}
			if i == 2 && ends {
				want.WriteString("] ")
			}
		}
		tr.end()
	}
	for i := range 2 * mostGraphs { // no more are kept
		pass(false, 10000+100*i, 20, -1)
		pass(false, 10000+100*i, 20, -1)
		pass(true, 10000+100*i, 20, -1)
	}
	if len(tr.graphs) > mostGraphs || len(tr.recent) > mostGraphs {
		t.Errorf("%d graphs, %d sequences are kept", len(tr.graphs), len(tr.recent))
	}
	if got := s.text.String(); got != want.String() {
		t.Errorf("ran  %.2000s\nwant %.2000s", got, want.String())
	}
}
