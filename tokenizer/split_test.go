package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
)

var knownPatterns = map[string]string{
	"gpt2": patternGPT2, "llama3": patternLlama3, "qwen2": patternQwen2, "qwen35": patternQwen35,
	"tekken": patternTekken, "o200k": patternO200K,
}

// splitTexts holds one or more texts for each alternative of the patterns, and
// for what makes them backtrack.
var splitTexts = []string{
	"Hello, world! It's 2024; they'LL say 'sup'. don't'vE",
	"a  b   c\n\n  d \t\r\n e\u00a0\u3000f   ", " \n ", "  \n\n  x", "\u0085 x\ufeffy\u200bz", "\t\tif x {",
	"1234567 ٣٤٥٦ ½Ⅷ 1a2", "...!?\n\n//x /\r\n/ -- '\n", "'", "''s", "'s", "'ll'l'", "a's'T",
	"camelCaseWord HTTPServer ABCd aBCD XML2Json ÀÉî", "ǅungla ʰa ªb", "e\u0301 \u0301a \u0301\u0323 a\u0301B \u0301B",
	"中文字 日本語テキスト 한국어 ไม่ नि", "🙂👩‍👩‍👧 🇩🇪x", "#tag @user $100 _a_b -1 +x", "\x00\x1f", "\n/a /b\n",
	"Aʰ ABʰ ABʰc \u0301\u0301A", "ABªªC", "aªB", "\u1e9b\u0323 ﬁx", "",
}

// splitBoth splits a text by the scanner and by the regular expression.
func splitBoth(t *testing.T, name, text string) {
	t.Helper()
	// regexp2 does not fold U+017F to "s"; TestContractions checks that.
	text = strings.ReplaceAll(validUTF8(text), "ſ", "x")
	collect := func(find finder) (parts []string) {
		done := 0
		err := find(text, func(start, end int) {
			if start != done || end <= start {
				t.Fatalf("%s: %q: match %d:%d after %d", name, text, start, end, done)
			}
			parts = append(parts, text[start:end])
			done = end
		})
		if err != nil {
			t.Fatal(err)
		}
		if done != len(text) {
			t.Fatalf("%s: %q: stops at %d", name, text, done)
		}
		return parts
	}
	pattern := knownPatterns[name]
	got := collect(findScanned(knownScanner(pattern)))
	oracle, err := newRegex(pattern, regexLeast, regexPerByte)
	if err != nil {
		t.Fatal(err)
	}
	want := collect(oracle.find)
	if strings.Join(got, "\x01|") != strings.Join(want, "\x01|") {
		t.Errorf("%s: %q splits into %q, want %q", name, text, got, want)
	}
}

func TestScanners(t *testing.T) {
	t.Parallel()
	for name := range knownPatterns {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, text := range splitTexts {
				splitBoth(t, name, text)
			}
			r := rand.New(rand.NewPCG(1, 2))
			for range 500 {
				var b strings.Builder
				for range r.IntN(12) {
					pieces := []rune(splitTexts[r.IntN(len(splitTexts)-1)])
					at := r.IntN(len(pieces))
					b.WriteString(string(pieces[at:min(len(pieces), at+1+r.IntN(4))]))
				}
				splitBoth(t, name, b.String())
			}
		})
	}
}

func TestContractions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"'s": 2, "'T": 2, "'re": 3, "'vE": 3, "'LL": 3, "'d1": 2, "'ſ": 3, "'": 0, "'r": 0, "'la": 0, "s": 0, "'x": 0,
	} {
		if got := contraction(text, true); got != want {
			t.Errorf("contraction(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestClasses(t *testing.T) {
	t.Parallel()
	for r := range rune(unicode.MaxRune + 1) {
		if r >= 0xD800 && r < 0xE000 {
			continue
		}
		if got, n := classAt(string(r), 0); got != classify(r) || n != len(string(r)) {
			t.Fatalf("classAt(%U) = %b, %d, want %b", r, got, n, classify(r))
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, text := range splitTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name := range knownPatterns {
			splitBoth(t, name, text)
		}
	})
}
