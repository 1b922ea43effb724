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

// TestRequireAsked: what no question leads to is told before one is asked.
func TestRequireAsked(t *testing.T) {
	t.Parallel()
	questions := []Question{{Kind: Trained}, {Kind: General}}
	for _, tt := range []struct {
		text    string
		adapted bool
		ok      bool
	}{
		{"recall>=0.8", false, true}, {"general>0", false, true}, {"right>0", false, true}, {"restraint>=0.5", true, false}, {"unseen>0", true, false}, {"profile>0", true, false},
		{"forgetting<=5%", false, false}, {"forgetting<=5%", true, true}, {"gain>0", false, false}, {"gain>0", true, true},
	} {
		list, err := Requirements("require", tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if err := list[0].Asked("require", questions, tt.adapted); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
