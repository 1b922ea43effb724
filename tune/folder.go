package tune

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/run"
)

// checkFolder refuses a folder in which a run may neither begin nor go on.
func (o Options) checkFolder(r *Recipe) error {
	if o.Resume && o.Overwrite {
		return fault.Of("%v goes on with a run, and %v begins anew: only one of them can be given", fault.Setting("resume"), fault.Setting("overwrite"))
	}
	// What a killed run had decided to save is completed, before anybody looks.
	if err := atomicfile.Finish(r.AdapterPath); err != nil {
		return fault.At("adapter_path", "%w", err)
	}
	switch {
	case o.Overwrite || hasState(r.AdapterPath):
		return nil
	case o.Resume:
		return fault.At("resume", "there is no run in %s that could go on: it has no %s", r.AdapterPath, filepath.Join(stateDir, identityName)).
			Try("Give the %v of the run, or leave %v out to begin.", fault.Setting("adapter_path"), fault.Setting("resume"))
	}
	return checkFolder(r.AdapterPath, r.ResumeAdapterFile)
}

// checkFolder refuses to train over what should not be lost: an adapter that another program trained, and one of a run
// that came to its end. Who resumes from a file of the folder means to go on there; a run of ours that was cut short
// before its first save, or whose state was deleted, is begun anew.
func checkFolder(dir, resume string) error {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fault.Given("adapter_path", dir, "this is a file, expected a folder").Try("Give another name.")
	}
	if resume != "" && sameFolder(filepath.Dir(resume), dir) {
		return nil
	}
	found, err := trainedIn(dir)
	if err != nil {
		return fault.At("adapter_path", "%w", err)
	}
	if found == "" {
		return nil
	}
	return fault.Given("adapter_path", dir, "%s", found).Try("Give another folder, %v %s to go on from what is there, or %v to train over it.",
		fault.Setting("resume_adapter_file"), filepath.Join(dir, adapter.File), fault.Setting("overwrite"))
}

// trainedIn tells what would be lost in a folder if a run began there; "" for nothing.
func trainedIn(dir string) (string, error) {
	m, err := run.ReadManifest(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for _, name := range []string{adapter.File, adapter.ConfigFile, run.LogName} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err == nil && info.Size() > 0 && !(name == run.LogName && isLog(dir)) {
				return fmt.Sprintf("this holds a %s that Lentil did not write", name), nil
			}
		}
		return "", nil
	case err != nil:
		return "", err
	case m.Started.IsZero():
		return fmt.Sprintf("this holds a %s that Lentil did not write", run.ManifestName), nil
	}
	records, err := run.ReadLog(filepath.Join(dir, run.LogName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // killed before its first step
	}
	if err != nil {
		return "", err
	}
	finished, resumed := 0, false
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.Start:
			finished, resumed = 0, len(e.Earlier) > 0
		case run.Saved:
			if e.Checkpoint == "" { // the last save of a run
				finished = e.Iteration
			}
		}
	}
	on := m.Started.Format(time.DateOnly)
	switch {
	case finished > 0:
		return fmt.Sprintf("a run of %d iterations, begun on %s, has come to its end there", finished, on), nil
	case resumed:
		return fmt.Sprintf("a run that was resumed on %s lies there", on), nil
	}
	return "", nil
}

// isLog tells whether the events of a run that was refused before its manifest was written lie in a folder.
func isLog(dir string) bool {
	records, err := run.ReadLog(filepath.Join(dir, run.LogName))
	return err == nil && !slices.ContainsFunc(records, func(r run.Record) bool { return r.Event == nil })
}

// sameFolder tells whether two paths are of one folder.
func sameFolder(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
