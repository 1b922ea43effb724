package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

// TestGGUFPeer compares with what ggml's own Python package reads from a file
// that it wrote: every type, names, order of rows, metadata.
func TestGGUFPeer(t *testing.T) {
	t.Parallel()
	src, err := Open("testdata/tiny.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	blob, err := os.ReadFile("testdata/tiny.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden []goldenTensor
	if err := json.Unmarshal(blob, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) != len(src.Names()) || len(golden) < 16 {
		t.Fatalf("%d golden tensors, %d in the file", len(golden), len(src.Names()))
	}
	for _, g := range golden {
		g.check(t, src)
	}
	checkMetadata(t, src.(*GGUF).Metadata())
	checkConfig(t, src.Config(), map[string]any{
		"model_type": "llama", "hidden_size": 64., "num_hidden_layers": 2., "intermediate_size": 256.,
		"num_attention_heads": 2., "num_key_value_heads": 1., "head_dim": 8., "rms_norm_eps": 1e-5, "vocab_size": 3.,
		"max_position_embeddings": 2048., "rope_theta": 500000., "tie_word_embeddings": false, "attention_bias": true,
		"bos_token_id": 1., "eos_token_id": 2.,
	})
}

// goldenTensor is a tensor as ggml's Python package reads it.
type goldenTensor struct {
	Name, Type, CRC string
	Shape           []int
	First           []float32
}

// goldenFormats gives the format that each type is read as.
var goldenFormats = map[string]string{
	"Q4_0": "4-bit g32", "Q4_1": "4-bit g32", "Q5_0": "5-bit g32", "Q5_1": "5-bit g32", "Q8_0": "8-bit g32",
	"Q4_K": "Q4_K", "Q6_K": "Q6_K", "F16": "f16", "BF16": "bf16", "F32": "f32",
}

func (g goldenTensor) check(t *testing.T, src Source) {
	t.Helper()
	var values []float32
	format := goldenFormats[g.Type]
	tensor, dense := src.Tensor(g.Name)
	if want := strings.ToLower(g.Type) == format; dense != want {
		t.Errorf("%s: Tensor gives %v, want %v", g.Name, dense, want)
	}
	if dense {
		values = make([]float32, len(tensor.Data)/tensor.DType.Size())
		quant.Floats(values, tensor.Data, tensor.DType)
		if !slices.Equal(tensor.Shape, g.Shape) {
			t.Errorf("%s: shape %v, want %v", g.Name, tensor.Shape, g.Shape)
		}
	}
	if module, ok := strings.CutSuffix(g.Name, ".weight"); ok && len(g.Shape) == 2 {
		m, err := src.Matrix(module)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		if m.Format.String() != format || m.Rows != g.Shape[0] || m.Cols != g.Shape[1] {
			t.Errorf("%s: %v [%d, %d], want %s %v", g.Name, m.Format, m.Rows, m.Cols, format, g.Shape)
		}
		values = m.Floats()
	}
	if got := checksum(values); got != g.CRC {
		t.Errorf("%s (%s): values start %v, want %v; checksum %s, want %s", g.Name, g.Type, values[:4], g.First, got, g.CRC)
	}
}

// checksum is that of make_gguf.py: little-endian float32, no negative zeros.
func checksum(values []float32) string {
	raw := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v+0))
	}
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(raw))
}

func checkMetadata(t *testing.T, got map[string]any) {
	t.Helper()
	want := map[string]any{
		"general.architecture": "llama", "llama.block_count": uint32(2), "llama.rope.freq_base": float32(500000),
		"test.u8": uint8(200), "test.i8": int8(-100), "test.u16": uint16(60000), "test.i16": int16(-30000),
		"test.i32": int32(-2000000000), "test.u64": uint64(1<<63 + 1), "test.i64": int64(-1 << 62), "test.f64": 0.1,
		"test.bool": true, "test.string": "Linsen à la crème", "test.strings": []string{"one", "", "three"},
		"test.floats": []float32{0.5, -1.5}, "test.ints": []int32{1, -2, 3}, "test.bools": []bool{true, false},
		"test.bytes": []uint8{1, 2, 255},
	}
	for key, w := range want {
		if !reflect.DeepEqual(got[key], w) {
			t.Errorf("metadata %q is %T %v, want %T %v", key, got[key], got[key], w, w)
		}
	}
}

func checkConfig(t *testing.T, config []byte, want map[string]any) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(config, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config\n%v\nwant\n%v", got, want)
	}
}

// A ggufBuilder writes files for tests, honest or not.
type ggufBuilder struct {
	version uint32
	pairs   []ggufPair
	tensors []ggufSpec
}

