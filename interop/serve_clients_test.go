package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestClients asks lentil serve through the clients that people have: those of OpenAI (Python, JavaScript, Go), Anthropic and
// Ollama, LangChain, LlamaIndex, and curl.
func TestClients(t *testing.T) {
	need(t, "clients", "frameworks", "OpenAI for JavaScript")
	url, _ := served(t)
	modules, err := filepath.Abs("../.interop/openai-js/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	golang := exec.Command("go", "run", ".", url, "base+cook", "base")
	golang.Dir = "openai-go"
	node := exec.Command("node", "peer/clients.mjs", url, "base+cook", "base")
	node.Env = append(os.Environ(), "OPENAI_MODULES="+modules)
	for _, c := range []struct {
		name string
		cmd  *exec.Cmd
		want int // things that go well
	}{
		{"Python", exec.Command("../.interop/clients/bin/python", "peer/clients.py", url, "base+cook", "base"), 26},
		{"frameworks", exec.Command("../.interop/frameworks/bin/python", "peer/frameworks.py", url, "base+cook"), 10},
		{"JavaScript", node, 10},
		{"Go", golang, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := command(t, c.cmd)
			if n := strings.Count(out, "ok "); n < c.want {
				t.Errorf("%d things went well, want %d:\n%s", n, c.want, out)
			}
			t.Log(out)
		})
	}
	t.Run("curl", func(t *testing.T) {
		body := `{"model": "base+cook", "messages": [{"role": "user", "content": "What is fibre good for?"}], "max_tokens": 20}`
		out := command(t, exec.Command("curl", "-sS", "--fail", url+"v1/chat/completions", "-H", "Content-Type: application/json", "-d", body))
		var reply struct {
			Choices []struct{ Message struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(out), &reply); err != nil || len(reply.Choices) != 1 || reply.Choices[0].Message.Content == "" {
			t.Errorf("%s: %v", out, err)
		}
		streamed := command(t, exec.Command("curl", "-sSN", "--fail", url+"v1/chat/completions", "-d", strings.TrimSuffix(body, "}")+`, "stream": true}`))
		if !strings.HasSuffix(strings.TrimSpace(streamed), "data: [DONE]") {
			t.Errorf("%s", streamed)
		}
		if out, err := exec.Command("curl", "-sS", "--fail", url+"v1/models", "-H", "Host: evil.example").CombinedOutput(); err == nil || !strings.Contains(string(out), "403") {
			t.Errorf("under another name: %v, %s", err, out)
		}
	})
}
