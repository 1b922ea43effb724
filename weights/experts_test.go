package weights

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

// numbered makes a tensor whose bytes are all v.
func numbered(name string, v byte, dtype quant.DType, shape ...int) Tensor {
	n, _ := elements(shape, dtype.Size())
	return Tensor{name, dtype, shape, bytes.Repeat([]byte{v}, n*dtype.Size())}
}

// singleExperts is the content of two files of a layer: 11 experts, numbered so that the
// order of their names is another, and two quantized ones.
func singleExperts(at string) (first, second []Tensor) {
	for i := range 11 {
		e := fmt.Sprintf("%smlp.experts.%d", at, i)
		first = append(first, numbered(e+".gate_proj.weight", byte(i), quant.F16, 3, 4), numbered(e+".down_proj.weight", byte(20+i), quant.F16, 4, 3))
		second = append(second, numbered(e+".up_proj.weight", byte(40+i), quant.BF16, 3, 4))
	}
	for i, e := range []string{"0", "1"} {
		name := at + "block_sparse_moe.experts." + e + ".w2"
		second = append(second, numbered(name+".weight", byte(i), quant.U32, 2, 16), numbered(name+".scales", byte(8+i), quant.F16, 2, 2), numbered(name+".biases", byte(16+i), quant.F16, 2, 2))
	}
	return first, append(second, numbered(at+"mlp.gate.weight", 1, quant.F16, 11, 4))
}

// TestExperts: matrices of single experts come as one stack, in the order of the
// experts, whatever files they are in.
func TestExperts(t *testing.T) {
	t.Parallel()
	const at = "model.layers.3."
	first, second := singleExperts(at)
	dir := t.TempDir()
	write(t, dir, map[string]string{"config.json": `{"quantization":{"bits":4,"group_size":64}}`},
		map[string][]Tensor{"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second})
	src, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	want := []string{at + "block_sparse_moe.switch_mlp.down_proj.biases", at + "block_sparse_moe.switch_mlp.down_proj.scales", at + "block_sparse_moe.switch_mlp.down_proj.weight",
		at + "mlp.gate.weight", at + "mlp.switch_mlp.down_proj.weight", at + "mlp.switch_mlp.gate_proj.weight", at + "mlp.switch_mlp.up_proj.weight"}
	if got := src.Names(); !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	for module, want := range map[string]struct {
		shape []int
		first byte // of expert 0
	}{"mlp.switch_mlp.gate_proj": {[]int{11, 3, 4}, 0}, "mlp.switch_mlp.down_proj": {[]int{11, 4, 3}, 20}, "mlp.switch_mlp.up_proj": {[]int{11, 3, 4}, 40},
		"block_sparse_moe.switch_mlp.down_proj": {[]int{2, 2, 128}, 0}} {
		checkStack(t, src, at+module, want.shape, want.first)
	}
}

// checkStack checks a stack of matrices that are filled with first, first+1 and so on.
func checkStack(t *testing.T, src Source, module string, shape []int, first byte) {
	t.Helper()
	m, err := src.Matrix(module)
	if err != nil {
		t.Error(err)
		return
	}
	if !slices.Equal(m.Shape(), shape) || !src.Has(module) {
		t.Errorf("%s has shape %v, want %v", module, m.Shape(), shape)
	}
	if o, err := src.Outline(module); err != nil || o.Format != m.Format || !slices.Equal(o.Shape(), m.Shape()) || o.Data != nil {
		t.Errorf("%s: outline %+v, %v, want %v %v without data", module, o, err, m.Format, m.Shape())
	}
	for i := range m.Experts {
		if got := part(m.Data, i, m.Experts); !all(got, first+byte(i)) {
			t.Errorf("%s: expert %d holds %v", module, i, got)
		}
		if m.Format.Kind != quant.Affine {
			continue
		}
		if s, b := part(m.Scales, i, m.Experts), part(m.Biases, i, m.Experts); !all(s, byte(8+i)) || !all(b, byte(16+i)) {
			t.Errorf("%s: expert %d has scales %v and biases %v", module, i, s, b)
		}
	}
}

// part is one of n equal parts, and all whether it holds nothing but v.
func part(b []byte, i, n int) []byte { return b[i*len(b)/n : (i+1)*len(b)/n] }
func all(b []byte, v byte) bool      { return len(b) > 0 && bytes.Count(b, []byte{v}) == len(b) }

// TestExpertNames: the names in the two ways of storing experts, forth and back.
func TestExpertNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		stacked string
		expert  int
	}{
		"model.layers.3.block_sparse_moe.experts.1.w2.weight": {"model.layers.3.block_sparse_moe.switch_mlp.down_proj.weight", 1},
		"model.layers.3.block_sparse_moe.experts.0.w3.scales": {"model.layers.3.block_sparse_moe.switch_mlp.up_proj.scales", 0},
		"model.layers.0.mlp.experts.10.up_proj.weight":        {"model.layers.0.mlp.switch_mlp.up_proj.weight", 10},
	} {
		if stacked, expert, ok := StackedTensor(name); !ok || stacked != want.stacked || expert != want.expert {
			t.Errorf("%s is expert %d of %q", name, expert, stacked)
		}
		if single, ok := ExpertTensor(want.stacked, want.expert); !ok || single != name {
			t.Errorf("expert %d of %s is %q", want.expert, want.stacked, single)
		}
	}
	const ordinary = "model.layers.0.mlp.up_proj.weight"
	if name, ok := ExpertTensor(ordinary, 0); ok {
		t.Errorf("an ordinary matrix is expert %q", name)
	}
	if name, _, ok := StackedTensor(ordinary); ok {
		t.Errorf("an ordinary matrix is part of %q", name)
	}
}

func TestExpertErrors(t *testing.T) {
	t.Parallel()
	const at = "model.layers.0.mlp.experts."
	for name, test := range map[string]struct {
		tensors []Tensor
		want    string
	}{
		"gap":    {[]Tensor{dense(at+"0.up_proj.weight", 2, 2), dense(at+"2.up_proj.weight", 2, 2)}, "expert 1 of that layer is missing"},
		"hole":   {[]Tensor{dense(at+"999999.up_proj.weight", 2, 2)}, "expert 0 of that layer is missing"},
		"shapes": {[]Tensor{dense(at+"0.up_proj.weight", 2, 2), dense(at+"1.up_proj.weight", 2, 3)}, "experts are alike"},
		"twice":  {[]Tensor{dense(at+"0.up_proj.weight", 2, 2), dense(at+"00.up_proj.weight", 2, 2)}, "are the same expert's"},
		"both":   {[]Tensor{dense(at+"0.up_proj.weight", 2, 2), dense("model.layers.0.mlp.switch_mlp.up_proj.weight", 1, 2)}, "and so are the experts it consists of"},
	} {
		dir := t.TempDir()
		write(t, dir, map[string]string{"config.json": `{}`}, map[string][]Tensor{"model.safetensors": test.tensors})
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
	}
}
