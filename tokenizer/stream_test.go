package tokenizer

import (
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// TestStream: the pieces of a stream are valid UTF-8 and add up to Decode's text, whatever
// the ids are. It draws byte tokens often, since these may leave a character incomplete.
func TestStream(t *testing.T) {
	t.Parallel()
	for _, name := range referenceModels {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tok := loadReference(t, name)
			var bytes []int32
			for b := range 256 {
				for _, piece := range []string{byteText(byte(b)), byteChars[b]} {
					if id, ok := tok.ID(piece); ok {
						bytes = append(bytes, id)
					}
				}
			}
			r := rand.New(rand.NewPCG(3, 4))
			tries := 2000
			if testing.Short() {
				tries = 300
			}
			for range tries {
				ids := make([]int32, r.IntN(16))
				for i := range ids {
					if r.IntN(2) == 0 {
						ids[i] = bytes[r.IntN(len(bytes))]
					} else {
						ids[i] = r.Int32N(int32(tok.VocabSize()) + 2)
					}
				}
				checkStream(t, tok, ids)
			}
			for _, text := range testStrings(t) {
				checkStream(t, tok, encode(t, tok, text, true))
			}
		})
	}
}

func checkStream(t *testing.T, tok *Tokenizer, ids []int32) {
	t.Helper()
	s, text := tok.Stream(), ""
	add := func(part string) {
		if !utf8.ValidString(part) {
			t.Errorf("Stream(%v): part %q is not valid UTF-8", ids, part)
		}
		text += part
	}
	for _, id := range ids {
		add(s.Add(id))
	}
	add(s.Flush())
	if want := decode(t, tok, ids, false); text != want {
		t.Errorf("Stream(%v) = %q, want %q", ids, text, want)
	}
}

// TestStreamIsPrompt: text comes as soon as it is settled.
func TestStreamIsPrompt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model, text string
		want        []string // what each Add returns; the last is Flush's
	}{
		{"llama3_2", " hi 🦜!", []string{" hi", " ", "", "🦜", "!", ""}},
		{"llama2", "hi\nyou", []string{"hi", "", "\nyou", ""}},
	} {
		tok := loadReference(t, c.model)
		s := tok.Stream()
		var got []string
		for _, id := range encode(t, tok, c.text, false) {
			got = append(got, s.Add(id))
		}
		got = append(got, s.Flush())
		if len(got) != len(c.want) {
			t.Errorf("%s: %q, want %q", c.model, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %q, want %q", c.model, got, c.want)
				break
			}
		}
	}
}

func TestValidUTF8(t *testing.T) {
	t.Parallel()
	// The table of the Unicode standard, section 3.9, "U+FFFD Substitution of
	// Maximal Subparts", and a few more.
	for in, want := range map[string]string{
		"abc":                                  "abc",
		"\xff":                                 "\ufffd",
		"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82A":    "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdA",
		"\xED\xA0\x80\xED\xBF\xBF\xED\xAFA":    "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdA",
		"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42": "\ufffd\ufffd\ufffd\ufffd\ufffdA\ufffd\ufffdB",
		"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41": "\ufffd\ufffd\ufffd\ufffdA",
		"\xF0\x9F\x98":                         "\ufffd",
		"\ufffd\xE2\x82":                       "\ufffd\ufffd",
	} {
		if got := validUTF8(in); got != want {
			t.Errorf("validUTF8(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzEncodeDecode(f *testing.F) {
	for _, text := range splitTexts {
		f.Add(text)
	}
	f.Add("the <|im_end|>\xff\xfe")
	byteLevel := trainSmall(f)
	sentencePiece, err := FromGGUF(tinySentencePiece())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want := validUTF8(text)
		for name, tok := range map[string]*Tokenizer{"byte-level": byteLevel, "SentencePiece": sentencePiece} {
			ids := encode(t, tok, text, false)
			if got := decode(t, tok, ids, false); got != want && name == "byte-level" {
				t.Errorf("%s: %q comes back as %q", name, text, got)
			}
			checkStream(t, tok, ids)
		}
	})
}

// tinySentencePiece is a vocabulary with all bytes and a few words.
func tinySentencePiece() map[string]any {
	tokens := []string{"<unk>", "<s>", "</s>"}
	types := []int32{ggufUnknown, ggufControl, ggufControl}
	for b := range 256 {
		tokens, types = append(tokens, byteText(byte(b))), append(types, 6)
	}
	for _, piece := range []string{"▁t", "he", "▁the", "▁▁", "▁", "t", "h", "e", "a", "é", "\n"} {
		tokens, types = append(tokens, piece), append(types, 1)
	}
	scores := make([]float32, len(tokens))
	for i := 259; i < len(scores); i++ {
		scores[i] = float32(259 - i)
	}
	return map[string]any{
		"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.scores": scores, "tokenizer.ggml.unknown_token_id": uint32(0),
		"tokenizer.ggml.bos_token_id": uint32(1), "tokenizer.ggml.eos_token_id": uint32(2),
	}
}

func TestSentencePieceByHand(t *testing.T) {
	t.Parallel()
	tok, err := FromGGUF(tinySentencePiece())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, id := range encode(t, tok, "the  thé\nx</s>a", true) {
		got = append(got, tok.Piece(id))
	}
	want := []string{"<s>", "▁the", "▁", "▁t", "h", "é", "\n", "<0x78>", "</s>", "▁", "a"}
	if len(got) != len(want) {
		t.Fatalf("pieces %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("pieces %q, want %q", got, want)
		}
	}
}
