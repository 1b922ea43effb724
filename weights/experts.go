package weights

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A mixture of experts is stored in two ways. Hugging Face's files have a tensor
// for each expert, MLX's one for all, whose first dimension is the expert. The
// rest of Lentil sees the second way only.

// expertName matches the name of one expert's tensor: the module, the number, the
// matrix, the part.
var expertName = regexp.MustCompile(`^(.+\.(?:block_sparse_moe|mlp))\.experts\.(\d{1,6})\.(w1|w2|w3|gate_proj|up_proj|down_proj)\.(weight|scales|biases)$`)

// stackName is the name of a stacked tensor.
var stackName = regexp.MustCompile(`^(.+\.(?:block_sparse_moe|mlp))\.switch_mlp\.(gate_proj|up_proj|down_proj)\.(weight|scales|biases)$`)

// stackedName gives the module's name in MLX's files for that in Hugging Face's.
var stackedName = map[string]string{"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj", "gate_proj": "gate_proj", "down_proj": "down_proj", "up_proj": "up_proj"}

// ExpertTensor is the name that one expert's part of a stacked tensor, such as
// "model.layers.0.mlp.switch_mlp.up_proj.weight", has in Hugging Face's files. ok is
// false for other tensors.
func ExpertTensor(stacked string, expert int) (name string, ok bool) {
	m := stackName.FindStringSubmatch(stacked)
	if m == nil {
		return "", false
	}
	matrix := m[2]
	if strings.HasSuffix(m[1], "block_sparse_moe") { // Mixtral
		matrix = map[string]string{"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}[matrix]
	}
	return fmt.Sprintf("%s.experts.%d.%s.%s", m[1], expert, matrix, m[3]), true
}

// StackedTensor is the name of the stacked tensor to which one expert's tensor belongs,
// and the number of the expert. ok is false for other tensors.
func StackedTensor(name string) (stacked string, expert int, ok bool) {
	m := expertName.FindStringSubmatch(name)
	if m == nil {
		return "", 0, false
	}
	expert, _ = strconv.Atoi(m[2])
	return m[1] + ".switch_mlp." + stackedName[m[3]] + "." + m[4], expert, true
}

// stack takes the tensors of single experts out of f.tensors and lists them as
// parts of stacked ones.
func (f *folder) stack() error {
	found := map[string]map[int]Tensor{}
	for name, t := range f.tensors {
		stacked, i, ok := StackedTensor(name)
		if !ok {
			continue
		}
		if found[stacked] == nil {
			found[stacked] = map[int]Tensor{}
		}
		if other, twice := found[stacked][i]; twice {
			return fmt.Errorf("%s: tensors %q and %q are the same expert's", f.path, other.Name, name)
		}
		found[stacked][i] = t
		delete(f.tensors, name)
	}
	f.stacks = map[string][]Tensor{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if t, ok := f.tensors[name]; ok {
			return fmt.Errorf("%s: tensor %q is there, and so are the experts it consists of", f.path, t.Name)
		}
		parts, err := inOrder(found[name])
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		f.stacks[name] = parts
	}
	return nil
}

// inOrder lists the parts of a stack. They must be alike and without a gap.
func inOrder(parts map[int]Tensor) ([]Tensor, error) {
	list := make([]Tensor, len(parts))
	last := parts[slices.Max(slices.Collect(maps.Keys(parts)))]
	for i := range list {
		t, ok := parts[i]
		if !ok {
			return nil, fmt.Errorf("tensor %q is there, but expert %d of that layer is missing: is the folder complete?", last.Name, i)
		}
		if t.DType != last.DType || !slices.Equal(t.Shape, last.Shape) {
			return nil, fmt.Errorf("tensor %q is %v %v, but %q is %v %v: experts are alike", t.Name, t.DType, t.Shape, last.Name, last.DType, last.Shape)
		}
		list[i] = t
	}
	return list, nil
}

// stacked copies the parts of a stack into one tensor. The Data of its outline is nil.
func (f *folder) stacked(name string, outline bool) (Tensor, bool) {
	parts, ok := f.stacks[name]
	if !ok {
		return Tensor{}, false
	}
	t := Tensor{Name: name, DType: parts[0].DType, Shape: append([]int{len(parts)}, parts[0].Shape...)}
	if outline {
		return t, true
	}
	t.Data = make([]byte, 0, len(parts)*len(parts[0].Data))
	for _, p := range parts {
		t.Data = append(t.Data, p.Data...)
	}
	return t, true
}
