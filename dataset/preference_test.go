package dataset

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/spoil"
)

// TestPairs reads pairs in the forms that TRL takes.
func TestPairs(t *testing.T) {
	t.Parallel()
	const q, a, b = `{"role": "user", "content": "Q"}`, `{"role": "assistant", "content": "A"}`, `{"role": "assistant", "content": "B"}`
	for _, c := range []struct{ row, prompt, chosen, rejected string }{
		{`{"prompt": "Q", "chosen": "A", "rejected": "B"}`, q, a, b},
		{`{"prompt": "Q", "chosen": "A", "rejected": "B", "system": "S"}`, `{"role": "system", "content": "S"}, ` + q, a, b},
		{`{"prompt": "Q", "chosen": "[1]", "rejected": "[2]", "messages": 5}`, q, `{"role": "assistant", "content": "[1]"}`, `{"role": "assistant", "content": "[2]"}`},
		{`{"prompt": [` + q + `], "chosen": [` + a + `], "rejected": [` + b + `]}`, q, a, b},
		{`{"prompt": [` + q + `], "chosen": "A", "rejected": "B"}`, q, a, b},
		{`{"prompt": [` + q + `], "chosen": [` + q + `, ` + a + `], "rejected": [` + q + `, ` + b + `]}`, q, a, b},
		{`{"chosen": [` + q + `, ` + a + `], "rejected": [` + q + `, ` + b + `]}`, q, a, b},
		{`{"prompt": "Q", "chosen": [` + q + `, ` + a + `], "rejected": [` + q + `, ` + b + `]}`, q, a, b},
		{`{"chosen": [` + q + `, ` + a + `, ` + q + `, ` + a + `], "rejected": [` + q + `, ` + a + `, ` + q + `, ` + b + `]}`, q + ", " + a + ", " + q, a, b},
		{`{"prompt": [` + q + `], "chosen": [` + a + `, ` + q + `, ` + b + `], "rejected": [` + b + `]}`, q, a + ", " + q + ", " + b, b},
		{`{"chosen": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "rejected": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "B"}]}`, q, a, b},
	} {
		s, err := Load(writeFiles(t, map[string]string{"train.jsonl": c.row}), Options{Preference: true})
		if err != nil {
			t.Errorf("%s: %v", c.row, err)
			continue
		}
		row, err := s.Train.Row(0)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{c.prompt, c.chosen, c.rejected} {
			if got, _ := jinja.FormatJSON(jinja.NewList([][]chat.Value{row.Messages, row.Chosen, row.Rejected}[i]...)); got != "["+want+"]" {
				t.Errorf("%s: part %d is\n%s, want\n[%s]", c.row, i, got, want)
			}
		}
	}
	quoted := func(list string) string { return `"` + strings.ReplaceAll("["+list+"]", `"`, `""`) + `"` }
	for name, content := range map[string]string{
		"texts.csv":    "prompt,chosen,rejected\nQ,A,B\n",
		"messages.csv": "chosen,rejected\n" + quoted(q+", "+a) + "," + quoted(q+", "+b) + "\n",
		"rows.json":    `[{"prompt": "Q", "chosen": "A", "rejected": "B"}]`,
	} {
		s, err := Load(filepath.Join(writeFiles(t, map[string]string{name: content}), name), Options{Preference: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		row, err := s.Train.Row(0)
		if got, _ := jinja.FormatJSON(jinja.NewList(slices.Concat(row.Messages, row.Chosen, row.Rejected)...)); err != nil || got != "["+q+", "+a+", "+b+"]" {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestPairTexts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ chosen, rejected, prompt string }{
		{"Human: Q Assistant: yes", "Human: Q Assistant: no", "Human: Q Assistant:"},
		{"Q: über", "Q: üben", "Q: übe"},
		{"Q: é", "Q: è", "Q:"},
		{"QA", "QB", "Q"},
	} {
		row, err := (&Options{Preference: true, PromptFeature: "prompt"}).pair(pairOf(t, c.chosen, c.rejected))
		if err != nil || row.Text != c.prompt || row.Text+row.ChosenText != c.chosen || row.Text+row.RejectedText != c.rejected {
			t.Errorf("%+v: %+v, %v", c, row, err)
		}
	}
}

func pairOf(t *testing.T, chosen, rejected string) *jinja.Dict {
	t.Helper()
	d := jinja.NewDict()
	d.Set("chosen", chosen)
	d.Set("rejected", rejected)
	return d
}

func TestPairMistakes(t *testing.T) {
	t.Parallel()
	const q, a = `{"role": "user", "content": "Q"}`, `{"role": "assistant", "content": "A"}`
	for row, want := range map[string]string{
		`{"chosen": "one", "rejected": "two"}`:                                                      "have different prompts: the texts begin differently",
		`{"chosen": [` + q + `, ` + a + `], "rejected": [` + a + `]}`:                               "have different prompts: their first messages differ",
		`{"chosen": [` + a + `, ` + q + `], "rejected": [` + a + `, ` + a + `]}`:                    `they part at chosen[1], which is of the role "user"`,
		`{"prompt": "Q", "chosen": "A", "rejected": [` + a + `]}`:                                   "one of chosen and rejected is a text and the other a list",
		`{"prompt": "Q", "chosen": 5, "rejected": "B"}`:                                             `"chosen": expected a text or a list of messages`,
		`{"prompt": 5, "chosen": "A", "rejected": "B"}`:                                             `"prompt": expected a string, found 5`,
		`{"chosen": [{"content": "Q"}], "rejected": [` + q + `]}`:                                   `chosen[0]: no "role"`,
		`{"prompt": "Q", "completion": "A"}`:                                                        "set train_mode to sft",
		`{"prompt": "Q", "chosen": "A", "rejected": "B"}` + "\n" + `{"prompt": "Q", "chosen": "A"}`: `:2: expected the key "rejected"`,
	} {
		_, err := Load(writeFiles(t, map[string]string{"train.jsonl": row}), Options{Preference: true})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "train.jsonl:") {
			t.Errorf("%s: %v, want %q", row, err, want)
		}
	}
}

// TestPairsInVain: rows without anything to prefer are skipped, counted and named; a set of nothing else is refused.
func TestPairsInVain(t *testing.T) {
	t.Parallel()
	const q, a, b = `{"role": "user", "content": "Q"}`, `{"role": "assistant", "content": "A"}`, `{"role": "assistant", "content": ""}`
	tok := smallTokenizer(t, chatML)
	for row, why := range map[string]string{
		`{"prompt": "Q", "chosen": "A", "rejected": "A"}`:                                                                       "are the same",
		`{"chosen": "QA", "rejected": "QA"}`:                                                                                    "are the same",
		`{"chosen": [` + q + `, ` + a + `], "rejected": [` + q + `, ` + a + `]}`:                                                "are the same",
		`{"prompt": "Q", "chosen": "A", "rejected": " "}`:                                                                       "rejected answer is empty",
		`{"prompt": "Q", "chosen": "", "rejected": "B"}`:                                                                        "chosen answer is empty",
		`{"prompt": "Q", "chosen": null, "rejected": "B"}`:                                                                      "chosen answer is empty",
		`{"prompt": [` + q + `], "chosen": [` + a + `], "rejected": [` + b + `]}`:                                               "rejected answer is empty",
		`{"prompt": [` + q + `], "chosen": [], "rejected": [` + a + `]}`:                                                        "chosen answer is empty",
		`{"chosen": [` + q + `], "rejected": [` + q + `, ` + a + `]}`:                                                           "chosen answer is empty",
		`{"chosen": "Q", "rejected": "QA"}`:                                                                                     "chosen answer is empty",
		`{"chosen": "Q: ` + strings.Repeat("A", 60) + `B", "rejected": "Q: ` + strings.Repeat("A", 60) + `C", "prompt": "Q: "}`: "", // are cut before they part
	} {
		const good = `{"prompt": "Q", "chosen": "A", "rejected": "B"}` + "\n"
		for _, rows := range []string{row + "\n" + good + good, good + row + "\n" + good, good + good + row, row} {
			s, err := Load(writeFiles(t, map[string]string{"train.jsonl": rows}), Options{Preference: true})
			if err != nil {
				t.Errorf("%s: %v", rows, err)
				continue
			}
			line := 1 + strings.Count(rows[:strings.Index(rows, row)], "\n")
			if _, err := s.Train.Row(line - 1); why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
				t.Errorf("%s: %v, want %q", row, err, why)
			}
			list, err := encoder(t, tok, EncoderOptions{MaskPrompt: true, MaxSeqLength: 60}).Rows(s.Train)
			if err != nil {
				t.Fatal(err)
			}
			report, err := list.Prepare(t.Context(), nil)
			where := fmt.Sprintf("train.jsonl:%d", line)
			if rows == row {
				if err == nil || !strings.Contains(err.Error(), "no row is left: ") || !strings.Contains(err.Error(), where) {
					t.Errorf("%s alone: %v", row, err)
				}
				continue
			}
			if err != nil || list.Len() != 2 || report.Rows != 2 || report.Vain != 1 {
				t.Errorf("%s: %d rows, %+v, %v", rows, list.Len(), report, err)
				continue
			}
			w := report.Warnings()
			if !slices.ContainsFunc(w, func(n fault.Note) bool {
				return strings.Contains(n.String(), "1 row is skipped, as chosen") && strings.Contains(n.String(), where)
			}) {
				t.Errorf("%s: %v", rows, w)
			}
			for i := range list.Len() {
				if _, err := list.Item(i); err != nil {
					t.Errorf("%s: %v", rows, err)
				}
			}
		}
	}
}

// TestEncodePairs: what is learnt of both sides, in texts.
func TestEncodePairs(t *testing.T) {
	t.Parallel()
	tok := smallTokenizer(t, chatML)
	const open = "<|im_start|>user\nWhich?<|im_end|>\n<|im_start|>assistant\n"
	for _, c := range []struct {
		row              string
		mask             bool
		chosen, rejected string
	}{
		{`{"prompt": "Which?", "chosen": "Lupins.", "rejected": "Rice."}`, true, "Lupins.<|im_end|>\n", "Rice.<|im_end|>\n"},
		{`{"prompt": "Which?", "chosen": "Lupins.", "rejected": "Rice."}`, false, strings.TrimPrefix(open, "<|im_start|>") + "Lupins.<|im_end|>\n", "Rice.<|im_end|>\n"},
		{`{"chosen": "Which? Lupins.", "rejected": "Which? Rice."}`, true, " Lupins.<|im_end|>", " Rice.<|im_end|>"},
	} {
		s, err := Load(writeFiles(t, map[string]string{"train.jsonl": c.row}), Options{Preference: true})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: c.mask}).Rows(s.Train)
		if err != nil {
			t.Fatal(err)
		}
		item, err := rows.Item(0)
		if err != nil || item.Rejected == nil || item.Offset != item.Rejected.Offset || item.Offset == 0 {
			t.Fatalf("%s: %+v, %v", c.row, item, err)
		}
		for i, side := range []Item{item, *item.Rejected} {
			got := decode(t, tok, side.IDs[side.Loss[0][0]:side.Loss[0][1]], false)
			if want := []string{c.chosen, c.rejected}[i]; got != want {
				t.Errorf("%s, side %d: %q is learnt, want %q", c.row, i, got, want)
			}
		}
	}
	if _, err := NewEncoder(tok, nil, EncoderOptions{}).Encode(Row{Format: Preference, Messages: []chat.Value{pairOf(t, "", "")}}); err == nil || !strings.Contains(err.Error(), "chat template") {
		t.Errorf("without a template: %v", err)
	}
}

