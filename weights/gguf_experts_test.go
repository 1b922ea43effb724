package weights

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

// expertGGUF is a good file of three experts, two for each token, in block 7.
func expertGGUF(architecture string, more ...ggufPair) ggufBuilder {
	g := smallGGUF(architecture, append([]ggufPair{
		{architecture + ".expert_count", uint32(3)}, {architecture + ".expert_used_count", uint32(2)},
		{architecture + ".expert_feed_forward_length", uint32(32)},
	}, more...)...)
	g.tensors = append(g.tensors,
		ggufSpec{"blk.7.ffn_gate_inp.weight", 0, []int{3, 16}, -1, 192},
		ggufSpec{"blk.7.ffn_gate_exps.weight", 0, []int{3, 4, 16}, -1, 768},
		ggufSpec{"blk.7.ffn_up_exps.weight", 1, []int{3, 4, 16}, -1, 384},
		ggufSpec{"blk.7.ffn_down_exps.weight", 8, []int{3, 2, 32}, -1, 204},
	)
	return g
}

func TestGGUFExperts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		architecture, parent string
		more                 []ggufPair
		want                 map[string]any
	}{
		{"llama", "block_sparse_moe", []ggufPair{{"llama.expert_gating_func", uint32(1)}}, map[string]any{
			"model_type": "mixtral", "intermediate_size": 24., "num_local_experts": 3., "num_experts_per_tok": 2.}},
		{"qwen3moe", "mlp", []ggufPair{{"qwen3moe.expert_weights_scale", float32(1)}, {"qwen3moe.expert_weights_norm", true}}, map[string]any{
			"model_type": "qwen3_moe", "intermediate_size": 24., "num_experts": 3., "num_experts_per_tok": 2., "moe_intermediate_size": 32.,
			"decoder_sparse_step": 1., "mlp_only_layers": []any{}, "norm_topk_prob": true}},
	} {
		file := expertGGUF(test.architecture, test.more...).file()
		g, err := OpenGGUF(writeTemp(t, file))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		want := map[string]any{
			"hidden_size": 16., "num_hidden_layers": 8., "num_attention_heads": 4., "num_key_value_heads": 4., "head_dim": 4., "rms_norm_eps": 1e-6,
			"vocab_size": 5., "rope_theta": 10000., "tie_word_embeddings": true, "attention_bias": false,
		}
		maps.Copy(want, test.want)
		checkConfig(t, g.Config(), want)
		checkExpertModules(t, g, "model.layers.7."+test.parent, test.architecture)
		// The order of rows of queries goes with the architecture.
		q, err := g.Matrix("model.layers.7.self_attn.q_proj")
		if err != nil {
			t.Fatal(err)
		}
		plain := file[len(file)-total(expertGGUF(test.architecture))+320:][:128]
		if turned := !bytes.Equal(q.Data, plain); turned != (test.architecture == "llama") {
			t.Errorf("%s: rows of q_proj turned: %v", test.architecture, turned)
		}
	}
}

// checkExpertModules checks the router and the stacks of the module at.
func checkExpertModules(t *testing.T, g *GGUF, at, architecture string) {
	t.Helper()
	if !slices.Contains(g.Names(), at+".gate.weight") {
		t.Errorf("names %v", g.Names())
	}
	router, err := g.Matrix(at + ".gate")
	if err != nil || router.Experts != 0 || !slices.Equal(router.Shape(), []int{3, 16}) {
		t.Errorf("router %v, error %v", router, err)
	}
	for module, shape := range map[string][]int{"gate_proj": {3, 4, 16}, "up_proj": {3, 4, 16}, "down_proj": {3, 2, 32}} {
		m, err := g.Matrix(at + ".switch_mlp." + module)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); err != nil || !slices.Equal(m.Shape(), shape) {
			t.Errorf("%s %v, want %v; error %v", module, m.Shape(), shape, err)
		}
		name, ok := GGUFName(at + ".switch_mlp." + module + ".weight")
		back, err := HFName(architecture, name)
		if !ok || err != nil || back != at+".switch_mlp."+module+".weight" {
			t.Errorf("%s is %q in a file, and %q again", module, name, back)
		}
	}
	stack, ok := g.Tensor(at + ".switch_mlp.up_proj.weight")
	if !ok || !slices.Equal(stack.Shape, []int{3, 4, 16}) {
		t.Errorf("up_proj is %v %v", stack.Shape, ok)
	}
	// The second of three equal parts of the tensor is the second expert.
	m, _ := g.Matrix(at + ".switch_mlp.up_proj")
	if !bytes.Equal(part(m.Data, 1, 3), stack.Data[128:256]) {
		t.Error("the second expert is not the second part")
	}
}

