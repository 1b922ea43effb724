package near

import (
	"fmt"
	"strings"
	"testing"
)

// text gives n words, of which those from the number other on are others.
func text(n, other int) string {
	var b strings.Builder
	for i := range n {
		if i < other {
			fmt.Fprintf(&b, "word%d ", i)
		} else {
			fmt.Fprintf(&b, "other%d ", i)
		}
	}
	return b.String()
}

func TestFind(t *testing.T) {
	const n = 200
	tests := []struct {
		name  string
		text  string
		found bool
	}{
		{"the same", text(n, n), true},
		{"other case and signs", strings.ToUpper(strings.ReplaceAll(text(n, n), " ", ", ")), true},
		{"a few words less", text(n-10, n), true},
		{"a third is different", text(n, 2*n/3), false},
		{"nothing in common", text(n, 0), false},
		{"empty", "", false},
	}
	var x Index
	x.Add(Of("a short one"))
	x.Add(Of(text(n, n)))
	for _, tt := range tests {
		at, like := x.Find(Of(tt.text))
		if found := at == 1; found != tt.found {
			t.Errorf("%s: found %d (%.2f)", tt.name, at, like)
		}
	}
	if at, _ := x.Find(Of("A short one.")); at != 0 {
		t.Errorf("the short one: %d", at)
	}
}

// TestLike: the estimate is near the true share of common runs.
func TestLike(t *testing.T) {
	const tolerance = 0.15 // more than three standard errors of 128 hashes
	for _, other := range []int{50, 100, 150, 190} {
		common := float64(other - run + 1)
		want := common / (2*(200-run+1) - common)
		if got := Of(text(200, 200)).Like(Of(text(200, other))); got < want-tolerance || got > want+tolerance {
			t.Errorf("%d of 200 words: %.2f, expected about %.2f", other, got, want)
		}
	}
}
