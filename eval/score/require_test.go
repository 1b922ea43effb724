package score

import "testing"

// TestRequireViolations: the figure is that of the profile that is broken most, wherever it stands.
func TestRequireViolations(t *testing.T) {
	t.Parallel()
	row := func(profile string, share float64) Row {
		return Row{Metric: Violations, Profile: profile, N: 10, Scores: []Interval{{Mean: 1}, {Mean: share}}, Against: make([]*Comparison, 2)}
	}
	r := &Results{Columns: []Column{{Name: "base", Against: -1}, {Name: "tuned", Adapter: "a"}}, Rows: []Row{row("a", 0.1), row("b", 0.3), row("c", 0.2)}}
	list, err := Requirements("require", "violations<=25%")
	if err != nil {
		t.Fatal(err)
	}
	if met, value, err := list[0].Met("require", r); met || value != 0.3 || err != nil {
		t.Error(met, value, err)
	}
}