// total is the size of the data of all tensors.
func total(g ggufBuilder) (n int) {
	for _, s := range g.tensors {
		n += (s.bytes + 31) / 32 * 32
	}
	return n
}

// TestGGUFExpertTypes: a stack is read in every type as its experts one by one.
func TestGGUFExpertTypes(t *testing.T) {
	t.Parallel()
	const experts, rows, cols = 3, 2, 256
	values := make([]float32, experts*rows*cols)
	for i := range values {
		values[i] = float32(math.Sin(float64(i * i)))
	}
	for kind, typ := range ggufTypes {
		e := GGUFEntry{Name: "blk.0.ffn_down_exps.weight", Type: GGUFType{typ.dtype, typ.block}, Shape: []int{experts, rows, cols}}
		size, err := e.size()
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, size)
		if typ.dtype != 0 {
			quant.PutFloats(data, values, typ.dtype)
		} else if !typ.block.Encode(data, values) {
			t.Fatalf("type %d: cannot be encoded", kind)
		}
		e.Bytes = func() ([]byte, error) { return data, nil }
		embedding := GGUFEntry{"token_embd.weight", GGUFType{DType: quant.F32}, []int{5, 16}, fixedBytes(320)}
		metadata := map[string]any{}
		for _, p := range expertGGUF("llama").pairs {
			metadata[p.key] = p.value
		}
		path := t.TempDir() + "/x.gguf"
		if err := WriteGGUF(path, metadata, []GGUFEntry{embedding, e}); err != nil {
			t.Fatal(err)
		}
		g, err := OpenGGUF(path)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		m, err := g.Matrix("model.layers.0.block_sparse_moe.switch_mlp.down_proj")
		if err != nil {
			t.Fatalf("%v: %v", e.Type, err)
		}
		if err := m.Check(); err != nil || !slices.Equal(m.Shape(), e.Shape) {
			t.Errorf("%v: shape %v, error %v", e.Type, m.Shape(), err)
		}
		got := m.Floats()
		for i := range experts {
			part, want := data[i*size/experts:(i+1)*size/experts], make([]float32, rows*cols)
			if typ.dtype != 0 {
				quant.Floats(want, part, typ.dtype)
			} else {
				typ.block.Decode(want, part)
			}
			if !slices.Equal(got[i*rows*cols:(i+1)*rows*cols], want) {
				t.Errorf("%v: expert %d differs", e.Type, i)
			}
		}
	}
}

