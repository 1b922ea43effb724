package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

// rawSafetensors joins a header and data bytes into a file.
func rawSafetensors(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	return append(b, make([]byte, data)...)
}

func TestSafetensorsHeader(t *testing.T) {
	t.Parallel()
	const a = `"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`
	tests := []struct {
		name   string
		header string
		data   int
		want   string // "" for a good file
	}{
		{"good", `{` + a + `}`, 24, ""},
		{"spaces after", `{` + a + `}   `, 24, ""},
		{"null metadata", `{"__metadata__":null,` + a + `}`, 24, ""},
		{"metadata", `{"__metadata__":{"format":"mlx"},` + a + `}`, 24, ""},
		{"empty tensor", `{"e":{"dtype":"F32","shape":[0,3],"data_offsets":[24,24]},` + a + `}`, 24, ""},
		{"scalar", `{"s":{"dtype":"F16","shape":[],"data_offsets":[24,26]},` + a + `}`, 26, ""},
		{"fp8 as bytes", `{"s":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}`, 2, ""},
		{"metadata of numbers", `{"__metadata__":{"a":1},` + a + `}`, 24, "__metadata__"},
		{"not an object", `[1]`, 0, "not a JSON object"},
		{"broken", `{` + a + `,`, 24, "header at byte"},
		{"twice", `{` + a + `,` + a + `}`, 24, `"a" is in the header twice`},
		{"more after", `{` + a + `}{}`, 24, "goes on"},
		{"unknown dtype", `{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}`, 8, `tensor "a": dtype "C64"`},
		{"no dtype", `{"a":{"shape":[1],"data_offsets":[0,8]}}`, 8, "expected dtype"},
		{"no shape", `{"a":{"dtype":"F32","data_offsets":[0,8]}}`, 8, "expected dtype"},
		{"one offset", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}`, 8, "two data_offsets"},
		{"fraction", `{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,8]}}`, 8, `tensor "a"`},
		{"negative size", `{"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}}`, 8, "not possible"},
		{"overflow", `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 8, "not possible"},
		{"overflow by bytes", `{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}}`, 8, "not possible"},
		{"huge number", `{"a":{"dtype":"F64","shape":[99999999999999999999],"data_offsets":[0,0]}}`, 8, `tensor "a"`},
		{"backwards", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8, "not a range"},
		{"negative offset", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}`, 8, "not a range"},
		{"size differs", `{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8, "takes 12 bytes"},
		{"cut short", `{` + a + `}`, 20, "4 bytes past the end"},
		{"overlap", `{"b":{"dtype":"U8","shape":[5],"data_offsets":[20,25]},` + a + `}`, 25, "share bytes"},
		{"overlap inside", `{"b":{"dtype":"U8","shape":[5],"data_offsets":[10,15]},` + a + `}`, 25, "share bytes"},
	}
	for _, test := range tests {
		tensors, _, err := parseSafetensors(rawSafetensors(test.header, test.data))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
		if err == nil && len(tensors) == 0 {
			t.Errorf("%s: no tensors", test.name)
		}
	}
	for name, file := range map[string][]byte{
		"too few":         {1, 2, 3},
		"over the limit":  {0, 0, 0, 0, 0, 0, 0, 1, '{', '}'},
		"file ends after": {9, 0, 0, 0, 0, 0, 0, 0, '{', '}'},
		"git lfs pull":    []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
	} {
		if _, _, err := parseSafetensors(file); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestWriteSafetensors(t *testing.T) {
	t.Parallel()
	tensors := []Tensor{
		{"z", quant.BF16, []int{2, 3}, []byte("twelve bytes")},
		{"a", quant.U8, nil, []byte{7}},
		{"m.weight", quant.U32, []int{1, 1}, []byte("word")},
		{"empty", quant.F32, []int{0, 4}, nil},
	}
	for _, metadata := range []map[string]string{nil, {"format": "mlx", "tag": `<"ü">`}} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := WriteSafetensors(path, tensors, metadata); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if null := bytes.Contains(raw, []byte(`{"__metadata__":null,`)); null != (metadata == nil) {
			t.Errorf("metadata %v: header %q", metadata, raw)
		}
		s, err := OpenSafetensors(path)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(s.Metadata(), metadata) {
			t.Errorf("metadata %v, want %v", s.Metadata(), metadata)
		}
		for _, want := range tensors {
			got, ok := s.Tensor(want.Name)
			if !ok || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%+v came back as %+v", want, got)
			}
		}
		if want := []string{"a", "empty", "m.weight", "z"}; !slices.Equal(s.Names(), want) {
			t.Errorf("names %v", s.Names())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// onlyFiles fails unless the folder holds these and nothing else, temporary
// files in particular.
func onlyFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %v, want %v", dir, got, want)
	}
}

func TestWriteSafetensorsErrors(t *testing.T) {
	t.Parallel()
	good := Tensor{"a", quant.U8, []int{2}, []byte{1, 2}}
	for want, tensors := range map[string][]Tensor{
		"takes 2 bytes, got 3":   {{"a", quant.U8, []int{2}, []byte{1, 2, 3}}},
		`name "a" is taken`:      {good, good},
		`"__metadata__"`:         {{"__metadata__", quant.U8, []int{0}, nil}},
		"cannot be written":      {{"a", 0, []int{2}, []byte{1, 2}}},
		"[-2] cannot be written": {{"a", quant.U8, []int{-2}, nil}},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.safetensors")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := WriteSafetensors(path, tensors, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		onlyFiles(t, dir, "x.safetensors")
		if old, _ := os.ReadFile(path); string(old) != "old" {
			t.Errorf("%s: the old file was touched", want)
		}
	}
	if err := WriteSafetensors(filepath.Join(t.TempDir(), "none", "x.safetensors"), nil, nil); err == nil {
		t.Error("a missing folder was accepted")
	}
}

// modelEntries makes n tensors of four bytes; the one named broken fails.
func modelEntries(n, broken int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{fmt.Sprintf("model.layers.%d.weight", i), quant.F16, []int{1, 2}, func() ([]byte, error) {
			if i == broken {
				return nil, errors.New("broken on purpose")
			}
			return []byte{byte(i), 0, 0, 0}, nil
		}}
	}
	return entries
}

func TestWriteModel(t *testing.T) {
	t.Parallel()
	tests := []struct {
		n      int
		shard  int64
		shards []string // the file of each tensor, shortened
	}{
		{3, 0, []string{"", "", ""}},
		{3, 12, []string{"", "", ""}},
		{3, 8, []string{"1-of-2", "1-of-2", "2-of-2"}},
		{3, 11, []string{"1-of-2", "1-of-2", "2-of-2"}},
		{3, 1, []string{"1-of-3", "2-of-3", "3-of-3"}}, // no empty first shard
	}
	for _, test := range tests {
		dir := filepath.Join(t.TempDir(), "made", "new")
		if err := WriteModel(dir, modelEntries(test.n, -1), ModelOptions{MaxShardBytes: test.shard}); err != nil {
			t.Fatal(err)
		}
		want := []string{indexName}
		index := "{\n    \"metadata\": {\n        \"total_size\": 12,\n        \"total_parameters\": 6\n    },\n    \"weight_map\": {\n"
		for i, s := range test.shards {
			name := "model.safetensors"
			if s != "" {
				name = "model-0000" + strings.Replace(s, "of-", "of-0000", 1) + ".safetensors"
			}
			if !slices.Contains(want, name) {
				want = append(want, name)
			}
			index += fmt.Sprintf("        \"model.layers.%d.weight\": %q,\n", i, name)
		}
		index = strings.TrimSuffix(index, ",\n") + "\n    }\n}"
		onlyFiles(t, dir, want...)
		if got, _ := os.ReadFile(filepath.Join(dir, indexName)); string(got) != index {
			t.Errorf("index\n%s\nwant\n%s", got, index)
		}
		if err := os.WriteFile(filepath.Join(dir, configName), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		src, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for i := range test.n {
			if got, ok := src.Tensor(fmt.Sprintf("model.layers.%d.weight", i)); !ok || got.Data[0] != byte(i) {
				t.Errorf("tensor %d came back as %+v", i, got)
			}
		}
		src.Close()
		// Again into the same folder is fine, with other shards is not.
		if err := WriteModel(dir, modelEntries(test.n, -1), ModelOptions{MaxShardBytes: test.shard}); err != nil {
			t.Error(err)
		}
		if err := WriteModel(dir, modelEntries(7, -1), ModelOptions{MaxShardBytes: 4}); err == nil || !strings.Contains(err.Error(), "of another save") {
			t.Errorf("leftovers: %v", err)
		}
	}
}

func TestWriteModelErrors(t *testing.T) {
	t.Parallel()
	twice := modelEntries(2, -1)
	twice[1].Name = twice[0].Name
	for want, entries := range map[string][]Entry{
		`tensor "model.layers.2.weight": broken on purpose`: modelEntries(4, 2),
		"without tensors": nil,
		"comes twice":     twice,
	} {
		dir := t.TempDir()
		err := WriteModel(dir, entries, ModelOptions{MaxShardBytes: 4})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		onlyFiles(t, dir)
	}
	dir := t.TempDir()
	if err := WriteModel(dir, modelEntries(2, -1), ModelOptions{Parameters: 99}); err != nil {
		t.Fatal(err)
	}
	if index, _ := os.ReadFile(filepath.Join(dir, indexName)); !bytes.Contains(index, []byte(`"total_parameters": 99`)) {
		t.Errorf("index %s", index)
	}
}

func FuzzSafetensorsHeader(f *testing.F) {
	f.Add([]byte(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`), 24)
	f.Add([]byte(`{"__metadata__":null,"a":{"dtype":"BF16","shape":[],"data_offsets":[4,6]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`), 6)
	f.Fuzz(func(t *testing.T, header []byte, data int) {
		tensors, _, err := parseSafetensors(rawSafetensors(string(header), min(max(data, 0), 1<<16)))
		if err != nil {
			return
		}
		for name, tensor := range tensors {
			n := 1
			for _, s := range tensor.Shape {
				n *= s
			}
			if n*tensor.DType.Size() != len(tensor.Data) || tensor.Name != name {
				t.Fatalf("%q: %+v", name, tensor)
			}
		}
	})
}
