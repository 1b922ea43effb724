package interop

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tokenizer"
)

// ollama is a server of Ollama's for one test.
type ollama struct{ path, address string }

// startOllama starts the program that LENTIL_OLLAMA names, with models and settings
// in a folder of the test's own.
func startOllama(t *testing.T) ollama {
	t.Helper()
	o := ollama{path: os.Getenv("LENTIL_OLLAMA")}
	if o.path == "" {
		t.Skip("peer ollama is missing: name the program in LENTIL_OLLAMA")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.address = l.Addr().String()
	l.Close()
	home := t.TempDir()
	cmd := exec.Command(o.path, "serve")
	cmd.Env = append(os.Environ(), "OLLAMA_HOST="+o.address, "OLLAMA_MODELS="+filepath.Join(home, "models"), "HOME="+home, "OLLAMA_NO_CLOUD=1")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if t.Failed() {
			t.Logf("ollama serve:\n%s", log.Bytes())
		}
	})
	for range 100 {
		if r, err := http.Get("http://" + o.address); err == nil {
			r.Body.Close()
			return o
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("ollama serve does not answer")
	return o
}

// create makes a model of a Modelfile.
func (o ollama) create(t *testing.T, name, modelfile string) {
	t.Helper()
	cmd := exec.Command(o.path, "create", name, "-f", modelfile)
	cmd.Env = append(os.Environ(), "OLLAMA_HOST="+o.address, "HOME="+t.TempDir())
	command(t, cmd)
}

// ask posts a request to the server's API.
func (o ollama) ask(t *testing.T, path string, request map[string]any, answer any) {
	t.Helper()
	request["stream"] = false
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post("http://"+o.address+path, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(r.Body); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", path, r.Status, err, &text)
	}
	if err := json.Unmarshal(text.Bytes(), answer); err != nil {
		t.Fatalf("%s: %v: %s", path, err, &text)
	}
}

// ollamaTalks are conversations that a template has to write as the model's own does.
var ollamaTalks = map[string][]map[string]string{
	"a question":  {{"role": "user", "content": "Are lentils  rich in iron?"}},
	"with system": {{"role": "system", "content": "You know food."}, {"role": "user", "content": "Äpfel?"}},
	"three turns": {{"role": "user", "content": "One?"}, {"role": "assistant", "content": "1."}, {"role": "user", "content": "And\n\ntwo?"}},
	"everything": {{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One?"}, {"role": "assistant", "content": "1."},
		{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "2."}, {"role": "user", "content": "Three?"}},
}

// TestModelfileInOllama: Ollama makes models of the GGUF files and Modelfiles of
// lentil convert, writes conversations as the models' own chat templates do, and
// cuts them into the same tokens.
func TestModelfileInOllama(t *testing.T) {
	server := startOllama(t)
	for name, spec := range map[string]struct {
		kind  string
		vocab int
	}{
		"llama3_2": {"llama", 128256}, "qwen2_5": {"qwen2", 151936}, "mistral_nemo": {"mistral", 131072}, "chatml": {"qwen3", 520},
	} {
		t.Run(name, func(t *testing.T) {
			vocabulary := filepath.Join("..", "..", "shared", "tokenizers", name)
			if name == "chatml" {
				vocabulary = "testdata/tokenizer"
			}
			if _, err := os.Stat(vocabulary); err != nil {
				t.Skipf("shared test data %s is not here", vocabulary)
			}
			dir := modeltest.Write(t, modeltest.Spec{Type: spec.kind, Config: map[string]any{"vocab_size": spec.vocab}})
			if err := os.CopyFS(dir, os.DirFS(vocabulary)); err != nil {
				t.Fatal(err)
			}
			tok, err := tokenizer.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			server.sameTalks(t, name, dir, tok)
		})
	}
}

// sameTalks exports a model and compares what Ollama makes of conversations.
func (o ollama) sameTalks(t *testing.T, name, from string, tok *tokenizer.Tokenizer) {
	t.Helper()
	to := t.TempDir()
	lentil(t, "convert", "--model", from, "--gguf", "Q8_0", "--mlx-path", filepath.Join(to, "model.gguf"), "--ollama")
	o.create(t, name, filepath.Join(to, "Modelfile"))
	for title, talk := range ollamaTalks {
		messages := writeJSON(t, "messages.json", talk)
		want := lentil(t, "render", "--model", from, "--messages", messages, "--add-generation-prompt")
		ids := encode(t, tok, want, false)
		if bos, ok := tok.BOS(); ok && slices.Equal(encode(t, tok, "", true), []int32{bos}) { // Ollama puts it in front
			want = strings.TrimPrefix(want, tok.Piece(bos))
		}
		request := map[string]any{"model": name, "messages": talk, "options": map[string]any{"temperature": 0, "num_predict": 1}}
		var answer struct {
			Count int `json:"prompt_eval_count"`
			Debug struct {
				Text string `json:"rendered_template"`
			} `json:"_debug_info"`
		}
		request["_debug_render_only"] = true
		o.ask(t, "/api/chat", request, &answer)
		if answer.Debug.Text != want {
			t.Errorf("%s: Ollama writes\n%q, the model's template\n%q", title, answer.Debug.Text, want)
			continue
		}
		delete(request, "_debug_render_only")
		o.ask(t, "/api/chat", request, &answer)
		if answer.Count != len(ids) {
			t.Errorf("%s: Ollama counts %d tokens, %d are expected: %d", title, answer.Count, len(ids), ids)
		}
	}
}

// TestSmolLM2InOllama: Ollama continues a real model that Lentil exported as Lentil does.
func TestSmolLM2InOllama(t *testing.T) {
	need(t, "SmolLM2")
	server := startOllama(t)
	m, tok := smol(t)
	to := t.TempDir()
	lentil(t, "convert", "--model", smolPath, "--gguf", "Q4_1", "--mlx-path", filepath.Join(to, "model.gguf"), "--ollama")
	server.create(t, "smollm2", filepath.Join(to, "Modelfile"))
	server.sameTalks(t, "smollm2-q8", smolPath, tok)
	end, _ := tok.EOS()
	for _, question := range []string{"What is the capital of France?", "Name three foods that are rich in fiber.", "Why do we need vitamin C?"} {
		talk := []map[string]string{{"role": "user", "content": question}}
		prompt := lentil(t, "render", "--model", smolPath, "--messages", writeJSON(t, "m.json", talk), "--add-generation-prompt")
		var answer struct {
			IDs []int32 `json:"context"` // of the prompt and the answer
		}
		server.ask(t, "/api/generate", map[string]any{"model": "smollm2", "prompt": question, "options": map[string]any{"temperature": 0, "repeat_penalty": 1, "num_predict": 24}}, &answer)
		ids := encode(t, tok, prompt, false)
		if at := firstDifference(answer.IDs[:min(len(ids), len(answer.IDs))], ids); at >= 0 {
			t.Errorf("%q: token %d of the prompt is another: %d, expected %d", question, at, answer.IDs, ids)
			continue
		}
		theirs := answer.IDs[len(ids):]
		want := greedy(t, m, true, ids, len(theirs), end)
		if at := firstDifference(theirs, want.IDs); at >= 0 && at < len(want.Gaps) && want.Gaps[at] > byteNoise {
			t.Errorf("%q: token %d is %d, expected %d with a lead of %.4f", question, at, theirs[at], want.IDs[at], want.Gaps[at])
		} else {
			t.Logf("%q: %d tokens, first difference at %d: %q", question, len(theirs), at, decode(t, tok, theirs, true))
		}
	}
}
