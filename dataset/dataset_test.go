package dataset

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/tokenizer"
)

const chatML = `{% if tools %}<|im_start|>tools
{{ tools | tojson }}<|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`

// smallTokenizer is trained on a few words, so that it has both joined tokens and single bytes.
func smallTokenizer(t testing.TB, template string) *tokenizer.Tokenizer {
	t.Helper()
	text := strings.Repeat("user assistant Which pulse has the most protein? Lupins have the most. ", 4)
	tok, err := tokenizer.Train(slices.Values([]string{text}), tokenizer.TrainOptions{
		VocabSize:     300,
		SpecialTokens: []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"},
		EOS:           "<|im_end|>", PAD: "<|endoftext|>", ChatTemplate: template,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func writeFiles(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t testing.TB, files map[string]string, opt Options) *Splits {
	t.Helper()
	s, err := Load(writeFiles(t, files), opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func encoder(t testing.TB, tok *tokenizer.Tokenizer, opt EncoderOptions) *Encoder {
	t.Helper()
	r, err := chat.NewRenderer(tok)
	if err != nil {
		t.Fatal(err)
	}
	return NewEncoder(tok, r, opt)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	s := load(t, map[string]string{
		"train.jsonl": "\xef\xbb\xbf{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": [{\"b\": 1, \"a\": 1.0}]}\r\n" +
			"\n  \n{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}]}",
		"val.jsonl": `{"text": "x", "prompt": "no completion"}`,
	}, Options{})
	if s.Train.Format != Chat || s.Train.Len() != 2 {
		t.Fatalf("train: %s, %d rows", s.Train.Format, s.Train.Len())
	}
	if got := s.Train.Where(1); !strings.HasSuffix(got, "train.jsonl:4") {
		t.Errorf("Where(1) = %s", got)
	}
	row, err := s.Train.Row(0)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := jinja.FormatJSON(row.Tools); got != `[{"b": 1, "a": 1.0}]` {
		t.Errorf("tools = %s", got)
	}
	if s.Valid.Format != Text || s.Valid.Len() != 1 {
		t.Errorf("valid: %s, %d rows", s.Valid.Format, s.Valid.Len())
	}
	if err := s.CheckTrain(); err != nil {
		t.Error(err)
	}
	if msg := s.ValidWarning(); msg != "" {
		t.Error(msg)
	}
	if s.Test.Len() != 0 {
		t.Errorf("test: %d rows", s.Test.Len())
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	renamed := Options{PromptFeature: "q", CompletionFeature: "a", ChatFeature: "talk", TextFeature: "body"}
	for _, c := range []struct {
		row  string
		opt  Options
		want Format
	}{
		{`{"prompt": "p", "completion": "c", "messages": 1, "text": 2}`, Options{}, Completions},
		{`{"prompt": "p", "messages": [{"role": "user"}], "text": 2}`, Options{}, Chat},
		{`{"prompt": "p", "text": "t"}`, Options{}, Text},
		{`{"q": "p", "a": "c", "text": "t"}`, renamed, Completions},
		{`{"talk": [{"role": "user", "content": null}]}`, renamed, Chat},
		{`{"body": "t", "q": 1}`, renamed, Text},
	} {
		s := load(t, map[string]string{"train.jsonl": c.row}, c.opt)
		if s.Train.Format != c.want {
			t.Errorf("%s: %s, want %s", c.row, s.Train.Format, c.want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	const ok = `{"text": "fine"}` + "\n"
	for _, c := range []struct {
		name, content string
		want          []string
	}{
		{"syntax", ok + ok + `{"text": }`, []string{"train.jsonl:3: invalid JSON at column 10", "'}'"}},
		{"array", "[\n{\"text\": \"a\"}\n]", []string{"train.jsonl:1", "JSON array"}},
		{"not an object", `"text"`, []string{"train.jsonl:1: expected a JSON object"}},
		{"unknown keys", `{"question": "a", "answer": "b"}`, []string{"train.jsonl:1: unknown row format", `["question" "answer"]`, "prompt_feature"}},
		{"other format later", ok + `{"messages": []}`, []string{"train.jsonl:2", `"text"`, `["messages"]`}},
		{"type", `{"text": 5}`, []string{"train.jsonl:1", `"text": expected a string, found 5`}},
		{"no role", `{"messages": [{"content": "a"}]}`, []string{"train.jsonl:1: messages[0]", "role"}},
		{"no messages", `{"messages": []}`, []string{"train.jsonl:1: messages: the list is empty"}},
		{"tools", `{"messages": [{"role": "user"}], "tools": "x"}`, []string{"train.jsonl:1: tools: expected a list"}},
		{"UTF-16", "\xff\xfe{\x00", []string{"UTF-16", "UTF-8"}},
		{"gzip", "\x1f\x8b\x08", []string{"compressed"}},
		{"bad UTF-8", ok + "{\"text\": \"\xff\"}", []string{"train.jsonl:2", "0xff", "UTF-8"}},
		{"many", ok + strings.Repeat("{}\n", 8), []string{"train.jsonl:2", "train.jsonl:6", "3 more rows are wrong"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(writeFiles(t, map[string]string{"train.jsonl": c.content}), Options{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	if _, err := Load(filepath.Join(t.TempDir(), "mlx-community", "WikiSQL"), Options{}); err == nil || !strings.Contains(err.Error(), "train.jsonl") {
		t.Errorf("missing folder: %v", err)
	}
	s := load(t, map[string]string{"training.json": "{}", "test.jsonl": "\n"}, Options{})
	for _, c := range []struct {
		err  error
		want []string
	}{
		{s.CheckTrain(), []string{"Training set not found or empty. Must provide training set for fine-tuning.", "train.jsonl", "training.json"}},
		{s.CheckTest(), []string{"Test set not found or empty.", "has no rows"}},
		{fmt.Errorf("%s", s.ValidWarning()), []string{"Training will proceed without validation.", "validation.jsonl"}},
	} {
		for _, want := range c.want {
			if c.err == nil || !strings.Contains(c.err.Error(), want) {
				t.Errorf("error %v lacks %q", c.err, want)
			}
		}
	}
}

// TestEncode checks what is tokenised and what is learnt, format by format.
func TestEncode(t *testing.T) {
	t.Parallel()
	tok := smallTokenizer(t, chatML)
	const talk = `{"messages": [{"role": "user", "content": "Which pulse?"}, {"role": "assistant", "content": "Lupins."}]`
	const whole = "<|im_start|>user\nWhich pulse?<|im_end|>\n<|im_start|>assistant\nLupins.<|im_end|>\n"
	for _, c := range []struct {
		name, row string
		mask      bool
		text      string // what the tokens decode to
		learnt    string // what the loss tokens decode to
	}{
		{"chat", talk + "}", false, whole, strings.TrimPrefix(whole, "<|im_start|>")},
		{"chat masked", talk + "}", true, whole, "Lupins.<|im_end|>\n"},
		{"tools", talk + `, "tools": [{"n": 1.0}]}`, true, "<|im_start|>tools\n[{\"n\": 1.0}]<|im_end|>\n" + whole, "Lupins.<|im_end|>\n"},
		{"completions", `{"prompt": "Which pulse?", "completion": "Lupins."}`, false, whole, strings.TrimPrefix(whole, "<|im_start|>")},
		{"completions masked", `{"prompt": "Which pulse?", "completion": "Lupins."}`, true, whole, "Lupins.<|im_end|>\n"},
		{"text", `{"text": "The most protein"}`, false, "The most protein<|im_end|>", "he most protein<|im_end|>"},
		{"text with its end", `{"text": "The most<|im_end|>"}`, false, "The most<|im_end|>", "he most<|im_end|>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, compat := range []bool{false, true} {
				s := load(t, map[string]string{"train.jsonl": c.row}, Options{})
				rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: c.mask, CompatMLX: compat}).Rows(s.Train)
				if err != nil {
					t.Fatal(err)
				}
				item, err := rows.Item(0)
				if err != nil {
					t.Fatal(err)
				}
				if got := decode(t, tok, item.IDs, false); got != c.text {
					t.Errorf("text %q, want %q", got, c.text)
				}
				var learnt []int32
				for _, span := range item.Loss {
					learnt = append(learnt, item.IDs[span[0]:span[1]]...)
				}
				if got := decode(t, tok, learnt, false); got != c.learnt {
					t.Errorf("learnt %q, want %q", got, c.learnt)
				}
				if item.NotPrefix {
					t.Error("NotPrefix")
				}
			}
		})
	}
}

// TestNotPrefix has a template that opens the assistant's turn with a thinking block but writes answers without one.
func TestNotPrefix(t *testing.T) {
	t.Parallel()
	tok := smallTokenizer(t, strings.TrimSuffix(chatML, "{% endif %}")+"<think>\n{% endif %}")
	s := load(t, map[string]string{"train.jsonl": `{"prompt": "Which?", "completion": "Lupins."}`}, Options{})
	itemOf := func(compat bool) Item {
		rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: true, CompatMLX: compat}).Rows(s.Train)
		if err != nil {
			t.Fatal(err)
		}
		item, err := rows.Item(0)
		if err != nil {
			t.Fatal(err)
		}
		return item
	}
	item := itemOf(false)
	if got := decode(t, tok, item.IDs[item.Offset:], false); got != "Lupins.<|im_end|>\n" || !item.NotPrefix {
		t.Errorf("learnt %q, NotPrefix %t", got, item.NotPrefix)
	}
	prompt := encode(t, tok, "<|im_start|>user\nWhich?<|im_end|>\n<|im_start|>assistant\n<think>\n", false)
	if got := itemOf(true).Offset; got != len(prompt) {
		t.Errorf("mlx offset %d, want %d", got, len(prompt))
	}
}

// TestTextBOS: a text that begins with a BOS gets no second one in training, as in generate; mlx-lm puts one there.
func TestTextBOS(t *testing.T) {
	t.Parallel()
	tok, err := tokenizer.Train(slices.Values([]string{"a b"}), tokenizer.TrainOptions{
		VocabSize: 258, SpecialTokens: []string{"<s>", "</s>"}, BOS: "<s>", EOS: "</s>", AddBOS: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text   string
		compat bool
		want   string
	}{
		{"Lupins", false, "<s>Lupins</s>"}, {"<s>Lupins", false, "<s>Lupins</s>"}, {"<s>Lupins</s>", false, "<s>Lupins</s>"},
		{"Lupins", true, "<s>Lupins</s>"}, {"<s>Lupins", true, "<s><s>Lupins</s>"},
	} {
		item, err := NewEncoder(tok, nil, EncoderOptions{CompatMLX: test.compat}).Encode(Row{Format: Text, Text: test.text})
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, tok, item.IDs, false); got != test.want {
			t.Errorf("%q, compat %t: %q, want %q", test.text, test.compat, got, test.want)
		}
		prompt, err := tok.EncodePlain(test.text)
		if err != nil {
			t.Fatal(err)
		}
		if !test.compat && !slices.Equal(item.IDs[:len(prompt)], prompt) {
			t.Errorf("%q: trained on %v, but generate begins with %v", test.text, item.IDs, prompt)
		}
	}
}

// TestEmptyCompletion: what mlx-lm learns of a row without an answer is the padding behind it.
func TestEmptyCompletion(t *testing.T) {
	t.Parallel()
	tok := smallTokenizer(t, "{% for m in messages %}{{ m.content }}{% endfor %}")
	s := load(t, map[string]string{"train.jsonl": `{"prompt": "Which?", "completion": ""}`, "valid.jsonl": `{"prompt": "", "completion": ""}`}, Options{})
	for _, split := range []*Split{s.Train, s.Valid} {
		for _, compat := range []bool{false, true} {
			rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: true, CompatMLX: compat}).Rows(split)
			if err != nil {
				t.Fatal(err)
			}
			item, err := rows.Item(0)
			if err != nil {
				t.Fatal(err)
			}
			n := len(item.IDs)
			want := [][2]int(nil)
			if compat && n > 0 {
				want = [][2]int{{n, n}}
			}
			if !reflect.DeepEqual(item.Loss, want) {
				t.Errorf("%s, compat %t: loss %v of %d tokens, want %v", split.Name, compat, item.Loss, n, want)
			}
		}
	}
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	tok := smallTokenizer(t, chatML)
	long := strings.Repeat("xyzw", 100)
	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf(`{"prompt": "row %d", "completion": "Lupins."}`, i))
	}
	lines[7] = fmt.Sprintf(`{"prompt": "%s", "completion": "never reached"}`, long)
	lines[9] = fmt.Sprintf(`{"prompt": "short", "completion": "%s"}`, long)
	s := load(t, map[string]string{"train.jsonl": strings.Join(lines, "\n")}, Options{})
	const limit = 128
	prepare := func(compat bool) (*Rows, *Report) {
		rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: true, MaxSeqLength: limit, CompatMLX: compat}).Rows(s.Train)
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		rep, err := rows.Prepare(context.Background(), func(done, total int) {
			if calls++; done != calls || total != 40 {
				t.Errorf("progress(%d, %d) at call %d", done, total, calls)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows, rep
	}
	rows, rep := prepare(false)
	if rep.Rows != 39 || rows.Len() != 39 || rep.NoLoss != 1 || rep.Truncated != 2 || rep.Longest < 400 {
		t.Errorf("report %+v", rep)
	}
	binned := 0
	for _, n := range rep.Bins {
		binned += n
	}
	if n := len(rep.Bins); binned != rep.Rows+rep.NoLoss || n == 0 || n > maxBins || rep.Longest > n*rep.BinWidth || rep.Longest <= (n-1)*rep.BinWidth {
		t.Errorf("%d bins of %d hold %d of %d rows, the longest of %d tokens", n, rep.BinWidth, binned, rep.Rows, rep.Longest)
	}
	if rep.P50 > 40 || rep.P95 > 40 || rep.P50 > rep.P95 || rep.P50 == 0 {
		t.Errorf("percentiles %d, %d", rep.P50, rep.P95)
	}
	warnings := fmt.Sprint(rep.Warnings())
	for _, want := range []string{"2 rows are longer than 128 tokens", "train.jsonl:8", "1 row is without a token to learn", "raise max_seq_length"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("warnings %q lack %q", warnings, want)
		}
	}
	if got := rows.Where(7); !strings.HasSuffix(got, ":9") {
		t.Errorf("row 7 is %s, want line 9: line 8 is dropped", got)
	}
	sum, loss := 0, 0
	for i := range rows.Len() {
		item, err := rows.Item(i)
		if err != nil {
			t.Fatal(err)
		}
		sum += len(item.IDs)
		for _, span := range item.Loss {
			loss += max(0, min(span[1], limit)-span[0])
		}
	}
	if loss != rep.LossTokens || sum >= rep.Tokens {
		t.Errorf("rows have %d loss tokens of %d, the report says %d of %d", loss, sum, rep.LossTokens, rep.Tokens)
	}
	if rows, rep := prepare(true); rows.Len() != 40 || rep.NoLoss != 1 {
		t.Errorf("as mlx-lm: %d rows, %d without loss", rows.Len(), rep.NoLoss)
	}
}

func TestPrepareErrors(t *testing.T) {
	t.Parallel()
	tok := smallTokenizer(t, "{% if messages[0].content == 'bad' %}\n{{ raise_exception('no ' ~ messages[0].content) }}{% endif %}{{ messages[0].content }}")
	s := load(t, map[string]string{
		"train.jsonl": `{"prompt": "good", "completion": ""}` + "\n" + `{"prompt": "bad", "completion": ""}`,
		"valid.jsonl": `{"text": "a"}`,
	}, Options{})
	enc := encoder(t, tok, EncoderOptions{MaskPrompt: true})
	rows, err := enc.Rows(s.Train)
	if err != nil {
		t.Fatal(err)
	}
	_, err = rows.Prepare(context.Background(), nil)
	if err == nil || !strings.Contains(err.Error(), "train.jsonl:2: ") || !strings.Contains(err.Error(), "chat template: line 2: no bad") {
		t.Errorf("template error: %v", err)
	}
	if _, err := enc.Rows(s.Valid); err == nil || !strings.Contains(err.Error(), "Prompt masking not supported for text dataset.") {
		t.Errorf("masked text: %v", err)
	}
	if _, err := NewEncoder(tok, nil, EncoderOptions{}).Rows(s.Train); err == nil || !strings.Contains(err.Error(), "chat template") {
		t.Errorf("no template: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := rows.Prepare(ctx, nil); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	empty := load(t, map[string]string{"train.jsonl": `{"prompt": "good", "completion": ""}`}, Options{})
	rows, err = enc.Rows(empty.Train)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rows.Prepare(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "no row has a token to learn") {
		t.Errorf("nothing to learn: %v", err)
	}
}

// TestMLXOrder: mlx-lm sorts rows by their number of keys, by mistake; its order is kept under CompatMLX.
func TestMLXOrder(t *testing.T) {
	t.Parallel()
	s := load(t, map[string]string{"train.jsonl": `{"text": "1", "id": 1}
{"text": "2"}
{"text": "3", "id": 1}
{"text": "4"}`}, Options{})
	tok := smallTokenizer(t, chatML)
	for compat, want := range map[bool][]string{false: {"1", "2", "3", "4"}, true: {"2", "4", "1", "3"}} {
		rows, err := encoder(t, tok, EncoderOptions{CompatMLX: compat}).Rows(s.Train)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range rows.Len() {
			item, err := rows.Item(i)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, decode(t, tok, item.IDs, true))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("compat %t: %q, want %q", compat, got, want)
		}
	}
}

func TestFinalMessageOfUser(t *testing.T) {
	t.Parallel()
	tok := smallTokenizer(t, chatML)
	s := load(t, map[string]string{"train.jsonl": `{"messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Which?"}]}`}, Options{})
	rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: true}).Rows(s.Train)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := rows.Prepare(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := rep.Warnings(); len(w) != 1 || !strings.Contains(w[0].String(), `role "user"`) {
		t.Errorf("warnings %q", w)
	}
	item, _ := rows.Item(0)
	if got := decode(t, tok, item.IDs[item.Offset:], false); got != "<|im_start|>user\nWhich?<|im_end|>\n" {
		t.Errorf("learnt %q", got)
	}
}

// TestQwen encodes with a real tokenizer and its real template.
func TestQwen(t *testing.T) {
	t.Parallel()
	tok, err := tokenizer.Load(sharedDir(t, filepath.Join("tokenizers", "qwen2_5")))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := tok.ChatTemplate(false); !ok {
		t.Skip("the shared tokenizer has no chat template")
	}
	s := load(t, map[string]string{"train.jsonl": `{"messages": [{"role": "user", "content": "Zürich?"}, {"role": "assistant", "content": "21 °C"}]}`}, Options{})
	for _, compat := range []bool{false, true} {
		rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: true, CompatMLX: compat, Now: time.Unix(0, 0)}).Rows(s.Train)
		if err != nil {
			t.Fatal(err)
		}
		item, err := rows.Item(0)
		if err != nil {
			t.Fatal(err)
		}
		want := "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n" +
			"<|im_start|>user\nZürich?<|im_end|>\n<|im_start|>assistant\n21 °C<|im_end|>\n"
		if got := decode(t, tok, item.IDs, false); got != want {
			t.Errorf("text %q, want %q", got, want)
		}
		if got := decode(t, tok, item.IDs[item.Offset:], false); got != "21 °C<|im_end|>\n" || item.NotPrefix {
			t.Errorf("compat %t: learnt %q, NotPrefix %t", compat, got, item.NotPrefix)
		}
	}
}

// sharedDir returns a folder of shared test data beside the project, or skips the test.
func sharedDir(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working directory")
		}
	}
	dir = filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("shared test data %q is not here", name)
	}
	return dir
}

// FuzzLoad feeds files to Load and encodes what it accepts.
func FuzzLoad(f *testing.F) {
	f.Add(`{"text": "a"}` + "\n\n" + `{"text": "b"}`)
	f.Add(`{"messages": [{"role": "user", "content": null}, {"role": "assistant"}], "tools": []}`)
	f.Add(`{"prompt": "a", "completion": "b", "prompt": "c"}`)
	f.Add(`{"prompt": "a", "chosen": "b", "rejected": [{"role": "user"}]}`)
	tok := smallTokenizer(f, chatML)
	f.Fuzz(func(t *testing.T, content string) {
		s, err := Load(writeFiles(t, map[string]string{"train.jsonl": content}), Options{Preference: strings.Contains(content, chosenKey)})
		if err != nil {
			return
		}
		rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: s.Train.Format != Text}).Rows(s.Train)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows.Len() {
			item, err := rows.Item(i)
			if err != nil {
				continue
			}
			if other := item.Rejected; other != nil && other.Offset != item.Offset {
				t.Fatalf("row %d: answers begin at %d and %d", i, item.Offset, other.Offset)
			}
			for _, span := range item.Loss {
				if span[0] < 1 || span[0] >= span[1] || span[1] > len(item.IDs) {
					t.Fatalf("row %d: loss %v of %d tokens", i, item.Loss, len(item.IDs))
				}
			}
		}
	})
}

// encode and decode are those of the tokenizer, which must not fail.
func encode(t testing.TB, tok *tokenizer.Tokenizer, text string, addSpecial bool) []int32 {
	t.Helper()
	ids, err := tok.Encode(text, addSpecial)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func decode(t testing.TB, tok *tokenizer.Tokenizer, ids []int32, skipSpecial bool) string {
	t.Helper()
	text, err := tok.Decode(ids, skipSpecial)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
