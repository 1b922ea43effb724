package weights

import (
	"bytes"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

func fixedBytes(n int) func() ([]byte, error) {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7)
	}
	return func() ([]byte, error) { return data, nil }
}

// TestWriteGGUF reads back what was written: all kinds of metadata and types.
func TestWriteGGUF(t *testing.T) {
	t.Parallel()
	metadata := map[string]any{
		"general.architecture": "llama", "a.u8": uint8(200), "a.i8": int8(-100), "a.u16": uint16(60000), "a.i16": int16(-30000),
		"a.u32": uint32(4e9), "a.i32": int32(-2e9), "a.u64": uint64(1<<63 + 1), "a.i64": int64(-1 << 62), "a.f32": float32(0.1), "a.f64": 0.1,
		"a.bool": true, "a.string": "Linsen à la crème", "a.strings": []string{"one", "", "three"}, "a.none": []string{},
		"a.floats": []float32{0.5, -1.5}, "a.ints": []int32{1, -2, 3}, "a.bools": []bool{true, false}, "a.bytes": []uint8{1, 2, 255},
	}
	var tensors []GGUFEntry
	for n, kind := range ggufTypes {
		e := GGUFEntry{Name: "t" + string(rune('a'+n)), Type: GGUFType{DType: kind.dtype}, Shape: []int{3, 256}}
		if kind.dtype == 0 {
			e.Type.Block = kind.block
		}
		size, err := e.size()
		if err != nil {
			t.Fatal(err)
		}
		e.Bytes = fixedBytes(size)
		tensors = append(tensors, e)
	}
	tensors = append(tensors, GGUFEntry{"short", GGUFType{DType: quant.F32}, []int{3}, fixedBytes(12)}) // the last one is padded too
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := WriteGGUF(path, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, list, err := parseGGUF(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, metadata) {
		t.Errorf("metadata\n%v\nwant\n%v", got, metadata)
	}
	if len(list) != len(tensors) || len(file)%ggufAlignment != 0 {
		t.Fatalf("%d tensors in %d bytes", len(list), len(file))
	}
	for i, w := range tensors {
		kind, _ := w.Type.number()
		data, _ := w.Bytes()
		if g := list[i]; g.name != w.Name || g.kind != kind || !reflect.DeepEqual(g.shape, w.Shape) || !bytes.Equal(g.data, data) {
			t.Errorf("tensor %d: %s %d %v, want %s %d %v", i, g.name, g.kind, g.shape, w.Name, kind, w.Shape)
		}
	}
}

func TestWriteGGUFErrors(t *testing.T) {
	t.Parallel()
	f32 := GGUFType{DType: quant.F32}
	good := GGUFEntry{"x", f32, []int{3}, fixedBytes(12)}
	for _, test := range []struct {
		name     string
		metadata map[string]any
		tensors  []GGUFEntry
		want     string
	}{
		{"metadata of int", map[string]any{"k": 3}, nil, `metadata "k": a int`},
		{"list of int", map[string]any{"k": []int{3}}, nil, "list of int"},
		{"nil", map[string]any{"k": nil}, nil, `metadata "k"`},
		{"alignment", map[string]any{"general.alignment": uint32(64)}, nil, "general.alignment"},
		{"twice", nil, []GGUFEntry{good, good}, "taken"},
		{"type", nil, []GGUFEntry{{"x", GGUFType{DType: quant.F64}, []int{3}, fixedBytes(24)}}, "type F64"},
		{"rows", nil, []GGUFEntry{{"x", GGUFType{Block: quant.BlockQ4_0}, []int{2, 33}, fixedBytes(1)}}, "multiples of 32"},
		{"no dimension", nil, []GGUFEntry{{"x", f32, []int{0, 3}, fixedBytes(0)}}, "shape [0 3]"},
		{"size", nil, []GGUFEntry{{"x", f32, []int{3}, fixedBytes(13)}}, "takes 12 bytes, got 13"},
		{"source", nil, []GGUFEntry{{"x", f32, []int{3}, func() ([]byte, error) { return nil, errors.New("gone") }}}, "gone"},
	} {
		dir := t.TempDir()
		err := WriteGGUF(filepath.Join(dir, "x.gguf"), test.metadata, test.tensors)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: %v was left behind", test.name, left)
		}
	}
}

// TestReadBack: a file that is not what was written is found out, wherever it differs.
func TestReadBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.gguf")
	tensors := []GGUFEntry{{"a", GGUFType{Block: quant.BlockQ8_0}, []int{2, 32}, fixedBytes(68)}, {"b", GGUFType{DType: quant.F32}, []int{3}, fixedBytes(12)}}
	if err := WriteGGUF(path, map[string]any{"general.architecture": "llama"}, tensors); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := crc32.Checksum(file, castagnoli)
	if err := readBack(path, sum); err != nil {
		t.Error(err)
	}
	for at := range file {
		spoiled := bytes.Clone(file)
		spoiled[at] ^= 4
		if err := os.WriteFile(path, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readBack(path, sum); err == nil || !strings.Contains(err.Error(), "reading back") {
			t.Fatalf("byte %d of %d was changed: %v", at, len(file), err)
		}
	}
	if err := os.WriteFile(path, file[:len(file)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if readBack(path, sum) == nil {
		t.Error("a cut file was accepted")
	}
}

// TestWriteGGUFFault: bytes that change on their way to the disk are found before
// the file gets its name.
func TestWriteGGUFFault(t *testing.T) {
	t.Parallel()
	const large = 1 << 19 // numbers: more bytes than wait in memory before they are written
	dir := t.TempDir()
	path := filepath.Join(dir, "x.gguf")
	fault := func() ([]byte, error) {
		written, err := filepath.Glob(filepath.Join(dir, ".x.gguf.*.tmp"))
		if err != nil || len(written) != 1 {
			t.Fatalf("%v, %v", written, err)
		}
		f, err := os.OpenFile(written[0], os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte{0xff, 0xfe}, 4*large/2); err != nil {
			t.Fatal(err)
		}
		return make([]byte, 4), nil
	}
	err := WriteGGUF(path, map[string]any{"general.architecture": "llama"}, []GGUFEntry{
		{"a", GGUFType{DType: quant.F32}, []int{large}, fixedBytes(4 * large)}, {"b", GGUFType{DType: quant.F32}, []int{1}, fault},
	})
	if err == nil || !strings.Contains(err.Error(), "reading back") || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v was left", left)
	}
}
