package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// decoderDef is a decoder as tokenizer.json writes it.
type decoderDef struct {
	Type           string       `json:"type"`
	Decoders       []decoderDef `json:"decoders"`         // Sequence
	Pattern        *patternDef  `json:"pattern"`          // Replace
	Content        string       `json:"content"`          // Replace, Strip
	Start          int          `json:"start"`            // Strip
	Stop           int          `json:"stop"`             // Strip
	Replacement    string       `json:"replacement"`      // Metaspace
	PrependScheme  string       `json:"prepend_scheme"`   // Metaspace
	AddPrefixSpace *bool        `json:"add_prefix_space"` // Metaspace; default true
}

// sink is one step of decoding. It gets the strings of the tokens one by one, then end. It
// passes on what it makes of them as soon as that is settled, and the rest at the end.
type sink interface {
	token(s string)
	end()
}

// stage makes the sink of one decoding step, which feeds next and tells fail
// what goes wrong.
type stage func(next sink, fail func(error)) sink

// newDecoder returns the stages that raw describes.
func newDecoder(raw json.RawMessage) ([]stage, error) {
	var def decoderDef
	present, err := unmarshalPart(raw, &def)
	if err != nil {
		return nil, err
	}
	if !present { // the tokenizers library puts a space between tokens then
		return []stage{func(next sink, _ func(error)) sink { return &spaceSink{next: next} }}, nil
	}
	b := decoderBuilder{}
	return b.stages, b.add(&def)
}

// decoderBuilder collects stages. After the strings have been fused, stages get pieces of
// one long token and must not treat each as whole.
type decoderBuilder struct {
	stages []stage
	fused  bool
}

func (b *decoderBuilder) add(def *decoderDef) error {
	switch def.Type {
	case "Sequence":
		for i := range def.Decoders {
			if err := b.add(&def.Decoders[i]); err != nil {
				return at(fmt.Sprintf("decoders[%d]", i), err)
			}
		}
	case "Fuse":
		b.fused = true
	case "ByteLevel":
		b.addWhole(func(next sink, _ func(error)) sink { return &byteLevelSink{next: next} })
		b.fused = true
	case "ByteFallback":
		b.addWhole(func(next sink, _ func(error)) sink { return &byteFallbackSink{next: next} })
	case "Replace":
		replace, err := newReplacer(def.Pattern, def.Content)
		if err != nil {
			return at("pattern", err)
		}
		b.addWhole(rewriteStage(func(s string) (string, error) { return replace(s, max(len(s)+1<<10, mostOfToken)) }))
	case "Metaspace":
		step, err := def.metaspace()
		if err != nil {
			return err
		}
		b.addWhole(step)
	case "Strip":
		return b.addStrip(def)
	default:
		return unsupported("decoder", def.Type, "Sequence, ByteLevel, ByteFallback, Fuse, Replace, Metaspace, Strip")
	}
	return nil
}

// mostOfToken is up to how many bytes the steps of a decoder may make of a token one after the other.
const mostOfToken = 1 << 20

// rewriteStage is the step that rewrites each token by itself.
func rewriteStage(rewrite rewriter) stage {
	return func(next sink, fail func(error)) sink {
		return &mapSink{next, func(s string) string {
			text, err := rewrite(s)
			if err != nil {
				fail(err)
			}
			return text
		}}
	}
}

// addWhole adds a step that must see each token whole.
func (b *decoderBuilder) addWhole(s stage) {
	if b.fused {
		b.stages = append(b.stages, func(next sink, _ func(error)) sink { return &gatherSink{next: next} })
		b.fused = false
	}
	b.stages = append(b.stages, s)
}

func (b *decoderBuilder) addStrip(def *decoderDef) error {
	if utf8.RuneCountInString(def.Content) != 1 {
		return at("content", fmt.Errorf("found %q, want one character", def.Content))
	}
	if def.Start < 0 || def.Stop < 0 {
		return fmt.Errorf("start %d, stop %d: want no negative counts", def.Start, def.Stop)
	}
	if b.fused && def.Stop == 0 { // the case of every Llama: no need to wait for the end
		b.stages = append(b.stages, func(next sink, _ func(error)) sink {
			return &stripStartSink{next: next, char: def.Content, left: def.Start}
		})
		return nil
	}
	b.addWhole(func(next sink, _ func(error)) sink { return &mapSink{next, def.strip} })
	return nil
}

