package hub

import "sync"

// Progress is how far one file has come, and all files together.
type Progress struct {
	File             string
	Done, Size       int64  // bytes of this file
	AllDone, AllSize int64  // bytes of all files of this download or upload
	Waiting          bool   // another process is fetching this file
	Finished         bool   // the file is there
	Notice           string // what is waited for, when no file has come further; File is empty then
}

// A tally adds up the progress of files and tells it, one call at a time.
type tally struct {
	mu   sync.Mutex
	hear func(Progress) // may be nil
	done map[string]int64
	sum  int64
	size int64
}

func newTally(hear func(Progress)) *tally { return &tally{hear: hear, done: map[string]int64{}} }

func (t *tally) tell(p Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum += p.Done - t.done[p.File]
	t.done[p.File] = p.Done
	p.AllDone, p.AllSize = t.sum, t.size
	if t.hear != nil {
		t.hear(p)
	}
}

// notices is how a client tells what it waits for among the progress; nil if nobody hears that.
func (t *tally) notices() func(string) {
	if t.hear == nil {
		return nil
	}
	return func(text string) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.hear(Progress{Notice: text, AllDone: t.sum, AllSize: t.size})
	}
}
