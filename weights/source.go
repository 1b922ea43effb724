package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/quant"
)

// Tensor is a named array in row-major order.
type Tensor struct {
	Name  string
	DType quant.DType
	Shape []int
	Data  []byte // little-endian, product of Shape times DType.Size() bytes
}

// FloatTensor is a tensor of float32 numbers.
func FloatTensor(name string, values []float32, shape ...int) Tensor {
	t := Tensor{Name: name, DType: quant.F32, Shape: shape, Data: make([]byte, 4*len(values))}
	quant.PutFloats(t.Data, values, quant.F32)
	return t
}

// Floats are the tensor's numbers as float32.
func (t Tensor) Floats() []float32 {
	values := make([]float32, len(t.Data)/t.DType.Size())
	quant.Floats(values, t.Data, t.DType)
	return values
}

// Source is an opened model. It is safe for concurrent use until Close.
type Source interface {
	// Config returns config.json. A GGUF file's is made from its metadata.
	Config() []byte
	// Names returns the names of all tensors, sorted.
	Names() []string
	// Tensor returns a tensor as it is stored; ok is false for GGUF tensors in block
	// formats, which are a Matrix only.
	Tensor(name string) (Tensor, bool)
	// Matrix returns the weights of a module such as
	// "model.layers.0.self_attn.q_proj": dense, affine or GGUF blocks.
	Matrix(module string) (*quant.Matrix, error)
	// Outline is Matrix without copies: where a folder stores experts apart, Matrix copies
	// them into one matrix, and Outline leaves out the data.
	Outline(module string) (*quant.Matrix, error)
	// Has reports whether the tensor module+".weight" exists.
	Has(module string) bool
	// Fingerprint tells the model from others: by its config, the names, types and shapes of
	// its tensors, and parts of their data. It is the same wherever the files lie.
	Fingerprint() string
	// Path returns what was given to Open.
	Path() string
	// Close unmaps the files. Nothing given out may be used afterwards.
	Close() error
}

// Open opens a model folder or a GGUF file.
func Open(path string) (Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("no model at %s: %w", path, cause(err))
	}
	if info.IsDir() {
		if err := atomicfile.Finish(path); err != nil {
			return nil, err
		}
		return openFolder(path)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is neither a model folder nor a GGUF file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err == nil && string(magic[:]) == ggufMagic {
		return OpenGGUF(path)
	}
	if strings.HasSuffix(path, ".safetensors") {
		return nil, fmt.Errorf("%s is one file of a model; give the folder it is in: %s", path, filepath.Dir(path))
	}
	return nil, fmt.Errorf("%s is neither a model folder nor a GGUF file", path)
}

// cause returns what went wrong without the operation and path of a PathError.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// elements returns the product of the sizes of a shape. ok is false if a size is negative
// or the product times elementSize overflows.
func elements(shape []int, elementSize int) (n int, ok bool) {
	n = 1
	for _, s := range shape {
		if s < 0 || s > 0 && n > math.MaxInt/elementSize/s {
			return 0, false
		}
		n *= s
	}
	return n, true
}

// denseMatrix makes a matrix of a floating-point tensor.
func denseMatrix(t Tensor) (*quant.Matrix, error) {
	if len(t.Shape) != 2 && len(t.Shape) != 3 {
		return nil, fmt.Errorf("tensor %q has shape %v, expected 2 dimensions, or 3 for experts", t.Name, t.Shape)
	}
	m := &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: t.DType}, Cols: t.Shape[len(t.Shape)-1], Data: t.Data}
	m.Rows, m.Experts = rowsOf(t.Shape)
	return checked(t, m)
}

// checked checks a matrix made of tensor t, unless t is an outline.
func checked(t Tensor, m *quant.Matrix) (*quant.Matrix, error) {
	if n, _ := elements(t.Shape, 1); n > 0 && t.Data == nil {
		return m, nil
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return m, nil
}

// checkJSON reports whether data is one JSON object, with line and column of
// the first mistake.
func checkJSON(path string, data []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return jsonpos.Error(path, data, err)
	}
	if object == nil {
		return fmt.Errorf("%s: expected a JSON object", path)
	}
	return nil
}