func (d *decoderDef) strip(s string) string {
	for range d.Start {
		rest, found := strings.CutPrefix(s, d.Content)
		if !found {
			break
		}
		s = rest
	}
	for range d.Stop {
		rest, found := strings.CutSuffix(s, d.Content)
		if !found {
			break
		}
		s = rest
	}
	return s
}

// metaspace returns the step that turns "▁" into spaces. It drops those of the first token
// if encoding puts one in front.
func (d *decoderDef) metaspace() (stage, error) {
	mark := d.Replacement
	if utf8.RuneCountInString(mark) != 1 {
		return nil, fmt.Errorf("replacement: found %q, want one character", mark)
	}
	drop := d.PrependScheme != "never"
	if d.PrependScheme == "" {
		drop = d.AddPrefixSpace == nil || *d.AddPrefixSpace
	}
	return func(next sink, _ func(error)) sink {
		first := drop
		return &mapSink{next, func(s string) string {
			space := " "
			if first {
				space, first = "", false
			}
			return strings.ReplaceAll(s, mark, space)
		}}
	}, nil
}

// mapSink rewrites each token by itself.
type mapSink struct {
	next sink
	f    func(string) string
}

func (s *mapSink) token(t string) { s.next.token(s.f(t)) }
func (s *mapSink) end()           { s.next.end() }

// spaceSink puts a space between tokens.
type spaceSink struct {
	next  sink
	begun bool
}

func (s *spaceSink) token(t string) {
	if s.begun {
		t = " " + t
	}
	s.begun = true
	s.next.token(t)
}
func (s *spaceSink) end() { s.next.end() }

// gatherSink joins all tokens to one.
type gatherSink struct {
	next sink
	all  strings.Builder
}

func (s *gatherSink) token(t string) { s.all.WriteString(t) }
func (s *gatherSink) end() {
	s.next.token(s.all.String())
	s.next.end()
}

// stripStartSink removes up to left chars from the beginning of the text.
type stripStartSink struct {
	next sink
	char string
	left int
}

func (s *stripStartSink) token(t string) {
	for s.left > 0 && t != "" {
		rest, found := strings.CutPrefix(t, s.char)
		if !found {
			s.left = 0
			break
		}
		t = rest
		s.left--
	}
	s.next.token(t)
}
func (s *stripStartSink) end() { s.next.end() }

// byteLevelSink turns byte-level characters into bytes and passes on whole UTF-8
// characters. Bytes that belong to no character become U+FFFD.
type byteLevelSink struct {
	next    sink
	pending []byte
}

func (s *byteLevelSink) token(t string) {
	s.pending = appendFromByteLevel(s.pending, t)
	keep := incompleteTail(s.pending)
	whole := len(s.pending) - keep
	s.next.token(validUTF8(string(s.pending[:whole])))
	s.pending = append(s.pending[:0], s.pending[whole:]...)
}

func (s *byteLevelSink) end() {
	s.next.token(validUTF8(string(s.pending)))
	s.pending = s.pending[:0]
	s.next.end()
}

// incompleteTail returns the number of bytes at the end of b that begin a character which
// further bytes may complete.
func incompleteTail(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if utf8.RuneStart(b[len(b)-n]) {
			if isCharPrefix(string(b[len(b)-n:])) {
				return n
			}
			return 0
		}
	}
	return 0
}

// byteFallbackSink joins runs of byte tokens ("<0xE2>") to text. A run that is not valid
// UTF-8 as a whole becomes one U+FFFD per byte, so a run is passed on when it is over.
type byteFallbackSink struct {
	next sink
	run  []byte
}

func (s *byteFallbackSink) token(t string) {
	if b, ok := parseByteText(t); ok {
		s.run = append(s.run, b)
		return
	}
	s.endRun()
	s.next.token(t)
}

func (s *byteFallbackSink) end() {
	s.endRun()
	s.next.end()
}

func (s *byteFallbackSink) endRun() {
	if len(s.run) == 0 {
		return
	}
	if utf8.Valid(s.run) {
		s.next.token(string(s.run))
	} else {
		for range s.run {
			s.next.token(string(utf8.RuneError))
		}
	}
	s.run = s.run[:0]
}

// parseByteText reads a byte token, "<0x" and two hexadecimal digits and ">".
func parseByteText(t string) (byte, bool) {
	if len(t) != 6 || t[:3] != "<0x" || t[5] != '>' {
		return 0, false
	}
	high, ok1 := hexDigit(t[3])
	low, ok2 := hexDigit(t[4])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
