package cli

import (
	"fmt"
	"os"
	"testing"

	"github.com/lentil-lm/lentil/book/pdf"
)

// TestMain keeps the tests off the network and away from the user's own cache and token.
func TestMain(m *testing.M) {
	pdf.Serve()
	home, err := os.MkdirTemp("", "lentil-cli-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for name, value := range map[string]string{
		"HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "", "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "",
		"HF_TOKEN_PATH": "", "HF_ENDPOINT": "http://127.0.0.1:9",
	} {
		os.Setenv(name, value)
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}
