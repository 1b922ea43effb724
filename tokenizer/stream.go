package tokenizer

import "strings"

// Stream decodes ids one by one. The texts of Add and Flush together are exactly what
// Decode gives for all the ids at once. A Stream holds text back only until it is settled:
// until a UTF-8 character is complete, or a run of byte tokens has ended. It is for one
// sequence and one goroutine.
type Stream struct {
	t    *Tokenizer
	head sink
	out  strings.Builder
	err  error
}

// Stream returns the decoder of a new sequence. Special tokens are decoded as
// their text.
func (t *Tokenizer) Stream() *Stream {
	s := &Stream{t: t}
	s.head = (*textSink)(&s.out)
	for i := len(t.decoder) - 1; i >= 0; i-- {
		s.head = t.decoder[i](s.head, s.fail)
	}
	return s
}

// fail keeps the first error.
func (s *Stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Err tells why the text so far is not right: a regular expression of the
// decoder took too long.
func (s *Stream) Err() error { return s.err }

// textSink is the last step of decoding: it gathers the text.
type textSink strings.Builder

func (s *textSink) token(t string) { (*strings.Builder)(s).WriteString(t) }
func (s *textSink) end()           {}

// Add decodes the next id and returns the text that has become certain, which
// may be empty. Ids that are not in the vocabulary are skipped.
func (s *Stream) Add(id int32) string {
	s.add(id)
	return s.take()
}

// Flush ends the sequence and returns the rest of its text. Incomplete
// characters come out as U+FFFD. The Stream must not be used afterwards.
func (s *Stream) Flush() string {
	s.head.end()
	return s.take()
}

func (s *Stream) add(id int32) {
	if id >= 0 && int(id) < len(s.t.def.pieces) && s.t.def.known(id) {
		s.head.token(s.t.def.pieces[id])
	}
}

func (s *Stream) take() string {
	text := s.out.String()
	s.out.Reset()
	return text
}

// Decode returns the text of ids. With skipSpecial it leaves out special tokens; otherwise
// they appear as their text. It fails as [Stream.Err] says.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) (string, error) {
	s := t.Stream()
	for _, id := range ids {
		if !skipSpecial || !t.IsSpecial(id) {
			s.add(id)
		}
	}
	text := s.Flush()
	return text, s.err
}
