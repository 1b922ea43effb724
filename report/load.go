package report

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// A Run is what the files in an adapter's folder tell.
type Run struct {
	Folder   string
	Manifest run.Manifest
	Start    run.Start
	Plan     run.Plan
	Data     []run.Data
	Train    []run.TrainReport
	Valid    []run.Validation
	Asked    []run.Asked
	Saved    []run.Saved
	Tested   *run.TestReport
	Fused    []run.Fused
	Warnings []string
	End      *run.End
	Results  *score.Results // nil if nothing was asked
	Broken   []string       // files that could not be read, and why
}

// Load reads the folder of an adapter. One that Lentil did not train is refused.
func Load(folder string) (*Run, error) {
	r := &Run{Folder: folder}
	var err error
	if r.Manifest, err = run.ReadManifest(folder); errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Of("%s has no %s, so Lentil did not train there", folder, run.ManifestName).Try("Give the folder of an adapter.")
	} else if err != nil {
		return nil, fault.Mark(err)
	}
	records, err := run.ReadLog(filepath.Join(folder, run.LogName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Broken = append(r.Broken, err.Error())
	}
	r.take(records)
	r.Results, err = score.ReadResults(filepath.Join(folder, score.Folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Broken = append(r.Broken, err.Error())
	}
	if err != nil {
		r.Results = nil
	}
	if r.Results != nil && r.Results.Columns[r.Results.Tuned()].SHA256 != "" {
		weights, err := run.HashFile(filepath.Join(folder, "adapters.safetensors"))
		if err == nil && weights.SHA256 != r.Results.Columns[r.Results.Tuned()].SHA256 {
			r.Broken = append(r.Broken, "The answers below are those of weights that the folder held before. Evaluate again.")
		}
	}
	return r, nil
}

// take goes through a log. It keeps the last run, with the ones that it went on from.
func (r *Run) take(records []run.Record) {
	var before []run.Event // of the run that begins with the next Start
	running := false
	for _, rec := range records {
		switch e := rec.Event.(type) {
		case nil:
		case run.Start:
			r.begin(e)
			for _, b := range before {
				r.add(b)
			}
			before, running = nil, true
		case run.End:
			r.add(e)
			running = false
		default:
			if running || isAfter(e) {
				r.add(e)
				continue
			}
			before = append(before, e)
		}
	}
	if r.Start.Iterations == 0 { // it has not begun
		for _, b := range before {
			r.add(b)
		}
	}
}

// isAfter tells events that come when a run has ended, and belong to it.
func isAfter(e run.Event) bool {
	switch e.(type) {
	case run.TestReport, run.Fused:
		return true
	}
	return false
}

// begin clears what a run that begins does again: all, or what lies behind where it goes on.
func (r *Run) begin(s run.Start) {
	first := s.FirstIteration
	if first <= 1 {
		*r = Run{Folder: r.Folder, Manifest: r.Manifest, Broken: r.Broken}
	}
	r.Start, r.End, r.Tested, r.Fused = s, nil, nil, nil
	r.Train = slices.DeleteFunc(r.Train, func(e run.TrainReport) bool { return e.Iteration >= first })
	r.Valid = slices.DeleteFunc(r.Valid, func(e run.Validation) bool { return e.Iteration >= first })
	r.Asked = slices.DeleteFunc(r.Asked, func(e run.Asked) bool { return e.Iteration >= first })
}

// mostWarnings bounds what a report repeats.
const mostWarnings = 50

func (r *Run) add(e run.Event) {
	switch e := e.(type) {
	case run.Plan:
		r.Plan = e
	case run.Data:
		r.Data = append(slices.DeleteFunc(r.Data, func(d run.Data) bool { return d.Split == e.Split }), e)
	case run.TrainReport:
		r.Train = append(r.Train, e)
	case run.Validation:
		r.Valid = append(r.Valid, e)
	case run.Asked: // a run that goes on asks again where it begins
		r.Asked = append(slices.DeleteFunc(r.Asked, func(a run.Asked) bool { return a.Iteration == e.Iteration }), e)
	case run.Saved:
		r.Saved = append(r.Saved, e)
	case run.TestReport:
		r.Tested = &e
	case run.Fused:
		r.Fused = append(r.Fused, e)
	case run.Warning:
		if text := e.Text.String(); len(r.Warnings) < mostWarnings && !slices.Contains(r.Warnings, text) {
			r.Warnings = append(r.Warnings, text)
		}
	case run.End:
		r.End = &e
	}
}

// Best is the validation with the lowest loss; nil for none.
func (r *Run) Best() *run.Validation {
	var best *run.Validation
	for i, v := range r.Valid {
		if !math.IsNaN(v.Loss) && (best == nil || v.Loss < best.Loss) {
			best = &r.Valid[i]
		}
	}
	return best
}

// Chosen is the iteration whose weights the run left, 0 while it left none.
func (r *Run) Chosen() int {
	if len(r.Saved) == 0 {
		return 0
	}
	return r.Saved[len(r.Saved)-1].Iteration
}

// Settings are all settings of the run as text, by name. Those of nothing are left out.
func (r *Run) Settings() map[string]string {
	out := map[string]string{}
	for name, v := range r.Manifest.Settings {
		if v == nil {
			continue
		}
		text, isText := v.(string)
		if !isText {
			b, err := json.Marshal(v)
			if err != nil {
				continue
			}
			text = string(b)
		}
		out[name] = text
	}
	return out
}
