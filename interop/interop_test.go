// Package interop checks Lentil against what others make of the same files:
// transformers, mlx-lm and llama.cpp. Most tests compare with golden files that
// those peers wrote (see NOTES.md for how); the ones that run a peer are skipped by
// name when it is missing, or fail if LENTIL_REQUIRE_PEERS is 1.
package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// scratch holds what all tests of one run share: the built binary.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "lentil-interop-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// built builds the lentil command once and returns its path.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "lentil")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/lentil").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build ./cmd/lentil: %w\n%s", err, out)
	}
	return path, nil
})

// lentil runs the command and returns its standard output.
func lentil(t *testing.T, args ...string) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return command(t, exec.Command(path, args...))
}

func command(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out.Bytes(), problems.Bytes())
	}
	return out.String()
}

// peers are the programs that tests may ask for, and how to get them.
var peers = map[string]struct{ path, remedy string }{
	"mlx-lm":                {"../.interop/venv/stamp", "interop/venv.sh"},
	"datasets":              {"../.interop/datasets/stamp", "interop/datasets.sh"},
	"llama.cpp":             {"../.interop/node/node_modules/node-llama-cpp/package.json", "interop/llama.sh"},
	"SmolLM2":               {smolPath, "interop/llama.sh"},
	"TensorBoard":           {"../.interop/tensorboard/stamp", "interop/tensorboard.sh"},
	"MLX":                   {"../.interop/mlx/stamp", "interop/mlx.sh"},
	"clients":               {"../.interop/clients/stamp", "interop/clients.sh"},
	"OpenAI for JavaScript": {"../.interop/openai-js/node_modules/openai/package.json", "interop/clients.sh"},
	"frameworks":            {"../.interop/frameworks/stamp", "interop/clients.sh"},
	"browser":               {"../.interop/browser/node_modules/axe-core/package.json", "interop/browser.sh"},
}

const smolPath = "../.interop/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

// need skips the test when a peer is missing.
func need(t *testing.T, names ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a peer, which takes long")
	}
	for _, name := range names {
		if _, err := os.Stat(peers[name].path); err == nil {
			continue
		}
		missing(t, fmt.Sprintf("peer %s is missing: run %s", name, peers[name].remedy))
	}
}

// missing skips a test that lacks a peer, or fails it where all peers have to be there.
func missing(t *testing.T, text string) {
	t.Helper()
	if os.Getenv("LENTIL_REQUIRE_PEERS") == "1" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// mlx runs peer/mlxpeer.py in this folder and reads its answer into answer.
func mlx(t *testing.T, answer any, args ...string) {
	t.Helper()
	cmd := exec.Command("../.interop/venv/bin/python", append([]string{"peer/mlxpeer.py"}, args...)...)
	if err := json.Unmarshal([]byte(command(t, cmd)), answer); err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
}

// writeJSON puts v into a new file of the test's own folder.
func writeJSON(t *testing.T, name string, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// array is a tensor of a golden file.
type array struct {
	shape  []int
	data   []byte
	dtype  quant.DType
	values []float32 // of float types
}

func readArrays(t *testing.T, path string) map[string]array {
	t.Helper()
	f, err := weights.OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return arraysOf(f)
}

// readModel reads the tensors of a model folder, those of experts stacked.
func readModel(t *testing.T, folder string) map[string]array {
	t.Helper()
	src, err := weights.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	return arraysOf(src)
}

func arraysOf(f interface {
	Names() []string
	Tensor(name string) (weights.Tensor, bool)
}) map[string]array {
	out := map[string]array{}
	for _, name := range f.Names() {
		x, _ := f.Tensor(name)
		a := array{shape: x.Shape, data: bytes.Clone(x.Data), dtype: x.DType}
		switch x.DType {
		case quant.F32, quant.F16, quant.BF16:
			a.values = make([]float32, len(x.Data)/x.DType.Size())
			quant.Floats(a.values, x.Data, x.DType)
		}
		out[name] = a
	}
	return out
}

// device is one CPU device for the whole run: its workers are few.
var device = sync.OnceValues(func() (compute.Device, error) { return cpu.New(cpu.Options{}) })

// open loads a model in this process, with an adapter unless adapterPath is empty.
func open(t *testing.T, path, adapterPath string) *model.Model {
	t.Helper()
	dev, err := device()
	if err != nil {
		t.Fatal(err)
	}
	src, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	if adapterPath != "" {
		if err := adapter.Load(m, adapterPath); err != nil {
			t.Fatal(err)
		}
	}
	return m
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
