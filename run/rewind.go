package run

import (
	"bytes"
	"fmt"
	"os"
)

// Sync brings the log to the disk.
func (f *Folder) Sync() error { return f.log.sync() }

// Rewind takes out of the log what the last run in it did after an iteration. A run that goes on from there does it
// again, so that the log tells of each iteration once. With 0 that is a run that saved nothing; another one stays. What
// was logged since OpenFolder stays.
func (f *Folder) Rewind(iteration int) error { return f.log.rewind(iteration) }

func (l *eventLog) sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Sync()
}

func (l *eventLog) rewind(iteration int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	data, err := os.ReadFile(l.file.Name())
	if err != nil {
		return err
	}
	before := data[:min(l.opened, int64(len(data)))]
	cut, err := after(before, iteration)
	if err != nil {
		return fmt.Errorf("%s%w", l.file.Name(), err)
	}
	if cut == len(before) {
		return nil
	}
	if err := l.file.Truncate(int64(cut)); err != nil {
		return err
	}
	l.opened = int64(cut)
	_, err = l.write(data[len(before):])
	l.torn = err != nil
	return err
}

// after is where in a log the first event of the last run after an iteration begins; its length if there is none.
func after(log []byte, iteration int) (int, error) {
	cut, saved, at := len(log), false, 0
	for number := 1; ; number++ {
		line, _, whole := bytes.Cut(log[at:], []byte("\n"))
		switch {
		case !whole && iteration == 0 && saved:
			return len(log), nil
		case !whole:
			return cut, nil
		}
		rec, err := decode(line)
		if err != nil {
			return 0, fmt.Errorf(":%d: not an event: %w", number, err)
		}
		later := false
		switch e := rec.Event.(type) {
		case Start:
			if e.FirstIteration <= 1 {
				cut, saved = len(log), false // another run
			}
		case TestReport:
			later = true // of other weights than those that the run will have
		case TrainReport:
			later = e.Iteration > iteration
		case Validation:
			later = e.Iteration > iteration
		case Asked:
			later = e.Iteration > iteration
		case BestSaved:
			later = e.Iteration > iteration
		case Saved:
			later, saved = e.Iteration > iteration, true
		}
		if later && at < cut {
			cut = at
		}
		at += len(line) + 1
	}
}