func TestGGUFExpertErrors(t *testing.T) {
	t.Parallel()
	pair := func(key string, value any) ggufBuilder {
		return expertGGUF("qwen3moe", ggufPair{"qwen3moe." + key, value})
	}
	without := func(key string) ggufBuilder {
		g := expertGGUF("qwen3moe")
		g.pairs = slices.DeleteFunc(g.pairs, func(p ggufPair) bool { return p.key == "qwen3moe."+key })
		return g
	}
	tensor := func(name string, shape ...int) ggufBuilder {
		g := expertGGUF("qwen3moe")
		size := 4
		for _, n := range shape {
			size *= n
		}
		g.tensors = append(g.tensors, ggufSpec{name, 0, shape, -1, size})
		return g
	}
	old := smallGGUF("llama")
	old.tensors = append(old.tensors, ggufSpec{"blk.0.ffn_up_exps.weight", 0, []int{3, 4, 16}, -1, 768})
	for _, test := range []struct {
		name string
		file ggufBuilder
		want string
	}{
		{"other architecture", smallGGUF("qwen2", ggufPair{"qwen2.expert_count", uint32(8)}), `8 experts in architecture "qwen2": mixtures of experts are known in llama, qwen3moe`},
		{"no count", without("expert_count"), `no "qwen3moe.expert_count"`},
		{"count of text", pair("expert_count", "8"), "positive whole number"},
		{"negative count", pair("expert_count", int32(-8)), "positive whole number"},
		{"no experts of a token", without("expert_used_count"), `no "qwen3moe.expert_used_count"`},
		{"too many of a token", pair("expert_used_count", uint32(4)), "is 4, more than the 3 experts"},
		{"huge count", pair("expert_count", uint32(1<<30)), "expected [1073741824, 16]"},
		{"count and tensors", pair("expert_count", uint32(2)), "tensor \"blk.7.ffn_gate_inp.weight\" has shape [3 16], expected [2, 16]"},
		{"no metadata", old, `"llama.expert_count" is missing or 0`},
		{"scaled weights", pair("expert_weights_scale", float32(2.5)), `"qwen3moe.expert_weights_scale" is 2.5`},
		{"sigmoid", pair("expert_gating_func", uint32(2)), "expert_gating_func"},
		{"shared count", pair("expert_shared_count", uint32(1)), "expert_shared_count"},
		{"weights as they are", pair("expert_weights_norm", false), "do not add up to 1"},
		{"dense first", pair("leading_dense_block_count", uint32(1)), "leading_dense_block_count"},
		{"bad width", pair("expert_feed_forward_length", uint32(0)), "positive whole number"},
		{"2 dimensions", tensor("blk.0.ffn_up_exps.weight", 12, 16), "shape [12 16], expected 3 dimensions, the first of 3 experts"},
		{"4 experts", tensor("blk.0.ffn_up_exps.weight", 4, 3, 16), "the first of 3 experts"},
		{"router", tensor("blk.0.ffn_gate_inp.weight", 3, 8), "has shape [3 8], expected [3, 16]"},
		{"biases", tensor("blk.0.ffn_up_exps.bias", 3, 4), "experts with biases"},
		{"dense layer", tensor("blk.0.ffn_up.weight", 4, 16), "layers without experts"},
		{"one tensor each", tensor("blk.0.ffn_up.1.weight", 4, 16), "convert the model again"},
		{"shared", tensor("blk.0.ffn_up_shexp.weight", 4, 16), "all tokens share"},
		{"shared router", tensor("blk.0.ffn_gate_inp_shexp.weight", 16), "all tokens share"},
		{"joined", tensor("blk.0.ffn_gate_up_exps.weight", 3, 8, 16), "in one tensor"},
		{"router biases", tensor("blk.0.exp_probs_b.bias", 3), "router with biases"},
		{"scales", tensor("blk.0.ffn_up_exps.scale", 3), "this layout of experts"},
		{"overflow", tensor("blk.0.ffn_up_exps.weight", 3, 1<<31, 1<<31), "too large"},
		{"3 dimensions of attention", tensor("blk.0.attn_v.weight", 3, 2, 16), "expected 2 dimensions"},
	} {
		g, err := OpenGGUF(writeTemp(t, shorten(test.file).file()))
		if err == nil {
			_, err = g.Matrix("model.layers.0.self_attn.v_proj")
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "model.gguf") {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}
}

// shorten gives tensors that are said to be huge few bytes.
func shorten(g ggufBuilder) ggufBuilder {
	for i := range g.tensors {
		if b := g.tensors[i].bytes; b < 0 || b > 1<<20 {
			g.tensors[i].bytes = 16
		}
	}
	return g
}

// TestGGUFExpertWidth: without a width of their own, the experts of a token have
// that of a dense layer together.
func TestGGUFExpertWidth(t *testing.T) {
	t.Parallel()
	b := expertGGUF("qwen3moe")
	b.pairs = slices.DeleteFunc(b.pairs, func(p ggufPair) bool { return p.key == "qwen3moe.expert_feed_forward_length" })
	g, err := OpenGGUF(writeTemp(t, b.file()))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var config struct {
		Width int `json:"moe_intermediate_size"`
	}
	if err := json.Unmarshal(g.Config(), &config); err != nil || config.Width != 12 {
		t.Errorf("width %d, want 24/2; error %v", config.Width, err)
	}
}