// TestPreparePairs: a pair goes if one of its answers is beyond the limit, and that is told.
func TestPreparePairs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("Lupins. ", 30)
	s := load(t, map[string]string{"train.jsonl": `{"chosen": "Which? Lupins.", "rejected": "Which? Rice. ` + long + `"}` + "\n" +
		`{"chosen": "` + long + `Yes", "rejected": "` + long + `No"}` + "\n" + `{"chosen": "Which? Lupins.", "rejected": "Which? Rice."}`}, Options{Preference: true})
	rows, err := encoder(t, smallTokenizer(t, chatML), EncoderOptions{MaskPrompt: true, MaxSeqLength: 24}).Rows(s.Train)
	if err != nil {
		t.Fatal(err)
	}
	report, err := rows.Prepare(t.Context(), nil)
	if err != nil || rows.Len() != 2 || report.Rows != 2 || report.NoLoss != 1 || report.Truncated != 2 || !strings.HasPrefix(report.String(), "train: 2 pairs, ") {
		t.Errorf("%+v, %v", report, err)
	}
	if w := report.Warnings(); len(w) != 2 || !strings.Contains(w[0].String(), "2 rows are longer than 24 tokens") {
		t.Errorf("%v", w)
	}
}

// TestSpoiledPairs cuts and changes a file of pairs.
func TestSpoiledPairs(t *testing.T) { // not parallel: it measures memory
	tok := smallTokenizer(t, chatML)
	for _, content := range []string{
		`{"prompt": "Which pulse?", "chosen": "Lupins é.", "rejected": "Rice."}` + "\n",
		`{"chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]}`,
		`{"chosen": "Which? Lüpins.", "rejected": "Which? Lùpins."}`,
	} {
		spoil.Each(t, []byte(content), spoil.Limit{Places: 40}, func(t *testing.T, spoiled []byte) {
			s, err := Load(writeFiles(t, map[string]string{"train.jsonl": string(spoiled)}), Options{Preference: true})
			if err != nil {
				if !strings.Contains(err.Error(), "train.jsonl") {
					t.Errorf("error %q does not name the file", err)
				}
				return
			}
			if rows, err := encoder(t, tok, EncoderOptions{}).Rows(s.Train); err == nil {
				for i := range rows.Len() {
					rows.Item(i)
				}
			}
		})
	}
}