type ggufPair struct {
	key   string
	value any
}

type ggufSpec struct {
	name   string
	kind   uint32
	shape  []int // row-major
	offset int   // -1: wherever the last one ended
	bytes  int
}

var ggufKinds = map[reflect.Kind]uint32{
	reflect.Uint8: ggufU8, reflect.Int8: ggufI8, reflect.Uint16: ggufU16, reflect.Int16: ggufI16, reflect.Uint32: ggufU32,
	reflect.Int32: ggufI32, reflect.Float32: ggufF32, reflect.Bool: ggufBool, reflect.String: ggufString,
	reflect.Slice: ggufArray, reflect.Uint64: ggufU64, reflect.Int64: ggufI64, reflect.Float64: ggufF64,
}

func putString(b *bytes.Buffer, s string) {
	binary.Write(b, binary.LittleEndian, uint64(len(s)))
	b.WriteString(s)
}

func putValue(b *bytes.Buffer, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		putString(b, v.String())
	case reflect.Slice:
		binary.Write(b, binary.LittleEndian, ggufKinds[v.Type().Elem().Kind()])
		binary.Write(b, binary.LittleEndian, uint64(v.Len()))
		for i := range v.Len() {
			putValue(b, v.Index(i))
		}
	default:
		binary.Write(b, binary.LittleEndian, v.Interface())
	}
}

// file returns the file; the data of tensors counts up in bytes.
func (g ggufBuilder) file() []byte {
	b := new(bytes.Buffer)
	b.WriteString(ggufMagic)
	le := binary.LittleEndian
	binary.Write(b, le, g.version)
	binary.Write(b, le, uint64(len(g.tensors)))
	binary.Write(b, le, uint64(len(g.pairs)))
	for _, p := range g.pairs {
		putString(b, p.key)
		v := reflect.ValueOf(p.value)
		binary.Write(b, le, ggufKinds[v.Kind()])
		putValue(b, v)
	}
	at := 0
	for _, t := range g.tensors {
		putString(b, t.name)
		binary.Write(b, le, uint32(len(t.shape)))
		for _, s := range slices.Backward(t.shape) {
			binary.Write(b, le, uint64(s))
		}
		binary.Write(b, le, t.kind)
		if t.offset < 0 {
			t.offset = at
		}
		binary.Write(b, le, uint64(t.offset))
		at = t.offset + (t.bytes+31)/32*32
	}
	b.Write(make([]byte, (32-b.Len()%32)%32))
	for i := range at {
		b.WriteByte(byte(i))
	}
	return b.Bytes()
}

// smallGGUF is a good file of an architecture, with F32 tensors only.
func smallGGUF(architecture string, more ...ggufPair) ggufBuilder {
	g := ggufBuilder{version: 3, pairs: []ggufPair{
		{"general.architecture", architecture},
		{architecture + ".block_count", uint32(8)},
		{architecture + ".embedding_length", uint32(16)},
		{architecture + ".feed_forward_length", []uint32{24, 24, 24}},
		{architecture + ".attention.head_count", uint32(4)},
		{architecture + ".attention.layer_norm_rms_epsilon", float32(1e-6)},
	}}
	for _, p := range more {
		if i := slices.IndexFunc(g.pairs, func(q ggufPair) bool { return q.key == p.key }); i >= 0 {
			g.pairs[i] = p
		} else {
			g.pairs = append(g.pairs, p)
		}
	}
	g.tensors = []ggufSpec{
		{"token_embd.weight", 0, []int{5, 16}, -1, 320},
		{"blk.7.attn_q.weight", 0, []int{16, 2}, -1, 128},
		{"blk.7.attn_q_norm.weight", 0, []int{4}, -1, 16},
		{"blk.7.attn_rot_embd.weight", 0, []int{2}, -1, 8},
	}
	return g
}

func writeTemp(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGGUFEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pieces []string
		want   []int
	}{
		{nil, nil},
		{[]string{"a", "<|eot_id|>", "</s>", "<|end|>", "<|eot_id|>"}, []int{1, 2, 3}},
		{[]string{"<|end|>", "<|return|>", "<|call|>"}, []int{1, 2}},
		{[]string{"<|end|>", "<|return|>"}, []int{0, 1}},
		{[]string{"</s>", "<|tool_response>", "<|fim_pad|>"}, []int{1, 2}},
	} {
		if got := GGUFEnds(test.pieces); !slices.Equal(got, test.want) {
			t.Errorf("%q: %v, want %v", test.pieces, got, test.want)
		}
	}
}

func TestGGUFConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		architecture string
		more         []ggufPair
		factors      bool
		want         map[string]any // beside what all have; nil removes
	}{
		{"llama", nil, false, nil},
		{"mistral", []ggufPair{{"mistral.attention.head_count_kv", uint32(2)}}, false, map[string]any{"num_key_value_heads": 2.}},
		{"qwen2", []ggufPair{{"qwen2.rope.freq_base", float32(1e6)}, {"tokenizer.ggml.eos_token_id", uint32(7)}, {"tokenizer.ggml.eot_token_id", uint32(9)}},
			false, map[string]any{"rope_theta": 1e6, "eos_token_id": []any{7., 9.}}},
		{"qwen2", []ggufPair{{"tokenizer.ggml.eom_token_id", uint32(4)}, {"tokenizer.ggml.eos_token_id", uint32(7)},
			{"tokenizer.ggml.tokens", []string{"<|endoftext|>", "a", "<|im_end|>", "b", "<|eom_id|>"}}},
			false, map[string]any{"eos_token_id": []any{7., 4., 0., 2.}}},
		{"qwen3", []ggufPair{{"qwen3.attention.key_length", uint32(32)}, {"qwen3.rope.scaling.type", "yarn"}, {"qwen3.rope.scaling.factor", float32(4)},
			{"qwen3.context_length", uint32(40960)}, {"qwen3.rope.scaling.original_context_length", uint32(32768)}},
			false, map[string]any{"head_dim": 32., "max_position_embeddings": 40960.,
				"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4., "original_max_position_embeddings": 32768.}}},
		{"llama", []ggufPair{{"llama.rope.scaling.type", "linear"}, {"llama.rope.scaling.factor", float32(2.5)}},
			false, map[string]any{"rope_scaling": map[string]any{"rope_type": "linear", "factor": 2.5}}},
		// llama.cpp passes over the last three, and multiplies its own attention factor.
		{"llama", []ggufPair{{"llama.rope.scaling.type", "yarn"}, {"llama.rope.scaling.factor", float32(4)}, {"llama.context_length", uint32(64)},
			{"llama.rope.scaling.attn_factor", float32(2)}, {"llama.rope.scaling.yarn_beta_fast", float32(16)},
			{"llama.rope.scaling.yarn_beta_slow", float32(2)}, {"llama.rope.scaling.yarn_attn_factor", float32(3)}},
			false, map[string]any{"max_position_embeddings": 64.,
				"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4., "original_max_position_embeddings": 64., "attention_factor": 2 * (1 + 0.1*math.Log(4))}}},
		// A factor without a type is that of linear scaling.
		{"llama", []ggufPair{{"llama.rope.scaling.factor", float32(2.5)}}, false,
			map[string]any{"rope_scaling": map[string]any{"rope_type": "linear", "factor": 2.5}}},
		{"llama", []ggufPair{{"llama.rope.scaling.type", "none"}, {"llama.rope.scaling.factor", float32(2.5)}}, false, nil},
		{"llama", []ggufPair{{"llama.rope.scaling.factor", float32(2.5)}, {"llama.rope.scaling.attn_factor", float32(2)}}, false,
			map[string]any{"rope_scaling": map[string]any{"rope_type": "gguf_factors", "factors": []any{2.5, 2.5}, "attention_factor": 2.}}},
		{"llama", []ggufPair{{"llama.rope.scaling.attn_factor", float32(2)}}, true,
			map[string]any{"rope_scaling": map[string]any{"rope_type": "gguf_factors", "factors": []any{1., 32.}, "attention_factor": 2.}}},
		{"llama", []ggufPair{{"llama.rope.scale_linear", float32(8)}}, false,
			map[string]any{"rope_scaling": map[string]any{"rope_type": "linear", "factor": 8.}}},
		{"llama", []ggufPair{{"llama.rope.scaling.type", "none"}}, true,
			map[string]any{"rope_scaling": map[string]any{"rope_type": "gguf_factors", "factors": []any{1., 32.}}}},
		{"smollm3", nil, false, map[string]any{"no_rope_layers": []any{1., 1., 1., 0., 1., 1., 1., 0.}}},
	}
	for _, test := range tests {
		b := smallGGUF(test.architecture, test.more...)
		if test.factors {
			b.tensors = append(b.tensors, ggufSpec{"rope_freqs.weight", 0, []int{2}, -1, 8})
		}
		file := b.file()
		if test.factors {
			data := file[len(file)-32:]
			quant.PutFloats(data, []float32{1, 32}, quant.F32)
		}
		g, err := OpenGGUF(writeTemp(t, file))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"model_type": test.architecture, "hidden_size": 16., "num_hidden_layers": 8., "intermediate_size": 24.,
			"num_attention_heads": 4., "num_key_value_heads": 4., "head_dim": 4., "rms_norm_eps": 1e-6, "vocab_size": 5.,
			"rope_theta": 10000., "tie_word_embeddings": true, "attention_bias": false,
		}
		maps.Copy(want, test.want)
		checkConfig(t, g.Config(), want)
		names := []string{"model.embed_tokens.weight", "model.layers.7.self_attn.q_norm.weight", "model.layers.7.self_attn.q_proj.weight"}
		if !slices.Equal(g.Names(), names) {
			t.Errorf("names %v, want %v", g.Names(), names)
		}
		// Only the llama family interleaves: rows of a head 0 2 1 3 there.
		q, err := g.Matrix("model.layers.7.self_attn.q_proj")
		if err != nil {
			t.Fatal(err)
		}
		second := []byte{0, 1, 2, 3, 4, 5, 6, 7}
		for i := range second {
			second[i] += 64 // data counts up, the tensor starts at 320 = 64 mod 256
			if strings.HasPrefix(test.architecture, "qwen") {
				second[i] += 8
			} else {
				second[i] += 16
			}
		}
		if got := q.Data[8:16]; !bytes.Equal(got, second) {
			t.Errorf("%s: second row %v, want %v", test.architecture, got, second)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGGUFErrors(t *testing.T) {
	t.Parallel()
	build := func(edit func(*ggufBuilder)) []byte {
		g := smallGGUF("llama")
		edit(&g)
		return g.file()
	}
	pair := func(key string, value any) []byte { return smallGGUF("llama", ggufPair{key, value}).file() }
	tensor := func(s ggufSpec) []byte {
		return build(func(g *ggufBuilder) { g.tensors = append(g.tensors, s) })
	}
	good := smallGGUF("llama").file()
	patch := func(at int, with ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], with)
		return b
	}
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"version 1", build(func(g *ggufBuilder) { g.version = 1 }), "version 1"},
		{"big-endian", patch(4, 0, 0, 0, 3), "big-endian"},
		{"tensor count", patch(8, 255, 255, 255, 255, 255, 255, 255, 255), "tensors do not fit"},
		{"pair count", patch(16, 0, 0, 0, 0, 0, 0, 0, 128), "metadata entries do not fit"},
		{"key length", patch(24, 255, 255, 255, 255, 255, 255, 255, 127), "do not fit"},
		{"value type", patch(24+8+len("general.architecture"), 99), "unknown value type 99"},
		{"cut in metadata", good[:100], "do"},
		{"cut in data", good[:len(good)-64], "download it again"},
		{"duplicate key", build(func(g *ggufBuilder) { g.pairs = append(g.pairs, g.pairs[0]) }), "is there twice"},
		{"duplicate tensor", build(func(g *ggufBuilder) { g.tensors = append(g.tensors, g.tensors[0]) }), "is there twice"},
		{"nested array", pair("x", [][]uint32{{1}}), "arrays of arrays"},
		{"alignment 0", pair("general.alignment", uint32(0)), "power of two"},
		{"alignment 48", pair("general.alignment", uint32(48)), "power of two"},
		{"alignment kind", pair("general.alignment", "32"), "power of two"},
		{"architecture", smallGGUF("falcon").file(), `architecture "falcon" is not supported; known are llama, mistral`},
		{"no heads", pair("llama.attention.head_count", uint32(0)), "positive whole number"},
		{"mixed heads", pair("llama.attention.head_count", []uint32{4, 8}), "[4 8]"},
		{"heads as text", pair("llama.attention.head_count", "4"), "positive whole number"},
		{"partial rotary", pair("llama.rope.dimension_count", uint32(2)), "2 out of 4"},
		{"rope scaling", pair("llama.rope.scaling.type", "longrope"), `"longrope" is not supported`},
		{"no factor", pair("llama.rope.scaling.type", "linear"), "rope.scaling.factor"},
		{"NaN eps", pair("llama.attention.layer_norm_rms_epsilon", float32(math.NaN())), "positive number"},
		{"split", pair("split.count", uint16(3)), "one of 3 parts"},
		{"missing key", build(func(g *ggufBuilder) { g.pairs = g.pairs[:5] }), "layer_norm_rms_epsilon"},
		{"no embedding", build(func(g *ggufBuilder) { g.tensors = g.tensors[1:] }), "token_embd.weight"},
		{"unsupported type", tensor(ggufSpec{"blk.0.ffn_up.weight", 11, []int{4, 256}, -1, 999}), `tensor "blk.0.ffn_up.weight": type Q3_K is not supported yet`},
		{"unknown type", tensor(ggufSpec{"blk.0.ffn_up.weight", 999, []int{4, 256}, -1, 999}), "type number 999"},
		{"block rows", tensor(ggufSpec{"blk.0.ffn_up.weight", 2, []int{4, 48}, -1, 999}), "multiple of 32"},
		{"dimensions", tensor(ggufSpec{"blk.0.ffn_up.weight", 0, []int{1, 1, 1, 1, 4}, -1, 16}), "5 dimensions"},
		{"no dimensions", tensor(ggufSpec{"blk.0.ffn_up.weight", 0, nil, -1, 16}), "0 dimensions"},
		{"empty size", tensor(ggufSpec{"blk.0.ffn_up.weight", 0, []int{0, 4}, -1, 0}), "positive ones"},
		{"overflow", tensor(ggufSpec{"blk.0.ffn_up.weight", 0, []int{1 << 30, 1 << 30}, -1, 0}), "too large"},
		{"larger than the file", tensor(ggufSpec{"blk.0.ffn_up.weight", 0, []int{1 << 29, 1 << 29}, -1, 0}), "download it again"},
		{"unaligned", tensor(ggufSpec{"blk.0.ffn_up.weight", 0, []int{4}, 488, 16}), "multiple of 32"},
		{"offset past the end", tensor(ggufSpec{"blk.0.ffn_up.weight", 0, []int{1 << 20}, 512, 16}), "download it again"},
		{"overlap", tensor(ggufSpec{"blk.0.ffn_up.weight", 0, []int{64}, 64, 512}), "share bytes"},
		{"unknown tensor", tensor(ggufSpec{"blk.0.ssm_in.weight", 0, []int{4}, -1, 16}), "not part of a known architecture"},
		{"odd rows", tensor(ggufSpec{"blk.0.attn_q.weight", 0, []int{6, 2}, -1, 48}), "twice the 4 heads"},
		{"factors", tensor(ggufSpec{"rope_freqs.weight", 0, []int{3}, -1, 12}), "rope_freqs"},
	}
	for _, test := range tests {
		g, err := OpenGGUF(writeTemp(t, test.file))
		if err == nil {
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "model.gguf") {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}
}

// TestGGUFConcurrent asks for the same converted matrix from many goroutines.
func TestGGUFConcurrent(t *testing.T) {
	t.Parallel()
	g, err := OpenGGUF("testdata/tiny.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	const module = "model.layers.0.self_attn.q_proj"
	var got [8]*quant.Matrix
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			got[i], _ = g.Matrix(module)
			g.Tensor(module + ".bias")
		})
	}
	wg.Wait()
	for _, m := range got {
		if m == nil || m != got[0] {
			t.Fatalf("matrices %p and %p: converted more than once", m, got[0])
		}
	}
	if _, err := g.Matrix("model.layers.9.mlp.up_proj"); err == nil || !strings.Contains(err.Error(), "no tensor") {
		t.Errorf("missing module: %v", err)
	}
	if g.Has("model.layers.9.mlp.up_proj") || !g.Has(module) {
		t.Error("Has is wrong")
	}
}

// FuzzGGUF finds more with -fuzzminimizetime 20x: files are long, and making
// each new one smaller takes Go a minute by default.
func FuzzGGUF(f *testing.F) {
	f.Add(smallGGUF("llama").file())
	blocks := smallGGUF("qwen3", ggufPair{"qwen3.rope.scaling.type", "none"}, ggufPair{"a", []string{"b", "c"}})
	blocks.tensors = append(blocks.tensors,
		ggufSpec{"blk.0.attn_k.weight", 3, []int{4, 32}, -1, 80}, ggufSpec{"output.weight", 14, []int{1, 256}, -1, 210})
	f.Add(blocks.file())
	for _, architecture := range []string{"llama", "qwen3moe"} {
		f.Add(expertGGUF(architecture).file())
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		g := &GGUF{mapping: &mapping{data: file}, tensors: map[string]*ggufEntry{}}
		if g.parse() != nil {
			return
		}
		for _, name := range g.Names() {
			g.Tensor(name)
			if m, err := g.Matrix(strings.TrimSuffix(name, ".weight")); err == nil {
				if err := m.Check(); err != nil {
					t.Fatal(err)
				}
				m.Row(make([]float32, m.Cols), m.Rows-1)
			}
		}
	})
}
