// Package tokenizer turns text into token ids and back, exactly as the
// Hugging Face tokenizers library does for byte-pair-encoding models.
//
// A tokenizer is read from a model folder (Load), from the metadata of a GGUF
// file (FromGGUF), or made from text (Train); Save writes it as a folder that
// transformers and mlx-lm read.
//
// Encoding runs in five steps, each described by one part of tokenizer.json:
// added tokens are cut out of the text, the rest is normalized, split into
// words (the pre-tokenizer), each word is merged into tokens (the model), and
// special tokens are put around the result (the post-processor). Decoding is
// the decoder's chain of string rewrites, which Stream runs token by token.
//
// Two families are covered: byte-level BPE (GPT-2, Llama 3, Qwen, Mistral
// Tekken, SmolLM) and SentencePiece-style BPE with byte fallback (Llama 2,
// early Mistral, Gemma). A Tokenizer is safe for concurrent use.
//
// The file format is that of https://github.com/huggingface/tokenizers.
package tokenizer

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Tokenizer encodes text and decodes ids. The zero value is not usable.
type Tokenizer struct {
	def      definition
	model    *bpe
	norm     normalizer // nil: text is used as it is
	split    preTokenizer
	decoder  []stage
	added    addedTokens
	template []templateItem // what encoding with special tokens gives; nil for the text alone
	config   config

	dir      string    // folder it was loaded from; "" otherwise
	encoders sync.Pool // *encoder
}

// templateItem is one part of the result of encoding with special tokens: fixed ids, or
// the encoded text if ids is nil.
type templateItem struct{ ids []int32 }

// Encode returns the token ids of text. With addSpecial it also adds the special tokens of
// the post-processor, such as a BOS in front. The text of special tokens inside text
// becomes these tokens in either case. Invalid UTF-8 is read as U+FFFD. Encode fails if a
// regular expression of the tokenizer takes too long.
func (t *Tokenizer) Encode(text string, addSpecial bool) ([]int32, error) {
	text = validUTF8(text)
	e := t.encoders.Get().(*encoder)
	defer t.encoders.Put(e)

	e.out = e.out[:0]
	template := textOnly
	if addSpecial && t.template != nil {
		template = t.template
	}
	for _, item := range template {
		if item.ids != nil {
			e.out = append(e.out, item.ids...)
		} else if err := t.encodeText(e, text); err != nil {
			return nil, err
		}
	}
	return append(make([]int32, 0, len(e.out)), e.out...), nil
}

// textOnly is the template without special tokens.
var textOnly = []templateItem{{}}

// EncodePlain encodes a text that a model reads as it is, not as a message of a
// conversation: with special tokens, unless the text begins with the BOS itself.
func (t *Tokenizer) EncodePlain(text string) ([]int32, error) {
	bos, ok := t.BOS()
	return t.Encode(text, !ok || !strings.HasPrefix(text, t.Piece(bos)))
}

// encodeText appends the ids of text to e.out, without special tokens around.
func (t *Tokenizer) encodeText(e *encoder, text string) (err error) {
	t.added.raw.cut(text, func(part string, at int, id int32) {
		if err != nil {
			return
		}
		if id >= 0 {
			e.out = append(e.out, id)
			return
		}
		if t.norm != nil {
			if part, err = t.norm(part); err != nil {
				return
			}
		}
		t.added.normalized.cut(part, func(part string, atPart int, id int32) {
			if id >= 0 {
				e.out = append(e.out, id)
			} else if err == nil {
				err = t.encodePart(e, part, at == 0 && atPart == 0)
			}
		})
	})
	return err
}

// encodePart encodes normalized text without added tokens. first says that it is the
// beginning of the whole text.
func (t *Tokenizer) encodePart(e *encoder, part string, first bool) (err error) {
	e.words = append(e.words[:0], word{part, first})
	for _, step := range t.split.steps {
		e.spare, err = step(e.spare[:0], e.words)
		if err != nil {
			return err
		}
		e.words, e.spare = e.spare, e.words
	}
	for _, w := range e.words {
		t.model.encode(e, w.text)
	}
	return nil
}

// Piece returns the vocabulary's string for id, as it stands in
// tokenizer.json ("Ġhello", "▁hello", "<0x0A>"), or "" for an unknown id.
func (t *Tokenizer) Piece(id int32) string {
	if id < 0 || int(id) >= len(t.def.pieces) {
		return ""
	}
	return t.def.pieces[id]
}

// ID returns the id of a vocabulary string or added token.
func (t *Tokenizer) ID(piece string) (int32, bool) {
	id, ok := t.def.ids[piece]
	return id, ok
}

// VocabSize returns the number of ids, added tokens included: one more than
// the largest id. A model's embedding may have more rows.
func (t *Tokenizer) VocabSize() int { return len(t.def.pieces) }

// IsSpecial says whether id is a special token: it carries structure, not text, and Decode
// leaves it out on request.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.added.special) && t.added.special[id]
}

// HasThinking says whether the vocabulary has a pair of tokens that mark a model's
// reasoning. Chat templates of such models get enable_thinking=true unless the caller says
// otherwise.
func (t *Tokenizer) HasThinking() bool {
	for _, pair := range [][2]string{
		{"<think>", "</think>"},
		{"<longcat_think>", "</longcat_think>"},
		{"<|channel>", "<channel|>"},
	} {
		_, open := t.ID(pair[0])
		_, closed := t.ID(pair[1])
		if open && closed {
			return true
		}
	}
	return false
}

// validUTF8 replaces each maximal invalid sequence by U+FFFD, as the Unicode standard
// recommends and Python and Rust do. (strings.ToValidUTF8 would make one U+FFFD of a whole
// run.)
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			n = invalidLen(s)
			b.WriteRune(utf8.RuneError)
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// invalidLen returns the length of the maximal invalid sequence at the start
// of s: a proper prefix of some character, or a single byte.
func invalidLen(s string) int {
	n := 1
	for n < len(s) && n < utf8.UTFMax && isCharPrefix(s[:n+1]) {
		n++
	}
	return n
}

// isCharPrefix tells whether s is a proper prefix of a UTF-8 character.
func isCharPrefix(s string) bool {
	return len(s) > 0 && len(s) < utf8.UTFMax && !utf8.FullRuneInString(s)
}
