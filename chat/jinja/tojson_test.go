package jinja

import (
	"math"
	"testing"
)

// TestDumpJSON compares with what Python 3's json.dumps(value, indent=4) gives.
func TestDumpJSON(t *testing.T) {
	t.Parallel()
	d := NewDict()
	d.Set("b", nil)
	d.Set("a", "x")
	for _, c := range []struct {
		value Value
		want  string
	}{
		{1e-5, "1e-05"}, {0.0001, "0.0001"}, {20.0, "20.0"}, {1e16, "1e+16"}, {123456789012345680.0, "1.2345678901234568e+17"}, {0.1, "0.1"},
		{0.0, "0.0"}, {math.Copysign(0, -1), "-0.0"}, {1e15, "1000000000000000.0"}, {1.5e-7, "1.5e-07"}, {2e-300, "2e-300"},
		{math.NaN(), "NaN"}, {math.Inf(-1), "-Infinity"},
		{"é\n\"\\\b\u007f\u2028😀", `"\u00e9\n\"\\\b\u007f\u2028\ud83d\ude00"`},
		{NewDict(), "{}"}, {NewList(), "[]"}, {nil, "null"}, {true, "true"},
		{NewList(int64(1), d), "[\n    1,\n    {\n        \"b\": null,\n        \"a\": \"x\"\n    }\n]"},
	} {
		if got, err := DumpJSON(c.value, 4); got != c.want || err != nil {
			t.Errorf("%v: got %s, %v, want %s", c.value, got, err, c.want)
		}
	}
	if got, _ := DumpJSON(NewList(d, int64(2)), 0); got != `[{"b": null, "a": "x"}, 2]` {
		t.Errorf("on one line: %s", got)
	}
}
