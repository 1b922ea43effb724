package weights

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lentil-lm/lentil/quant"
)

// GGUF is a Source over one GGUF file of a llama-like architecture.
//
// Tensors have their Hugging Face names, and rows in the order of Hugging Face's files:
// files of the llama family store the rows of query and key projections so that the two
// halves of a rotated pair are neighbours; here they are half a head apart, as in every
// other file.
type GGUF struct {
	path     string
	mapping  *mapping
	metadata map[string]any
	config   []byte
	tensors  map[string]*ggufEntry // by Hugging Face name
}

// ggufEntry is a tensor, with what was made of it when it was first asked for.
type ggufEntry struct {
	ggufTensor
	heads   int // above 0: rows are to be put back in order, head by head
	experts int // above 0: a stack of that many matrices

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
		name, err := HFName(c.architecture, t.name)
		if err != nil {
			return fmt.Errorf("%w (architecture %q)", err, c.architecture)
		}
		if name == "" {
			continue
		}
		e := &ggufEntry{ggufTensor: t}
		if e.experts, err = c.expertsOf(t); err != nil {
			return err
		}
		if e.heads = c.family.PairedHeads(name, c.heads, c.kvHeads); e.heads > 0 && t.shape[0]%(2*e.heads) != 0 {
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

// Config returns a config.json such as the model had before it was converted. It may
// have a rope_scaling of type "gguf_factors": its "factors" divide the rotary
// frequencies, pair by pair. These files store the scaling of Llama 3 this way.
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

// Tensor returns a tensor of plain numbers; for block formats ok is false.
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

// Outline is Matrix: a GGUF file has its experts in one tensor.
func (g *GGUF) Outline(module string) (*quant.Matrix, error) { return g.Matrix(module) }

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
	kind, shape := ggufTypes[e.kind], e.shape
	if e.experts > 0 { // [experts, rows, columns]: the rows of one expert come after those of another
		shape = []int{shape[0] * shape[1], shape[2]}
	}
	if len(shape) != 2 {
		return nil, fmt.Errorf("tensor %q has shape %v, expected 2 dimensions", name, e.shape)
	}
	var m *quant.Matrix
	var err error
	if kind.dtype != 0 {
		m, err = denseMatrix(Tensor{name, kind.dtype, shape, e.ordered()})
	} else if m, err = quant.FromBlocks(kind.block, e.ordered(), shape[0], shape[1]); err != nil {
		err = fmt.Errorf("tensor %q: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	m.Experts = e.experts
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
