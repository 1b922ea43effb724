package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	bookPath  = "../../shared/books/diet-and-health.txt"
	heldOut   = 8   // "At Last! How to Reduce": the chapter that is tested on
	rowLength = 700 // characters
)

var chapterHead = regexp.MustCompile(`\n\n\n\n(\d+)\n\n`)

// cutBook writes the book's paragraphs as rows of text: one chapter as test.jsonl,
// the first rows of the last as valid.jsonl, all others as train.jsonl.
func cutBook(t *testing.T, folder string) {
	t.Helper()
	data, err := os.ReadFile(bookPath)
	if os.IsNotExist(err) {
		t.Skipf("the book is missing: %s", bookPath)
	}
	if err != nil {
		t.Fatal(err)
	}
	body, _, _ := strings.Cut(strings.ReplaceAll(string(data), "\r\n", "\n"), "*** END OF")
	chapters := chapterHead.Split(body, -1)[1:]
	if len(chapters) != 13 {
		t.Fatalf("found %d chapters, the book has 13", len(chapters))
	}
	splits := map[string][]string{}
	for i, chapter := range chapters {
		rows := cutChapter(chapter)
		switch i + 1 {
		case heldOut:
			splits["test"] = rows
		case len(chapters):
			splits["valid"] = rows[:8]
		default:
			splits["train"] = append(splits["train"], rows...)
		}
	}
	for name, rows := range splits {
		var out []byte
		for _, text := range rows {
			line, err := json.Marshal(map[string]string{"text": text})
			if err != nil {
				t.Fatal(err)
			}
			out = append(append(out, line...), '\n')
		}
		if err := os.WriteFile(filepath.Join(folder, name+".jsonl"), out, 0o666); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d rows", name, len(rows))
	}
}

// cutChapter joins paragraphs, each on one line, to rows of about rowLength.
func cutChapter(chapter string) (rows []string) {
	row := ""
	for _, p := range strings.Split(chapter, "\n\n") {
		p = strings.Join(strings.Fields(p), " ")
		if p == "" || strings.HasPrefix(p, "[") { // side notes and pictures
			continue
		}
		if row != "" && len(row)+len(p) > rowLength {
			rows = append(rows, row)
			row = ""
		}
		row = strings.TrimPrefix(row+"\n"+p, "\n")
	}
	return append(rows, row)
}

// Proof 5, second half: 60 steps on a book make a real GGUF model better at the
// chapter it has not seen.
func TestBookLowersPerplexity(t *testing.T) {
	need(t, "SmolLM2")
	data, adapters := t.TempDir(), t.TempDir()
	cutBook(t, data)
	measure := func(adapters string) float64 {
		figures := filepath.Join(t.TempDir(), "figures.json")
		lentil(t, "lora", "--test", "--model", smolPath, "--adapter-path", adapters, "--data", data, "--json", figures,
			"--batch-size", "2", "--max-seq-length", "256")
		var got struct {
			PPL float64 `json:"test_ppl"`
		}
		readJSON(t, figures, &got)
		return got.PPL
	}
	before := measure("")
	out := lentil(t, "lora", "--train", "--model", smolPath, "--adapter-path", adapters, "--data", data, "--iters", "60",
		"--batch-size", "2", "--num-layers", "8", "--learning-rate", "2e-5", "--max-seq-length", "256")
	t.Log(out)
	after := measure(adapters)
	t.Logf("test perplexity %.2f before, %.2f after 60 steps", before, after)
	if !(after < 0.9*before) { // 0.83 was measured
		t.Errorf("test perplexity is %.2f before and %.2f after training", before, after)
	}
}
