package tokenizer

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const trainText = `The cat sat on the mat. The cat ate the rat; the rat had eaten the cheese.
A lentil has 9 g of protein per 100 g, and 8 g of fibre. Lentils, beans and peas are pulses.
Das Mädchen aß 12 Äpfel. 日本語のテキスト。 "Don't," she said, "you'll see." 🙂🙂
`

func trainSmall(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := Train(slices.Values([]string{strings.Repeat(trainText, 3), "<|im_end|>the the"}), TrainOptions{
		VocabSize:     380,
		SpecialTokens: []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"},
		BOS:           "<|im_start|>", EOS: "<|im_end|>", PAD: "<|endoftext|>",
		AddBOS:       true,
		ChatTemplate: "{{ messages }}",
	})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTrain(t *testing.T) {
	t.Parallel()
	tok := trainSmall(t)
	if tok.VocabSize() != 380 {
		t.Errorf("VocabSize() = %d, want 380", tok.VocabSize())
	}
	if eos, ok := tok.EOS(); !ok || eos != 2 || !tok.IsSpecial(eos) {
		t.Errorf("EOS() = %d, %t", eos, ok)
	}
	if got, ok := tok.ChatTemplate(true); !ok || got != "{{ messages }}" {
		t.Errorf("ChatTemplate = %q, %t", got, ok)
	}
	// The most frequent pair of the text is " t" (of "the", "that").
	if id, ok := tok.ID("Ġthe"); !ok || tok.Piece(id) != "Ġthe" {
		t.Errorf(`no token "Ġthe"`)
	}
	ids := encode(t, tok, trainText, true)
	if ids[0] != 1 {
		t.Errorf("first id %d, want BOS", ids[0])
	}
	if got := decode(t, tok, ids, true); got != trainText {
		t.Errorf("round trip: %q", got)
	}
	if len(ids) > len(trainText)*2/3 {
		t.Errorf("%d ids for %d bytes: nothing learnt", len(ids), len(trainText))
	}
	if got, want := encode(t, tok, "<|im_start|>", false), []int32{1}; !slices.Equal(got, want) {
		t.Errorf("special token: %v, want %v", got, want)
	}
}

// TestTrainByHand checks the merges of a text small enough to do on paper.
func TestTrainByHand(t *testing.T) {
	t.Parallel()
	// "ab" 6 times; then "abc" 4 times; then nothing occurs twice but "ca"
	// across words, which is no pair.
	text := "abc abc abc abc ab ab"
	tok, err := Train(slices.Values([]string{text}), TrainOptions{VocabSize: 300, Pattern: `[^ ]+| `})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range tok.def.orderedMerges() {
		got = append(got, tok.Piece(p.left)+"+"+tok.Piece(p.right))
	}
	if want := []string{"a+b", "ab+c"}; !slices.Equal(got, want) {
		t.Errorf("merges %v, want %v", got, want)
	}
	if tok.VocabSize() != 258 {
		t.Errorf("VocabSize() = %d, want 258", tok.VocabSize())
	}
}

func TestTrainOptionErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opt  TrainOptions
		want string
	}{
		"too small":     {TrainOptions{VocabSize: 100}, "VocabSize is 100, want 256"},
		"eos unknown":   {TrainOptions{VocabSize: 300, EOS: "</s>"}, `eos_token is "</s>"`},
		"twice":         {TrainOptions{VocabSize: 300, SpecialTokens: []string{"<a>", "<a>"}}, "SpecialTokens[1]"},
		"no bos":        {TrainOptions{VocabSize: 300, AddBOS: true}, "AddBOS"},
		"bad pattern":   {TrainOptions{VocabSize: 300, Pattern: "(a"}, "pre_tokenizer.pretokenizers[0].pattern"},
		"one character": {TrainOptions{VocabSize: 300, SpecialTokens: []string{"a"}}, "more than one character"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Train(slices.Values([]string{"a"}), c.opt)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestSaveTrained(t *testing.T) {
	t.Parallel()
	tok := trainSmall(t)
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "chat_template.jinja")
	if err := os.WriteFile(stale, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("chat_template.jinja of the old tokenizer is still there")
	}
	again, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", trainText, "the cat <|im_end|>\n\n x", "\x00\x01\"\\"} {
		if got, want := encode(t, again, text, true), encode(t, tok, text, true); !slices.Equal(got, want) {
			t.Errorf("Encode(%q) after Load = %v, want %v", text, got, want)
		}
	}
	if template, _ := again.ChatTemplate(false); template != "{{ messages }}" {
		t.Errorf("chat template %q", template)
	}
	if got, want := again.SpecialTokens(), tok.SpecialTokens(); len(got) != 3 || got["eos_token"] != want["eos_token"] {
		t.Errorf("special tokens %v, want %v", got, want)
	}

	// Training and writing are deterministic, and a loaded tokenizer is copied.
	third := filepath.Join(t.TempDir(), "copy")
	if err := again.Save(third); err != nil {
		t.Fatal(err)
	}
	fourth := filepath.Join(t.TempDir(), "again")
	if err := trainSmall(t).Save(fourth); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		first, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{third, fourth} {
			data, err := os.ReadFile(filepath.Join(other, name))
			if err != nil || !bytes.Equal(first, data) {
				t.Errorf("%s differs in %s (%v)", name, other, err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("folder has %v (%v), want two files", entries, err)
	}
}

func BenchmarkTrain(b *testing.B) {
	book, err := os.ReadFile(filepath.Join(sharedDir(b, "books"), "diet-and-health.txt"))
	if err != nil {
		b.Skip(err)
	}
	b.SetBytes(int64(len(book)))
	for b.Loop() {
		if _, err := Train(slices.Values([]string{string(book)}), TrainOptions{VocabSize: 4096}); err != nil {
			b.Fatal(err)
		}
	}
}
