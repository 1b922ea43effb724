package book

import (
	"fmt"
	"strings"
	"testing"
)

// count takes a word for a token.
func count(text string) int { return len(strings.Fields(text)) }

// checkChunks holds chunks to what their comments say.
func checkChunks(t *testing.T, d *Document, c Chunking) []Chunk {
	t.Helper()
	chunks := d.Chunks(c)
	text, at := d.Text(), 0
	for i := range chunks {
		k := &chunks[i]
		own := k.Own()
		if k.Offset != at || !strings.HasPrefix(text[at:], own) {
			t.Fatalf("chunk %d: %q is not the text at %d", i, own, at)
		}
		at += len(own)
		whole := false
		for _, b := range k.Blocks {
			whole = whole || d.Blocks[b].Kind == Table || d.Blocks[b].Kind == Recipe || d.Blocks[b].Kind == Heading
		}
		if n := c.Count(own); n > c.Tokens && !whole || k.Tokens != c.Count(k.Text) {
			t.Errorf("chunk %d has %d tokens of %d: %q", i, n, c.Tokens, own)
		}
		if last := &d.Blocks[k.Blocks[len(k.Blocks)-1]]; last.Kind == Heading && i < len(chunks)-1 {
			t.Errorf("chunk %d ends with a heading, %q", i, last.Text)
		}
	}
	if at != len(text) {
		t.Fatalf("the chunks have %d bytes of %d", at, len(text))
	}
	return chunks
}

func TestChunks(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	page.WriteString("<h1>Pulses</h1><h2>Peas</h2>")
	for i := range 6 {
		fmt.Fprintf(&page, "<p>Dr. Pea wrote sentence %d of it. It was not short, nor was it long! Was it?</p>", i)
	}
	page.WriteString("<h2>Beans</h2><table>" + strings.Repeat("<tr><td>broad beans<td>81</tr>", 20) + "</table><p>End of beans.</p><h1>Oats</h1><p>" + strings.Repeat("oats, rolled and ", 30) + "cut.</p>")
	d := mustOpen(t, "a.html", page.String())
	chunks := checkChunks(t, d, Chunking{Tokens: 24, Count: count})
	var got []string
	for _, c := range chunks {
		got = append(got, fmt.Sprintf("%d %.18q %s", c.Tokens, c.Text, strings.Join(c.Path, ">")))
	}
	same(t, strings.Join(got, "\n"), `19 "Pulses\n\nPeas\n\nDr. " 
17 "Dr. Pea wrote sent" Pulses>Peas
17 "Dr. Pea wrote sent" Pulses>Peas
17 "Dr. Pea wrote sent" Pulses>Peas
17 "Dr. Pea wrote sent" Pulses>Peas
17 "Dr. Pea wrote sent" Pulses>Peas
61 "Beans\n\nbroad beans" Pulses
3 "End of beans.\n\n" Pulses>Beans
23 "Oats\n\noats, rolled" 
24 "rolled and oats, r" Oats
21 "rolled and oats, r" Oats
24 "rolled and oats, r" Oats`)
	for i, c := range checkChunks(t, d, Chunking{Tokens: 24, Overlap: 12, Count: count}) {
		if i > 0 && i < 6 && (c.Overlap == 0 || !strings.HasPrefix(c.Text, "It was not short, nor was it long! Was it?\n\nDr.")) {
			t.Errorf("chunk %d: overlap of %d, %q", i, c.Overlap, c.Text)
		}
	}
	for tokens := range 40 {
		checkChunks(t, d, Chunking{Tokens: tokens + 1, Overlap: tokens / 3, Count: count})
	}
}

// TestChunksOfBook: a whole book loses nothing in chunks.
func TestChunksOfBook(t *testing.T) {
	t.Parallel()
	for _, ext := range []string{"epub", "pdf"} {
		d, err := Open(diet(t, ext))
		if err != nil {
			t.Fatal(err)
		}
		chunks := checkChunks(t, d, Chunking{Tokens: 300, Count: count})
		short := 0
		for _, c := range chunks {
			if c.Tokens < 30 {
				short++
			}
		}
		t.Logf("%s: %d chunks, %d of them shorter than 30 words", ext, len(chunks), short)
	}
}

func TestSentences(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"Mr. Smith ate 2.5 oz. of it. Then he slept.": 2, `"Why?" she asked. "No!" He left.`: 3, "See Fig. 2 and p. 12. It is J. R. Cook.": 2, "豆。米！": 2, "1. Soak them. 2. Boil.": 2, "": 0,
		"He came at 5 p.m. today.": 1, "Wait... What? (Yes.) So": 4,
	} {
		got := sentences(text)
		if len(got) != want || strings.Join(got, "") != text {
			t.Errorf("%q: %q, expected %d", text, got, want)
		}
	}
}
