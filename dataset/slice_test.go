package dataset

import (
	"strings"
	"testing"
)

// TestSlices has what ReadInstruction of the Python package datasets 5.2 gives.
func TestSlices(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rows     int
		text     string
		from, to int
	}{
		{57, "train", 0, 57}, {57, "train[:80%]", 0, 46}, {57, "train[-10%:]", 51, 57}, {57, "train[:1000]", 0, 57}, {57, "train[10:20]", 10, 20},
		{57, "train[-5:]", 52, 57}, {57, "train[:-3]", 0, 54}, {57, "train[33%:66%]", 19, 38}, {57, "train[5:]", 5, 57}, {57, "train[50%:]", 28, 57},
		{57, "train[:]", 0, 57}, {57, "train[1_0:2_0]", 10, 20}, {57, "train[-200:]", 0, 57}, {57, "train[:15%](closest)", 0, 9},
		{57, "train[-10%:-5%]", 51, 54}, {57, "train[10:20%]", 6, 11}, {250, "train[33%:66%]", 82, 165}, {250, "train[-200:]", 50, 250},
		{250, "train[25%:75%](pct1_dropremainder)", 50, 150}, {250, "train[:15%](closest)", 0, 38}, {250, "train[-10%:-5%]", 225, 238}, {250, "train[10:20%]", 25, 50},
		{57, "train[20:10]", 20, 20}, // there it fails later on
	} {
		s, err := parseSlices(c.text)
		if err != nil || len(s) != 1 || s[0].split != "train" {
			t.Errorf("%s: %v, %v", c.text, s, err)
			continue
		}
		if from, to, err := s[0].bounds(c.rows); from != c.from || to != c.to || err != nil {
			t.Errorf("%s of %d: %d to %d, %v; want %d to %d", c.text, c.rows, from, to, err, c.from, c.to)
		}
	}
	for text, want := range map[string]string{
		"train[:150%]": "too large", "train[:99999999999999999999]": "too large", "train[1]": "not understood", "train[": "not understood",
		"": "not understood", "a b": "not understood", "train[:1](half)": "not understood", "train[::2]": "not understood", "a+": "not understood",
	} {
		if _, err := parseSlices(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	s, err := parseSlices("train[:50%](pct1_dropremainder)")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s[0].bounds(57); err == nil || !strings.Contains(err.Error(), "less than 100 rows") {
		t.Errorf("whole hundreds of 57 rows: %v", err)
	}
}

func FuzzSlices(f *testing.F) {
	f.Add("train[-10%:50%]+a.b[:1_000](closest)", 57)
	f.Fuzz(func(t *testing.T, text string, rows int) {
		if rows < 0 || rows > maxRows {
			return
		}
		slices, err := parseSlices(text)
		if err != nil {
			return
		}
		for _, s := range slices {
			if from, to, err := s.bounds(rows); err == nil && (from < 0 || to < from || to > rows) {
				t.Errorf("%q of %d: %d to %d", text, rows, from, to)
			}
		}
	})
}
