package weights

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/quant"
)

// readAll asks a source for all that it has.
func readAll(t *testing.T, src Source) {
	t.Helper()
	for _, name := range src.Names() {
		src.Tensor(name)
		m, err := src.Matrix(strings.TrimSuffix(name, ".weight"))
		if err != nil {
			continue
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		m.Row(make([]float32, m.Cols), m.Rows-1)
	}
}

// packedFolder is a valid folder with a quantized, a dense and a 1-dimensional
// tensor, and experts one by one: the content of its files by name, which hold
// about shard bytes each.
func packedFolder(t testing.TB, shard int64) map[string][]byte {
	t.Helper()
	values := make([]float32, 4*64)
	for i := range values {
		values[i] = float32(i%17) / 16
	}
	m, err := quant.QuantizeAffine(values, 4, 64, 4, 32, quant.F16, quant.RuleMetal)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(name string, dtype quant.DType, data []byte, shape ...int) Entry {
		return Entry{name, dtype, shape, func() ([]byte, error) { return data, nil }}
	}
	entries := []Entry{entry("model.embed_tokens.weight", quant.BF16, make([]byte, 64), 4, 8), entry("model.norm.weight", quant.F32, make([]byte, 32), 8)}
	for _, at := range []string{"lm_head", "model.layers.0.mlp.experts.0.up_proj", "model.layers.0.mlp.experts.1.up_proj"} {
		entries = append(entries, entry(at+".weight", quant.U32, m.Data, 4, 8), entry(at+".scales", quant.F16, m.Scales, 4, 2), entry(at+".biases", quant.F16, m.Biases, 4, 2))
	}
	for i := range 3 {
		entries = append(entries, entry(fmt.Sprintf("model.layers.1.block_sparse_moe.experts.%d.w2.weight", i), quant.BF16, make([]byte, 16), 2, 4))
	}
	dir := t.TempDir()
	if err := WriteModel(dir, entries, ModelOptions{MaxShardBytes: shard}); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{configName: []byte(`{"quantization": {"bits": 4, "group_size": 32, "model.embed_tokens": false}}`)}
	written, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range written {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func writeFolder(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpoiledFolder cuts and changes each file of a model folder in turn.
func TestSpoiledFolder(t *testing.T) {
	files := packedFolder(t, 600)
	if len(files) < 4 {
		t.Fatalf("only %d files", len(files))
	}
	dir := t.TempDir()
	writeFolder(t, dir, files)
	src, err := Open(dir)
	if err != nil {
		t.Fatalf("it is refused as it is: %v", err)
	}
	for stack, shape := range map[string][]int{"model.layers.0.mlp.switch_mlp.up_proj": {2, 4, 64}, "model.layers.1.block_sparse_moe.switch_mlp.down_proj": {3, 2, 4}} {
		if m, err := src.Matrix(stack); err != nil || !slices.Equal(m.Shape(), shape) {
			t.Fatalf("%s as it is: %v, %v", stack, m, err)
		}
	}
	src.Close()
	opened := 0
	for name, valid := range files {
		path := filepath.Join(dir, name)
		spoil.Each(t, valid, spoil.Limit{Places: 40, Bytes: 4 << 20}, func(t *testing.T, spoiled []byte) {
			if err := os.WriteFile(path, spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			src, err := Open(dir)
			if err != nil {
				if !strings.Contains(err.Error(), dir) {
					t.Errorf("%s: error %q does not name the file", name, err)
				}
				return
			}
			opened++
			readAll(t, src)
			src.Close()
		})
		writeFolder(t, dir, map[string][]byte{name: valid})
	}
	t.Logf("%d spoiled folders could be opened", opened)
}

// TestSpoiledGGUF does the same to GGUF files, of a dense model and of experts.
func TestSpoiledGGUF(t *testing.T) {
	g := smallGGUF("llama", ggufPair{"tokenizer.ggml.tokens", []string{"a", "b"}})
	g.tensors = append(g.tensors, ggufSpec{"blk.0.ffn_up.weight", 2, []int{4, 32}, -1, 72}, ggufSpec{"output.weight", 14, []int{1, 256}, -1, 210})
	path := filepath.Join(t.TempDir(), "model.gguf")
	for _, b := range []ggufBuilder{g, expertGGUF("qwen3moe")} {
		spoil.Each(t, b.file(), spoil.Limit{Places: 150, Bytes: 4 << 20}, func(t *testing.T, spoiled []byte) {
			if err := os.WriteFile(path, spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			src, err := OpenGGUF(path)
			if err != nil {
				return
			}
			readAll(t, src)
			src.Close()
		})
	}
}

// TestNamesThatClimbOut: what an index names is never opened outside of the folder,
// not even looked for there.
func TestNamesThatClimbOut(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "model")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := rawSafetensors(`{"secret.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4)
	writeFolder(t, parent, map[string][]byte{"model-x.safetensors": secret})
	for _, name := range []string{"../model-x.safetensors", filepath.Join(parent, "model-x.safetensors"), `..\model-x.safetensors`, "x/../../model-x.safetensors"} {
		writeFolder(t, dir, map[string][]byte{
			configName:          []byte("{}"),
			"model.safetensors": rawSafetensors(`{"a.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
			indexName:           fmt.Appendf(nil, `{"weight_map": {"a.weight": "model.safetensors", "secret.weight": %q}}`, name),
		})
		src, err := Open(dir)
		if err == nil {
			if _, ok := src.Tensor("secret.weight"); ok {
				t.Errorf("%s: a file outside of the folder was read", name)
			}
			src.Close()
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), indexName) {
			t.Errorf("%s: error %v does not name the index", name, err)
		}
	}
}

// TestHugeCounts: counts and sizes that a file has no room for are refused before
// anything is allocated for them.
func TestHugeCounts(t *testing.T) {
	g := smallGGUF("qwen2")
	file := g.file()
	path := filepath.Join(t.TempDir(), "model.gguf")
	// Tensor and metadata counts, length of the first key: places that the format fixes.
	for _, at := range []int{8, 16, 24} {
		for _, n := range []uint64{1 << 20, 1 << 32, 1 << 62, 1<<64 - 1} {
			spoiled := append([]byte(nil), file...)
			binary.LittleEndian.PutUint64(spoiled[at:], n)
			if err := os.WriteFile(path, spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			allocated := testing.AllocsPerRun(1, func() {
				if _, err := OpenGGUF(path); err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("%d at byte %d: error %v", n, at, err)
				}
			})
			if allocated > 1000 {
				t.Errorf("%d at byte %d: %v allocations", n, at, allocated)
			}
		}
	}
}

// FuzzFolder opens a whole folder of foreign files.
func FuzzFolder(f *testing.F) {
	const shard = "model.safetensors"
	files := packedFolder(f, 0)
	dir := f.TempDir()
	writeFolder(f, dir, files)
	src, err := Open(dir)
	if err != nil || len(files) != 3 || len(src.Names()) != 9 {
		f.Fatalf("the seed is refused: %v", err)
	}
	src.Close()
	f.Add(files[configName], files[indexName], files[shard])
	f.Add([]byte(`{"quantization": {"bits": 4, "group_size": 32}}`), []byte(`{"weight_map": {"a": "../b"}}`), rawSafetensors(`{"a.weight":{"dtype":"U32","shape":[1,4],"data_offsets":[0,16]},"a.scales":{"dtype":"F32","shape":[1,1],"data_offsets":[16,20]},"a.biases":{"dtype":"F32","shape":[1,1],"data_offsets":[20,24]}}`, 24))
	f.Fuzz(func(t *testing.T, config, index, tensors []byte) {
		dir := t.TempDir()
		writeFolder(t, dir, map[string][]byte{configName: config, indexName: index, shard: tensors})
		src, err := Open(dir)
		if err != nil {
			return
		}
		defer src.Close()
		readAll(t, src)
	})
}
