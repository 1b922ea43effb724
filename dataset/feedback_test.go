package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// feedbackLines are lines of the chat page's feedback.
func feedbackLines(lines ...string) string {
	said := func(role, text string) string { return fmt.Sprintf(`[{"role":%q,"content":%q}]`, role, text) }
	var out []string
	for _, l := range lines {
		f := strings.Split(l, "|")
		prompt := `{"prompt":` + said("user", f[1])
		switch f[0] {
		case "vote":
			out = append(out, prompt+`,"completion":`+said("assistant", f[2])+`,"label":`+f[3]+`,"time":1}`)
		default:
			out = append(out, prompt+`,"chosen":`+said("assistant", f[2])+`,"rejected":`+said("assistant", f[3])+`,"by":"`+f[0]+`"}`)
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// rowTexts are the texts of a row: of its prompt, and of what follows.
func rowTexts(t *testing.T, r Row) string {
	t.Helper()
	all := Row{Messages: slices.Concat(r.Messages, r.Chosen, r.Rejected)}
	_, texts, err := all.Roles()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(texts, " ")
}

// TestFeedback: the last vote counts, corrections are good answers, pairs have a better and a worse answer to one question.
func TestFeedback(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("feedback.jsonl", feedbackLines(
		"vote|rice?|yes|true", "vote|rice?|no|false", "votes|rice?|yes|no", // a pair
		"vote|oats?|so|true", "vote|oats?|what|false", "votes|oats?|so|what", "vote|oats?|so|false", "vote|oats?|what|true", "votes|oats?|what|so", // the other way round, then
		"correction|eggs?|71 C|70 C", "correction|eggs?|72 C|70 C", // the second is what counts
		"vote|peas?|green|true",                          // alone
		"vote|figs?|sweet|true", "vote|figs?|sweet|null", // taken back
	))
	f, err := ReadFeedback(path)
	if err != nil || f.Votes != 9 || f.Corrections != 2 {
		t.Fatalf("%+v, %v", f, err)
	}
	pairs, valid := f.Rows(Preference, 0.1)
	if len(valid) != 0 {
		t.Errorf("%d rows for validation, of few questions", len(valid))
	}
	for i, want := range []string{"rice? yes no", "oats? what so", "eggs? 72 C 70 C"} {
		if i >= len(pairs) || rowTexts(t, pairs[i]) != want {
			t.Errorf("pair %d of %d: want %q", i, len(pairs), want)
		}
	}
	good, _ := f.Rows(Chat, 0)
	for i, want := range []string{"rice? yes", "oats? what", "eggs? 72 C", "peas? green"} {
		if i >= len(good) || rowTexts(t, good[i]) != want {
			t.Errorf("row %d of %d: want %q", i, len(good), want)
		}
	}
	if len(pairs) != 3 || len(good) != 4 {
		t.Errorf("%d pairs, %d good answers", len(pairs), len(good))
	}

	// The file itself teaches its pairs, and votes are skipped and counted.
	s, err := Load(path, Options{Preference: true})
	if err != nil || s.Train.Len() != 14 || len(s.Train.vain) != 9 {
		t.Errorf("%v rows, %v skipped: %v", s.Train.Len(), s.Train.vain, err)
	}
	if _, err := Load(path, Options{}); err == nil || !strings.Contains(err.Error(), "votes on answers") {
		t.Errorf("votes as rows to imitate: %v", err)
	}

	// A question with many answers has each of them in a pair, and not all pairs. From ten questions on some are for validation.
	var often []string
	for i := range 60 {
		often = append(often, fmt.Sprintf("vote|Hello|%d|%v", i, i%2 == 0))
	}
	if f, err = ReadFeedback(write("often.jsonl", feedbackLines(often...))); err != nil {
		t.Fatal(err)
	}
	pairs, _ = f.Rows(Preference, 0)
	texts := map[string]bool{}
	for _, row := range pairs {
		for _, text := range strings.Fields(rowTexts(t, row))[1:] {
			texts[text] = true
		}
	}
	if len(pairs) != 30*mostBeside || len(texts) != 60 {
		t.Errorf("%d pairs with %d answers", len(pairs), len(texts))
	}
	for n, want := range map[int]int{fewest - 1: 0, fewest: fewest} {
		var asked []string
		for i := range n {
			asked = append(asked, fmt.Sprintf("vote|%d?|good|true", i))
		}
		if f, err = ReadFeedback(write("few.jsonl", feedbackLines(asked...))); err != nil {
			t.Fatal(err)
		}
		if _, valid := f.Rows(Chat, 1); len(valid) != want {
			t.Errorf("of %d questions %d are for validation, want %d", n, len(valid), want)
		}
	}

	// What is written is read back, and stays together.
	var many []string
	for i := range 40 {
		q := fmt.Sprint("question ", i)
		many = append(many, "vote|"+q+"|good|true", "vote|"+q+"|bad|false", "vote|"+q+"|worse|false")
	}
	f, err = ReadFeedback(write("many.jsonl", feedbackLines(many...)))
	if err != nil {
		t.Fatal(err)
	}
	train, valid := f.Rows(Preference, 0.25)
	if len(train)+len(valid) != 80 || len(valid) < 4 || len(valid) > 40 || len(valid)%2 != 0 {
		t.Fatalf("%d and %d rows", len(train), len(valid))
	}
	out := filepath.Join(dir, "liked")
	if err := WriteRows(out, Preference, train, valid, false); err != nil {
		t.Fatal(err)
	}
	if s, err = Load(out, Options{Preference: true}); err != nil || s.Train.Len() != len(train) || s.Valid.Len() != len(valid) {
		t.Errorf("%v", err)
	}
	if err := WriteRows(out, Chat, good, nil, false); err != nil { // its own files
		t.Error(err)
	}
	if s, err = Load(out, Options{}); err != nil || s.Train.Len() != 4 || s.Valid.Len() != 0 {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(out, "train.jsonl"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteRows(out, Chat, good, nil, false); err == nil || !strings.Contains(err.Error(), "train.jsonl") {
		t.Errorf("a file of the user's: %v", err)
	}

	for text, want := range map[string]string{
		`{"a": 1}`: "neither a vote nor a pair",
		`{"prompt": [{"role": "user", "content": "x"}], "completion": [{"role": "assistant", "content": "y"}], "label": 3}`: `"label": expected true, false or null`,
		`{"prompt": "x", "completion": [], "label": true}`:                                                                  "prompt",
		"no JSON": "feedback.jsonl",
	} {
		if _, err := ReadFeedback(write("bad-feedback.jsonl", text+"\n")); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bad-feedback.jsonl:1") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
