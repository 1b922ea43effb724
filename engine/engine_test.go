package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/tokenizer"
)

const question = "What is fibre good for?"

// folder writes the demo's base model, which has a tokenizer and a chat template.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "model")
}

// open opens a model for the time of the test.
func open(t *testing.T, name string, o engine.Options) *engine.Engine {
	t.Helper()
	o.Threads = 1
	e, err := engine.Open(t.Context(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// answer asks the question.
func answer(t *testing.T, e *engine.Engine) string {
	t.Helper()
	text, last, err := e.Answer(t.Context(), question, generate.Options{MaxTokens: 12})
	if err != nil || text == "" || last.Finish == "" {
		t.Fatalf("%q, finish %q, %v", text, last.Finish, err)
	}
	return text
}

// write makes a file.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a text in a file.
func edit(t *testing.T, path, was, is string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), was) {
		t.Fatalf("%s has no %q: %v", path, was, err)
	}
	write(t, path, strings.ReplaceAll(string(text), was, is))
}

// TestFolderAndFile: a folder and a GGUF file of the same weights have the same prompts, and one answer each.
func TestFolderAndFile(t *testing.T) {
	dir := folder(t)
	files, err := engine.OpenFiles(t.Context(), dir, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	path := filepath.Join(t.TempDir(), "model.gguf")
	f16, err := export.ParseGGUFType("F16")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := export.GGUF(files.Source, files.Tokenizer, export.GGUFOptions{Path: path, Type: f16}); err != nil {
		t.Fatal(err)
	}
	of := map[string]*engine.Engine{"folder": open(t, dir, engine.Options{}), "file": open(t, path, engine.Options{})}
	messages := []chat.Value{chat.NewMessage("user", question)}
	want, err := of["folder"].Prompt(messages, engine.PromptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range of {
		if got, err := e.Prompt(messages, engine.PromptOptions{}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: prompt %v, %v, want %v", name, got, err, want)
		}
		if first, again := answer(t, e), answer(t, e); first != again {
			t.Errorf("%s: %q, then %q to the same question", name, first, again)
		}
	}
	if tok, err := engine.OpenTokenizer(t.Context(), path, engine.Options{}); err != nil || !slices.Equal(encode(t, tok, question, false), encode(t, files.Tokenizer, question, false)) {
		t.Errorf("the tokenizer of the file: %v", err)
	}
}

// TestLoadKeepsFiles: files serve several engines, one after the other.
func TestLoadKeepsFiles(t *testing.T) {
	files, err := engine.OpenFiles(t.Context(), folder(t), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	var answers []string
	for range 2 {
		e, err := files.Load(t.Context(), engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer(t, e))
		e.Close()
	}
	if answers[0] != answers[1] {
		t.Errorf("answers %q", answers)
	}
}

func TestPrompt(t *testing.T) {
	e := open(t, folder(t), engine.Options{})
	user, said := chat.NewMessage("user", "Hi"), chat.NewMessage("assistant", "Good day")
	text := func(o engine.PromptOptions, messages ...chat.Value) string {
		t.Helper()
		text, err := e.Render(messages, o)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := e.Prompt(messages, o)
		if err != nil || decode(t, e.Tokenizer, tokens, false) != text {
			t.Errorf("tokens of %q are those of %q, %v", text, decode(t, e.Tokenizer, tokens, false), err)
		}
		return text
	}
	asked, opened := text(engine.PromptOptions{}, user), text(engine.PromptOptions{ContinueFinal: true}, user, said)
	if !strings.HasSuffix(opened, "Good day") || !strings.HasPrefix(opened, asked) {
		t.Errorf("to be continued: %q, asked: %q", opened, asked)
	}
	if closed := text(engine.PromptOptions{}, user, said); !strings.HasPrefix(closed, opened) || closed == opened {
		t.Errorf("a whole turn: %q", closed)
	}
	if plain := plainly(t, e, "Hi"); decode(t, e.Tokenizer, plain, false) == asked || !strings.Contains(decode(t, e.Tokenizer, plain, false), "Hi") {
		t.Errorf("plain: %q", decode(t, e.Tokenizer, plain, false))
	}
}

// TestTemplate gives the model templates of its own: one with a variable, one that is broken, none at all.
func TestTemplate(t *testing.T) {
	messages := []chat.Value{chat.NewMessage("user", "Hi")}
	with := func(template string) *engine.Engine {
		t.Helper()
		dir := folder(t)
		edit(t, filepath.Join(dir, "tokenizer_config.json"), `"chat_template"`, `"former_template"`)
		if template != "" {
			write(t, filepath.Join(dir, "chat_template.jinja"), template)
		}
		return open(t, dir, engine.Options{})
	}
	kwargs := jinja.NewDict()
	kwargs.Set("mood", "merry")
	if got, err := with("{{ mood }} {{ messages[0].content }}").Render(messages, engine.PromptOptions{Kwargs: kwargs}); err != nil || got != "merry Hi" {
		t.Errorf("with a variable: %q, %v", got, err)
	}
	var mistake *fault.Mistake
	if _, err := with("{% if %}").Prompt(messages, engine.PromptOptions{}); !errors.As(err, &mistake) {
		t.Errorf("a broken template: %v", err)
	}
	if _, _, err := with("{% if %}").Answer(t.Context(), "Hi", generate.Options{}); !errors.As(err, &mistake) {
		t.Errorf("a question by a broken template: %v", err)
	}
	none := with("")
	if template, err := none.Template(); template != nil || err != nil {
		t.Errorf("no template: %v, %v", template, err)
	}
	if _, err := none.Prompt(messages, engine.PromptOptions{}); !errors.Is(err, chat.ErrNoTemplate) || !errors.As(err, &mistake) {
		t.Errorf("a conversation without a template: %v", err)
	}
	if _, last, err := none.Answer(t.Context(), "Hi", generate.Options{MaxTokens: 3}); err != nil || last.Finish == "" {
		t.Errorf("a question without a template: %+v, %v", last, err)
	}
}

// TestStops: the generation config, the config and the tokenizer may each name another end.
func TestStops(t *testing.T) {
	dir := folder(t)
	generation := filepath.Join(dir, "generation_config.json")
	stops := func(extra ...string) []int32 {
		t.Helper()
		ids, err := open(t, dir, engine.Options{}).Stops(extra...)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	own := stops()
	if len(own) == 0 {
		t.Fatal("nothing ends an answer")
	}
	write(t, generation, `{"eos_token_id": [7, 9]}`)
	all := append([]int32{7, 9}, own...)
	if got := stops(); !slices.Equal(got, all) {
		t.Errorf("with a generation config: %v, want %v", got, all)
	}
	if got := stops("11", "e"); !slices.Equal(got[:len(all)+1], append(all, 11)) || len(got) != len(all)+2 {
		t.Errorf("and two more: %v", got)
	}
	for _, text := range []string{"{", `{"eos_token_id": null}`, `{}`} {
		write(t, generation, text)
		if got := stops(); !slices.Equal(got, own) {
			t.Errorf("generation config %q: %v, want %v", text, got, own)
		}
	}
	write(t, generation, `{"eos_token_id": [7, 9]}`)
	var config map[string]any
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	config["eos_token_id"] = []int{13, 7, -1}
	if text, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(text))
	eos, _ := open(t, dir, engine.Options{}).Tokenizer.EOS()
	if got, want := stops(), []int32{7, 9, 13, eos}; !slices.Equal(got, want) {
		t.Errorf("three files: %v, want %v", got, want)
	}
	for _, text := range []string{"no such token", "-1", "1000000", ""} {
		if _, err := open(t, dir, engine.Options{}).Stops(text); fault.SettingOf(err) != "extra_eos_token" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// savedAdapter makes an adapter for the model of a folder that changes its answers.
func savedAdapter(t *testing.T, dir string) string {
	t.Helper()
	base := open(t, dir, engine.Options{})
	if _, err := adapter.New(base.Model, adapter.Config{Rank: 2, Scale: 20, NumLayers: -1}, compute.NewKey(1)); err != nil {
		t.Fatal(err)
	}
	for _, l := range base.Model.Adapted() {
		for _, p := range l.Adapter.Params() {
			values := make([]float32, p.Shape().Elems())
			for i := range values {
				values[i] = 0.1 + 0.01*float32(i%7)
			}
			if err := base.Model.Device().Write(p.Buffer(), compute.FloatBytes(values)); err != nil {
				t.Fatal(err)
			}
		}
	}
	saved := t.TempDir()
	if err := adapter.Save(base.Model, saved); err != nil {
		t.Fatal(err)
	}
	if plain, tuned := answer(t, open(t, dir, engine.Options{})), answer(t, open(t, dir, engine.Options{Adapter: saved})); tuned != answer(t, base) || tuned == plain {
		t.Errorf("with the saved adapter %q, with that in memory %q, without %q", tuned, answer(t, base), plain)
	}
	return saved
}

// TestAdapter: an adapter changes the answers, and what is none is refused.
func TestAdapter(t *testing.T) {
	dir := folder(t)
	saved := savedAdapter(t, dir)
	none := filepath.Join(saved, "none")
	_, err := engine.Open(t.Context(), dir, engine.Options{Threads: 1, Adapter: none})
	if want := "--adapter-path " + none + ": there is no such folder\nTrain first, with --adapter-path " + none + "."; fault.SettingOf(err) != "adapter_path" || fault.Text(err, flag) != want {
		t.Errorf("no adapter: %v, want %s", err, want)
	}
	if _, err := engine.Open(t.Context(), dir, engine.Options{Threads: 1, Adapter: dir}); !errors.As(err, new(*fault.Mistake)) {
		t.Errorf("a folder without an adapter: %v", err)
	}
}

// TestWith: engines over the same weights answer each with its own adapter, at the same time, and outlive each other.
func TestWith(t *testing.T) {
	dir := folder(t)
	saved := savedAdapter(t, dir)
	plain, tuned := answer(t, open(t, dir, engine.Options{})), answer(t, open(t, dir, engine.Options{Adapter: saved}))
	e, err := engine.Open(t.Context(), dir, engine.Options{Threads: 2, Draft: dir})
	if err != nil {
		t.Fatal(err)
	}
	with, err := e.With(saved)
	if err != nil {
		t.Fatal(err)
	}
	without, err := with.With("")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for e, want := range map[*engine.Engine]string{e: plain, with: tuned, without: plain} {
		all.Go(func() {
			if got, _, err := e.Answer(t.Context(), question, generate.Options{MaxTokens: 12}); err != nil || got != want {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		})
	}
	all.Wait()
	e.Close()
	without.Close()
	if got := answer(t, with); got != tuned {
		t.Errorf("after the others were closed: %q, want %q", got, tuned)
	}
	if _, err := with.With(filepath.Join(saved, "none")); fault.SettingOf(err) != "adapter_path" {
		t.Errorf("no adapter: %v", err)
	}
	if _, err := with.With(dir); !errors.As(err, new(*fault.Mistake)) {
		t.Errorf("a folder without an adapter: %v", err)
	}
	with.Close()
}

// TestBatch: sessions of engines over the same weights, with a draft and without, answer in one batch what each
// answers alone.
func TestBatch(t *testing.T) {
	dir := folder(t)
	saved := savedAdapter(t, dir)
	e := open(t, dir, engine.Options{Draft: dir})
	with, err := e.With(saved)
	if err != nil {
		t.Fatal(err)
	}
	defer with.Close()
	prompt, err := e.Prompt([]chat.Value{chat.NewMessage("user", question)}, engine.PromptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := generate.NewBatch(generate.BatchOptions{RowWise: true})
	defer b.Close()
	var all sync.WaitGroup
	for e, want := range map[*engine.Engine]string{e: answer(t, e), with: answer(t, with)} {
		for range 3 {
			all.Go(func() {
				s, err := e.Session(engine.SessionOptions{Batch: b})
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				for _, again := range []string{"", ", asked again"} {
					got, last, err := s.Answer(t.Context(), prompt, generate.Options{MaxTokens: 12})
					if err != nil || got != want {
						t.Errorf("%q%s, %v, want %q", got, again, err, want)
					}
					if n := len(prompt) - 1; again != "" && last.Stats.CachedTokens != n {
						t.Errorf("%d tokens were cached%s, want %d", last.Stats.CachedTokens, again, n)
					}
				}
			})
		}
	}
	all.Wait()
}

func flag(s fault.Setting) string { return "--" + strings.ReplaceAll(string(s), "_", "-") }

// TestDraft: what a draft guesses changes no answer, and only a model with the same tokens can guess.
func TestDraft(t *testing.T) {
	dir := folder(t)
	want := answer(t, open(t, dir, engine.Options{}))
	e := open(t, dir, engine.Options{Draft: dir})
	s, err := e.Session(engine.SessionOptions{DraftTokens: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	prompt, err := e.Prompt([]chat.Value{chat.NewMessage("user", question)}, engine.PromptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, last, err := s.Answer(t.Context(), prompt, generate.Options{MaxTokens: 12})
	if err != nil || text != want || last.Stats.AcceptedTokens == 0 {
		t.Errorf("with itself as its draft %q, %+v, %v; without %q", text, last.Stats, err, want)
	}
	if got := answer(t, e); got != want {
		t.Errorf("in one call: %q, want %q", got, want)
	}
	for _, o := range []engine.SessionOptions{{DraftTokens: -1}, {DraftTokens: 1000}, {MaxKVSize: 50}} {
		if s, err := e.Session(o); !errors.As(err, new(*fault.Mistake)) {
			s.Close()
			t.Errorf("%+v: %v", o, err)
		}
	}
	other := folder(t)
	edit(t, filepath.Join(other, "tokenizer.json"), `"e":`, `"ee":`)
	for name, draft := range map[string]string{"other tokens": other, "nowhere": "./nowhere", "no model": t.TempDir()} {
		if _, err := engine.Open(t.Context(), dir, engine.Options{Threads: 1, Draft: draft}); fault.SettingOf(err) != "draft_model" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSessions: two sessions of one engine at the same time give what each gives alone.
func TestSessions(t *testing.T) {
	e := open(t, folder(t), engine.Options{})
	questions := []string{question, "Why eat lentils?"}
	ask := func(q string) string {
		text, _, err := e.Answer(t.Context(), q, generate.Options{MaxTokens: 12, Sampling: generate.Sampling{Temp: 0.7, XTCProbability: 0.5, XTCThreshold: 0.1}})
		if err != nil {
			t.Error(err)
		}
		return text
	}
	want := []string{ask(questions[0]), ask(questions[1])}
	got := make([]string, len(questions))
	var all sync.WaitGroup
	for i, q := range questions {
		all.Go(func() { got[i] = ask(q) })
	}
	all.Wait()
	if !slices.Equal(got, want) {
		t.Errorf("together %q, alone %q", got, want)
	}
}

// TestSessionOptions refuses what no session can do, and streams what Answer gives.
func TestSessionOptions(t *testing.T) {
	e := open(t, folder(t), engine.Options{})
	for _, o := range []engine.SessionOptions{{MaxKVSize: 3}, {KV: generate.KVBits{Bits: 7, Group: 64}}, {MaxKVSize: 50, KV: generate.KVBits{Bits: 8, Group: 32}}} {
		if s, err := e.Session(o); !errors.As(err, new(*fault.Mistake)) {
			s.Close()
			t.Errorf("%+v: %v", o, err)
		}
	}
	s, err := e.Session(engine.SessionOptions{MaxKVSize: 50, Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	prompt := plainly(t, e, question)
	want, _, err := s.Answer(t.Context(), prompt, generate.Options{MaxTokens: 6})
	if err != nil {
		t.Fatal(err)
	}
	var streamed strings.Builder
	for piece, err := range s.Stream(t.Context(), prompt, generate.Options{MaxTokens: 6}) {
		if err != nil {
			t.Fatal(err)
		}
		streamed.WriteString(piece.Text)
	}
	if streamed.String() != want {
		t.Errorf("streamed %q, in one piece %q", streamed.String(), want)
	}
	// An answer goes on over the model's own stops if there are to be none.
	if _, last, err := s.Answer(t.Context(), prompt, generate.Options{MaxTokens: 40, StopTokens: []int32{}}); err != nil || last.Stats.GenerationTokens != 40 {
		t.Errorf("without stops: %+v, %v", last.Stats, err)
	}
}

// TestOpenMistakes: nothing that can be asked for wrongly is the program's fault.
func TestOpenMistakes(t *testing.T) {
	dir := folder(t)
	file := filepath.Join(t.TempDir(), "text.gguf")
	write(t, file, "no model")
	empty := t.TempDir()
	for _, tt := range []struct {
		name    string
		o       engine.Options
		setting fault.Setting
		want    string
	}{
		{"", engine.Options{}, "model", "model is missing\nGive the folder"},
		{"./nowhere", engine.Options{}, "model", "model ./nowhere: there is no such folder or file\nGive a folder with config.json"},
		{filepath.Join(file, "x"), engine.Options{}, "model", "model: " + filepath.Join(file, "x") + ": a part of this path is a file"},
		{empty, engine.Options{}, "model", "model " + empty + ": there is no config.json in this folder\nGive a folder"},
		{file, engine.Options{}, "model", "model " + file + ": this is a file, and not a GGUF file\nGive a folder"},
		{dir, engine.Options{Threads: -1}, "threads", "threads -1: expected 0, for one per core, to 1024"},
		{dir, engine.Options{Threads: 1 << 20}, "threads", "threads 1048576: expected 0"},
		{dir, engine.Options{Device: "abacus"}, "device", "device abacus: expected auto or one of: "},
	} {
		e, err := engine.Open(t.Context(), tt.name, tt.o)
		if err == nil {
			e.Close()
		}
		if fault.SettingOf(err) != tt.setting || !strings.HasPrefix(fmt.Sprint(err), tt.want) {
			t.Errorf("%q %+v: %v, want %s", tt.name, tt.o, err, tt.want)
		}
	}
	if _, err := engine.OpenFiles(t.Context(), "./nowhere", engine.Options{}); fault.SettingOf(err) != "model" {
		t.Errorf("files: %v", err)
	}
	if _, err := engine.OpenTokenizer(t.Context(), file, engine.Options{}); fault.SettingOf(err) != "model" {
		t.Errorf("tokenizer: %v", err)
	}
}

// TestSpoiledConfig breaks config.json in many ways: each model opens or is refused by the user's mistake.
func TestSpoiledConfig(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a model hundreds of times")
	}
	dir := folder(t)
	path := filepath.Join(dir, "config.json")
	valid, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spoil.Each(t, valid, spoil.Limit{Places: 40, Bytes: 256 << 20}, func(t *testing.T, spoiled []byte) {
		if err := os.WriteFile(path, spoiled, 0o644); err != nil {
			t.Fatal(err)
		}
		e, err := engine.Open(context.Background(), dir, engine.Options{Threads: 1})
		switch {
		case err == nil:
			e.Close()
		case !errors.As(err, new(*fault.Mistake)) && !errors.Is(err, compute.ErrNoMemory):
			t.Errorf("%v is no mistake of the user's", err)
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

// plainly gives the tokens of a text that is no conversation.
func plainly(t testing.TB, e *engine.Engine, text string) []int32 {
	t.Helper()
	ids, err := e.Tokenizer.EncodePlain(text)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}
