package weights

import (
	"fmt"
	"regexp"
	"strings"
)

var blockName = regexp.MustCompile(`^blk\.(\d{1,4})\.([a-z_]+)\.(weight|bias)$`)

// Names of modules, first outside and then inside of a block.
var (
	hfModules = map[string]string{
		"token_embd":  "model.embed_tokens",
		"output_norm": "model.norm",
		"output":      "lm_head",
	}
	hfBlockModules = map[string]string{
		"attn_norm":   "input_layernorm",
		"attn_q":      "self_attn.q_proj",
		"attn_k":      "self_attn.k_proj",
		"attn_v":      "self_attn.v_proj",
		"attn_output": "self_attn.o_proj",
		"attn_q_norm": "self_attn.q_norm",
		"attn_k_norm": "self_attn.k_norm",
		"ffn_norm":    "post_attention_layernorm",
		"ffn_gate":    "mlp.gate_proj",
		"ffn_up":      "mlp.up_proj",
		"ffn_down":    "mlp.down_proj",
	}
)

// The inverses: names in GGUF files by those of modules, outside and inside of a block.
var ggufModules, ggufBlockModules = inverse(hfModules), ggufNamesInBlock()

func inverse(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[v] = k
	}
	return out
}

func ggufNamesInBlock() map[string]string {
	names := inverse(hfBlockModules)
	for _, family := range ggufFamilies {
		if family.Experts == nil {
			continue
		}
		for gguf, module := range hfExpertModules {
			names[family.Experts.Module+"."+module] = gguf
		}
	}
	return names
}

var hfBlockName = regexp.MustCompile(`^model\.layers\.(\d{1,4})\.([a-z_.]+)\.(weight|bias)$`)

// GGUFName returns the name that a tensor has in GGUF files, from its Hugging
// Face name; ok is false if it has none.
func GGUFName(name string) (gguf string, ok bool) {
	if m := hfBlockName.FindStringSubmatch(name); m != nil {
		module, ok := ggufBlockModules[m[2]]
		return "blk." + m[1] + "." + module + "." + m[3], ok
	}
	at := strings.LastIndexByte(name, '.')
	if at < 0 || name[at:] != ".weight" && name[at:] != ".bias" {
		return "", false
	}
	module, ok := ggufModules[name[:at]]
	return module + name[at:], ok
}

// HFName is the inverse of GGUFName in a file of an architecture. It is empty for the
// tables of rotary frequencies in old files: every reader computes these itself.
func HFName(architecture, gguf string) (string, error) {
	if m := blockName.FindStringSubmatch(gguf); m != nil {
		module, ok := hfBlockModules[m[2]]
		for _, family := range GGUFFamilies(architecture) {
			if family.Experts != nil && !ok {
				module, ok = hfExpertModules[m[2]]
				module = family.Experts.Module + "." + module
			}
		}
		if ok {
			return "model.layers." + m[1] + "." + module + "." + m[3], nil
		}
		if m[2] == "attn_rot_embd" {
			return "", nil
		}
	} else if at := strings.LastIndexByte(gguf, '.'); at >= 0 && (gguf[at:] == ".weight" || gguf[at:] == ".bias") {
		if module, ok := hfModules[gguf[:at]]; ok {
			return module + gguf[at:], nil
		}
	}
	if err := checkOtherExperts(gguf); err != nil {
		return "", err
	}
	return "", fmt.Errorf("tensor %q is not part of a known architecture", gguf)
}

// JoinPairs brings the rows of a query or key projection into the order that files of
// the llama family have: row s*half+i of a head in data becomes row 2*i+s, where half is
// half the rows of a head. data is rows of equal size, as numbers or as the bytes of any
// format.
func JoinPairs[T any](data []T, rows, heads int) []T {
	out := make([]T, len(data))
	eachPair(len(data), rows, heads, func(joined, split, size int) { copy(out[joined:joined+size], data[split:]) })
	return out
}

// SplitPairs is the inverse of [JoinPairs].
func SplitPairs[T any](data []T, rows, heads int) []T {
	out := make([]T, len(data))
	eachPair(len(data), rows, heads, func(joined, split, size int) { copy(out[split:split+size], data[joined:]) })
	return out
}

// eachPair calls move with where each row begins in both orders, and with its size.
func eachPair(n, rows, heads int, move func(joined, split, size int)) {
	size, half := n/rows, rows/heads/2
	for h := range heads {
		first := h * 2 * half
		for s := range 2 {
			for i := range half {
				move((first+2*i+s)*size, (first+s*half+i)*size, size)
			}
		}
	}
}
