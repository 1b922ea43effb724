package mersenne

import (
	"fmt"
	"testing"
)

// TestSample: what CPython 3.11 printed for random.Random(seed).sample(range(n), k), one after another.
func TestSample(t *testing.T) {
	t.Parallel()
	r := Python(123)
	for _, tt := range []struct {
		n, k int
		want string
	}{{10, 3, "[0 4 1]"}, {10, 3, "[6 4 1]"}, {1000, 8, "[858 922 895 39 388 549 575 340]"}, {50, 6, "[21 3 10 8 49 35]"}} {
		if got := fmt.Sprint(r.Sample(tt.n, tt.k)); got != tt.want {
			t.Errorf("sample(range(%d), %d): %s, want %s", tt.n, tt.k, got, tt.want)
		}
	}
	if got := fmt.Sprint(Python(1<<40+5).Sample(100000, 4)); got != "[66110 67753 35206 87005]" {
		t.Errorf("a seed of two words: %s", got)
	}
}
