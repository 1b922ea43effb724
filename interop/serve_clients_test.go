package interop

import (
	"os/exec"
	"strings"
	"testing"
)

// TestClients asks lentil serve through the Python clients of OpenAI, Anthropic and Ollama.
func TestClients(t *testing.T) {
	need(t, "clients")
	url, _ := served(t)
	out := command(t, exec.Command("../.interop/clients/bin/python", "peer/clients.py", url, "base+cook", "base"))
	if n := strings.Count(out, "ok "); n < 26 {
		t.Errorf("%d things went well:\n%s", n, out)
	}
	t.Log(out)
}
