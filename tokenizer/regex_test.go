package tokenizer

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRegexTooLong: a pattern that needs exponential or quadratic time fails, and names itself and the text's length.
func TestRegexTooLong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ pattern, text string }{
		"exponential": {`(a|aa)+$`, strings.Repeat("a", 60) + "b"},
		"quadratic":   {`[a ]+b`, strings.Repeat("a ", 100_000)},
		// Each match is short of the limit, all together are not.
		"each match": {`x(?=(.*)y)`, strings.Repeat("x", 30_000) + "y"},
	} {
		r, err := newRegex(c.pattern, 300*time.Millisecond, 0)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = r.find(c.text, func(_, _ int) {})
		if err == nil || !strings.Contains(err.Error(), c.pattern) || !strings.Contains(err.Error(), "bytes") {
			t.Errorf("%s: error %v after %v", name, err, time.Since(began))
		}
	}
	r, err := newRegex("a", time.Second, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 1000, 1 << 20} {
		if re, err := r.matcher(n); err != nil || re.MatchTimeout < time.Second+time.Duration(n)*time.Millisecond {
			t.Errorf("%d bytes: %v, %v", n, re.MatchTimeout, err)
		}
	}
}

// TestStepFails: where a step of encoding or decoding fails, there are no tokens and no text.
func TestStepFails(t *testing.T) {
	t.Parallel()
	failed := errors.New("too long")
	never := func(string) (string, error) { return "b", failed }
	find := func(string, func(int, int)) error { return failed }
	for name, breakIt := range map[string]func(*Tokenizer){
		"normalizer": func(tok *Tokenizer) { tok.norm = never },
		"isolated":   func(tok *Tokenizer) { tok.split.steps = []splitStep{isolate(find)} },
		"removed": func(tok *Tokenizer) {
			step, err := splitAt(find, "Removed", false)
			if err != nil {
				t.Fatal(err)
			}
			tok.split.steps = []splitStep{step}
		},
	} {
		tok := loadText(t, bpeJSON(`"added_tokens": [{"id": 3, "content": "<s>", "special": true}],`))
		breakIt(tok)
		for _, text := range []string{"ab", "<s>ab<s>ab"} {
			if ids, err := tok.Encode(text, true); !errors.Is(err, failed) || ids != nil {
				t.Errorf("%s: Encode(%q) = %v, %v", name, text, ids, err)
			}
			if ids, err := tok.EncodePlain(text); !errors.Is(err, failed) || ids != nil {
				t.Errorf("%s: EncodePlain(%q) = %v, %v", name, text, ids, err)
			}
		}
		if _, err := tok.countWords(slices.Values([]string{"ab", "ab"})); name != "normalizer" && !errors.Is(err, failed) {
			t.Errorf("%s: training: %v", name, err)
		}
		if ids := encode(t, tok, "<s>", false); !slices.Equal(ids, []int32{3}) { // and the next text is encoded as ever
			t.Errorf("%s: %v", name, ids)
		}
	}
	tok := loadText(t, bpeJSON(`"decoder": {"type": "Fuse"},`))
	tok.decoder = append(tok.decoder, rewriteStage(never))
	if text, err := tok.Decode([]int32{0, 1}, false); !errors.Is(err, failed) {
		t.Errorf("Decode = %q, %v", text, err)
	}
	s := tok.Stream()
	s.Add(0)
	if s.Flush(); !errors.Is(s.Err(), failed) {
		t.Errorf("Stream.Err() = %v", s.Err())
	}
}

// TestEncodePlain: a text that begins with the BOS gets no second one.
func TestEncodePlain(t *testing.T) {
	t.Parallel()
	tok := loadText(t, bpeJSON(`"added_tokens": [{"id": 3, "content": "<s>", "special": true}],
 "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [3]}}},`))
	tok.config.special["bos_token"] = "<s>"
	for text, want := range map[string][]int32{"ab": {3, 2}, "<s>ab": {3, 2}, "ab<s>": {3, 2, 3}, "": {3}, "<s><s>ab": {3, 3, 2}} {
		if got, err := tok.EncodePlain(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("EncodePlain(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}
