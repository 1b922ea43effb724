package adapter

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
)

// untrained lists those of the named tensors that the model has a place for, but does
// not train.
func untrained(m *model.Model, names []string, params map[string]nn.Param) (list []string) {
	places := map[string]bool{}
	for _, l := range m.Linears() {
		places[l.Name] = true
	}
	for _, name := range names {
		if _, ok := params[name]; ok {
			continue
		}
		if _, ok := m.ShapeOf(name); ok || places[moduleOf(name)] {
			list = append(list, name)
		}
	}
	return list
}

// wouldLose is the error for tensors of a file that a run does not train.
func wouldLose(m *model.Model, path string, names []string, params map[string]nn.Param) error {
	shown := names
	if len(shown) > mostListed {
		shown = append(slices.Clone(shown[:mostListed]), "...")
	}
	return fault.At("resume_adapter_file", "%s holds %d tensors that this run does not train and would lose: %s", path, len(names), strings.Join(shown, ", ")).
		Try("%v", trainAll(m, names, params))
}

// trainAll gives the settings that train the named tensors beside what is trained.
func trainAll(m *model.Model, names []string, params map[string]nn.Param) fault.Note {
	parts := map[string]bool{} // of blocks, or whole paths
	first := len(m.Blocks)
	add := func(name string) {
		block, part := inBlock(moduleOf(name))
		parts[part] = true
		if block >= 0 {
			first = min(first, block)
		}
	}
	for name := range params {
		add(name)
	}
	firstTrained, partsTrained := first, len(parts)
	for _, name := range names {
		add(name)
	}
	layers := fault.Say("Give %v %d or more.", fault.Setting("num_layers"), len(m.Blocks)-first)
	more := fault.Say("Give %v all of these: %s.", fault.Setting("lora_parameters.keys"), strings.Join(slices.Sorted(maps.Keys(parts)), " "))
	if fineTuneType(names) == "full" {
		more = fault.Say("Set %v.", fault.Setting("train_embeddings"))
	}
	switch fewLayers, fewParts := first < firstTrained, partsTrained < len(parts); {
	case fewLayers && fewParts:
		return fault.Say("%v\n%v", layers, more)
	case fewLayers:
		return layers
	case fewParts:
		return more
	}
	return fault.Say("Give the settings that it was trained with.")
}

// moduleOf is the module that a tensor of a training belongs to.
func moduleOf(name string) string {
	for _, suffix := range []string{".lora_a", ".lora_b", ".m"} {
		if module, ok := strings.CutSuffix(name, suffix); ok {
			return module
		}
	}
	return name
}

// inBlock parts a module into the number of its block and its name there. Of a module
// outside the blocks, the number is -1 and the name its whole path.
func inBlock(module string) (block int, part string) {
	rest, ok := strings.CutPrefix(module, "model.layers.")
	number, part, _ := strings.Cut(rest, ".")
	block, err := strconv.Atoi(number)
	if !ok || err != nil {
		return -1, module
	}
	return block, part
}
