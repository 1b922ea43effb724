package spoil

import (
	"bytes"
	"testing"
)

// TestEach: each spoiled file differs from the valid one, cuts reach from nothing
// to nearly all, and the valid data stay as they are.
func TestEach(t *testing.T) {
	data := bytes.Repeat([]byte("lentils "), 40)
	valid := bytes.Clone(data)
	same, shortest, longest := 0, len(data), 0
	Each(t, data, Limit{Places: 50}, func(_ *testing.T, spoiled []byte) {
		if bytes.Equal(spoiled, valid) {
			same++
		}
		if n := len(spoiled); n < len(data) {
			shortest, longest = min(shortest, n), max(longest, n)
		}
		clear(spoiled)
	})
	if same > 0 || shortest != 0 || longest < len(data)*9/10 || !bytes.Equal(data, valid) {
		t.Errorf("%d unspoiled files, cuts from %d to %d of %d bytes", same, shortest, longest, len(data))
	}
}

func TestPlaces(t *testing.T) {
	if p := places(3, 10); len(p) != 3 || p[2] != 2 {
		t.Errorf("places %v", p)
	}
	if p := places(0, 10); len(p) != 0 {
		t.Errorf("places %v in nothing", p)
	}
}
