package weights

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/lentil-lm/lentil/quant"
)

// GGUF is a Source over one GGUF file of a llama-like architecture.
//
// Tensors go by their Hugging Face names, and have the order of rows that goes
// with them: files of the llama family store the rows of query and key
// projections so that the two halves of a rotated pair are neighbours, and
// here they are half a head apart again, as in every other file.
type GGUF struct {
	path     string
	mapping  *mapping
	metadata map[string]any
	config   []byte
	tensors  map[string]*ggufEntry // by Hugging Face name
}

// ggufEntry is a tensor with what was made of it, once asked for.
type ggufEntry struct {
	ggufTensor
	heads int // above 0: rows are to be put back in order, head by head

	reorder sync.Once
	rows    []byte // data with its rows in order

	convert sync.Once
	matrix  *quant.Matrix
	err     error
}

// OpenGGUF maps a GGUF file and checks its metadata and tensor list.
func OpenGGUF(path string) (*GGUF, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	g := &GGUF{path: path, mapping: m, tensors: map[string]*ggufEntry{}}
	if err := g.parse(); err != nil {
		m.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

func (g *GGUF) parse() error {
	metadata, tensors, err := parseGGUF(g.mapping.data)
	if err != nil {
		return err
	}
	g.metadata = metadata
	c, err := newGGUFConfig(metadata)
	if err != nil {
		return err
	}
	for _, t := range tensors {
		if t.name == "rope_freqs.weight" {
			if err := c.setFactors(t); err != nil {
				return err
			}
			continue
		}
		name, err := hfName(t.name)
		if err != nil {
			return fmt.Errorf("%w (architecture %q)", err, c.architecture)
		}
		if name == "" {
			continue
		}
		e := &ggufEntry{ggufTensor: t}
		if e.heads = c.reorderedHeads(name); e.heads > 0 && t.shape[0]%(2*e.heads) != 0 {
			return fmt.Errorf("tensor %q has %d rows, expected a multiple of twice the %d heads", t.name, t.shape[0], e.heads)
		}
		g.tensors[name] = e
	}
	g.config, err = c.json(g.tensors)
	return err
}

// Metadata returns the file's metadata. Values have the Go type of their kind
// (string, bool, uint8 to float64), arrays are slices of it. They are copies
// that outlive Close.
func (g *GGUF) Metadata() map[string]any { return g.metadata }

// Config returns a config.json such as the model had before it was converted.
// Besides the usual fields there may be a rope_scaling of type "gguf_factors",
// whose "factors" divide the rotary frequencies, pair by pair: that is how
// these files store the scaling of Llama 3.
func (g *GGUF) Config() []byte { return g.config }

// Names returns the Hugging Face names of all tensors, sorted.
func (g *GGUF) Names() []string { return slices.Sorted(maps.Keys(g.tensors)) }

// Path returns the file's path.
func (g *GGUF) Path() string { return g.path }

// Close unmaps the file. Nothing given out may be used afterwards.
func (g *GGUF) Close() error { return g.mapping.close() }

// Has reports whether module+".weight" exists.
func (g *GGUF) Has(module string) bool {
	_, ok := g.tensors[module+".weight"]
	return ok
}

// Tensor returns a tensor of plain numbers; block formats are not to be had
// this way.
func (g *GGUF) Tensor(name string) (Tensor, bool) {
	e, ok := g.tensors[name]
	if !ok || ggufTypes[e.kind].dtype == 0 {
		return Tensor{}, false
	}
	return Tensor{name, ggufTypes[e.kind].dtype, e.shape, e.ordered()}, true
}

// Matrix returns the weights of a module.
func (g *GGUF) Matrix(module string) (*quant.Matrix, error) {
	e, ok := g.tensors[module+".weight"]
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q", g.path, module+".weight")
	}
	e.convert.Do(func() { e.matrix, e.err = e.toMatrix(module + ".weight") })
	if e.err != nil {
		return nil, fmt.Errorf("%s: %w", g.path, e.err)
	}
	return e.matrix, nil
}

// Blocks returns the weights of a module as they are stored, with rows in Hugging
// Face's order; ok is false for plain numbers.
func (g *GGUF) Blocks(module string) (b quant.BlockType, data []byte, ok bool) {
	e, ok := g.tensors[module+".weight"]
	if !ok || ggufTypes[e.kind].dtype != 0 {
		return 0, nil, false
	}
	return ggufTypes[e.kind].block, e.ordered(), true
}

func (e *ggufEntry) toMatrix(name string) (*quant.Matrix, error) {
	if kind := ggufTypes[e.kind]; kind.dtype != 0 {
		return denseMatrix(Tensor{name, kind.dtype, e.shape, e.ordered()})
	}
	if len(e.shape) != 2 {
		return nil, fmt.Errorf("tensor %q has shape %v, expected 2 dimensions", name, e.shape)
	}
	m, err := quant.FromBlocks(ggufTypes[e.kind].block, e.ordered(), e.shape[0], e.shape[1])
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	return m, nil
}

// ordered returns the data with rows in Hugging Face's order.
func (e *ggufEntry) ordered() []byte {
	if e.heads == 0 {
		return e.data
	}
	e.reorder.Do(func() { e.rows = SplitPairs(e.data, e.shape[0], e.heads) })
	return e.rows
}

// SplitPairs is the inverse of [JoinPairs]: row 2*i+s of a head in data becomes row
// s*half+i, where half is half the rows of a head.
func SplitPairs(data []byte, rows, heads int) []byte {
	out := make([]byte, len(data))
	size, half := len(data)/rows, rows/heads/2
	for h := range heads {
		first := h * 2 * half
		for s := range 2 {
			for i := range half {
				to, from := (first+s*half+i)*size, (first+2*i+s)*size
				copy(out[to:to+size], data[from:from+size])
			}
		}
	}
	return out
}

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

// hfName translates a tensor's name. It is empty for the tables of rotary
// frequencies in old files, which every reader computes anew.
func hfName(name string) (string, error) {
	if m := blockName.FindStringSubmatch(name); m != nil {
		if module, ok := hfBlockModules[m[2]]; ok {
			return "model.layers." + m[1] + "." + module + "." + m[3], nil
		}
		if m[2] == "attn_rot_embd" {
			return "", nil
		}
	} else if at := strings.LastIndexByte(name, '.'); at >= 0 && (name[at:] == ".weight" || name[at:] == ".bias") {
		if module, ok := hfModules[name[:at]]; ok {
			return module + name[at:], nil
		}
	}
	if strings.Contains(name, "_exps.") || strings.Contains(name, "ffn_gate_inp") {
		return "", errors.New("mixtures of experts are not supported yet")
	}
	return "", fmt.Errorf("tensor %q is not part of a known architecture", name)
}
