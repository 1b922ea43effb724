package run

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// LogName is the file name of the event log in a run folder.
const LogName = "run.jsonl"

// maxLogBytes bounds what ReadLog takes into memory: about a million reports.
const maxLogBytes = 512 << 20

// An eventLog is a log open for appending. Each event is one write of one whole line.
type eventLog struct {
	mu     sync.Mutex
	file   *os.File
	opened int64 // its length then
	err    error // the first failed write
	lost   int   // events that could not be written
	torn   bool  // the last line may not be whole

	write func([]byte) (int, error) // to the file
	now   func() time.Time
}

// openLog opens the log at path for appending, making it if need be. If the last write of an earlier run
// was cut short, the torn line is dropped first, so that every line of the log stays whole.
func openLog(path string) (*eventLog, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	if err := dropTornLine(file); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &eventLog{file: file, opened: info.Size(), write: file.Write, now: time.Now}, nil
}

// dropTornLine cuts file after its last newline.
func dropTornLine(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	block := make([]byte, 4096)
	for end := info.Size(); end > 0; {
		start := max(0, end-int64(len(block)))
		part := block[:end-start]
		if _, err := file.ReadAt(part, start); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			if keep := start + int64(i) + 1; keep < info.Size() {
				return file.Truncate(keep)
			}
			return nil
		}
		end = start
	}
	return file.Truncate(0)
}

// Report appends the event. A failed write (disk full) does not stop the run, and the next event is tried again: Close
// tells of it.
func (l *eventLog) Report(e Event) {
	if e.kind() == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.append(e); err != nil {
		l.lost++
		l.err = cmp.Or(l.err, err)
	}
}

func (l *eventLog) append(e Event) error {
	line, err := encode(l.now(), e)
	if err != nil {
		return err
	}
	if l.torn {
		if err := dropTornLine(l.file); err != nil {
			return err
		}
	}
	_, err = l.write(line)
	l.torn = err != nil
	return err
}

// Close syncs and closes the log, and returns the first error that a write met.
func (l *eventLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := errors.Join(l.file.Sync(), l.file.Close())
	if l.lost > 0 {
		err = errors.Join(fmt.Errorf("%d events could not be written: %w", l.lost, l.err), err)
	}
	if err != nil {
		return fmt.Errorf("event log %s: %w", l.file.Name(), err)
	}
	return nil
}

// ReadLog reads all whole lines of an event log; a torn last line is left out. Events that this version
// does not know come with a nil Event. The log may be in use by a running job.
func ReadLog(path string) ([]Record, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxLogBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(data) > maxLogBytes {
		return nil, fmt.Errorf("%s: larger than %d MB, which no run's log should be", path, maxLogBytes>>20)
	}
	var records []Record
	for number := 1; ; number++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return records, nil
		}
		rec, err := decode(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: not an event: %w", path, number, err)
		}
		records = append(records, rec)
		data = rest
	}
}
