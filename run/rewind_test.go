package run

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRewind: what a run did after the iteration that it goes on from leaves the log, and nothing else.
func TestRewind(t *testing.T) {
	t.Parallel()
	begun, on := Start{FirstIteration: 1}, Start{FirstIteration: 5}
	report, validation, saved := TrainReport{Iteration: 4}, Validation{Iteration: 4}, Saved{Iteration: 4}
	later := []Event{TrainReport{Iteration: 6}, Validation{Iteration: 5}, Saved{Iteration: 8}, TestReport{}}
	for name, test := range map[string]struct {
		was  []Event
		keep int
	}{
		"nothing":          {nil, 0},
		"all":              {[]Event{begun, validation, report, saved, Warning{}}, 5},
		"a report":         {[]Event{begun, report, saved, later[0], Warning{}}, 3},
		"a validation":     {[]Event{begun, report, saved, later[1], later[0]}, 3},
		"a save":           {[]Event{begun, later[2]}, 1},
		"a test":           {[]Event{begun, report, saved, End{}, later[3]}, 4},
		"gone on before":   {[]Event{begun, report, saved, on, later[0]}, 4},
		"not an older run": {[]Event{begun, later[0], later[2], begun, report, saved}, 6},
		"nothing saved":    {[]Event{begun, report, saved, begun, later[1], later[0]}, 4},
		"all saved":        {[]Event{begun, report, saved, later[0]}, 4},
	} {
		dir, iteration := t.TempDir(), 4
		if strings.HasSuffix(name, " saved") {
			iteration = 0
		}
		for round, events := range [][]Event{test.was, {Warning{}, Message{}}} {
			f, err := OpenFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				f.Report(e)
			}
			if round == 1 {
				if err := f.Rewind(iteration); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				f.Report(on)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		records, err := ReadLog(filepath.Join(dir, LogName))
		if err != nil {
			t.Fatal(err)
		}
		var got []Event
		for _, r := range records {
			got = append(got, r.Event)
		}
		want := append(append([]Event{}, test.was[:test.keep]...), Warning{}, Message{}, on)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, LogName), []byte("{}\nlog\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Rewind(4); err == nil || !strings.Contains(err.Error(), LogName+":2: not an event") {
		t.Errorf("another file: %v", err)
	}
}
