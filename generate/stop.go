package generate

import "strings"

// stopper holds back text that may turn out to be a stop string.
type stopper struct {
	stops []string
	held  string
}

// add returns the text that is safe to show, and whether a stop string came.
func (s *stopper) add(text string) (out string, stopped bool) {
	s.held += text
	end := -1
	for _, stop := range s.stops {
		if i := strings.Index(s.held, stop); stop != "" && i >= 0 && (end < 0 || i < end) {
			end = i
		}
	}
	if end >= 0 {
		out, s.held = s.held[:end], ""
		return out, true
	}
	hold := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(s.held)); n > hold; n-- {
			if strings.HasSuffix(s.held, stop[:n]) {
				hold = n
			}
		}
	}
	cut := len(s.held) - hold
	out, s.held = s.held[:cut], s.held[cut:]
	return out, false
}

// end is add for the last text: nothing is held back any more.
func (s *stopper) end(text string) (out string, stopped bool) {
	out, stopped = s.add(text)
	out += s.held
	s.held = ""
	return out, stopped
}
