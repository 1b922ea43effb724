package weights

import (
	"fmt"
	"hash/crc32"

	"github.com/lentil-lm/lentil/quant"
)

// GGUFFile is a GGUF file as it is stored, whatever it holds: a model or an adapter.
type GGUFFile struct {
	Metadata map[string]any // as [GGUF.Metadata] gives them
	Tensors  []GGUFTensor   // in the file's order
	mapping  *mapping
}

// GGUFTensor is a tensor under the name and in the type that the file has.
type GGUFTensor struct {
	Name  string
	Type  GGUFType
	Shape []int // row-major
	Data  []byte
}

// Floats are the tensor's numbers as float32.
func (t GGUFTensor) Floats() []float32 {
	n, _ := elements(t.Shape, 1)
	values := make([]float32, n)
	if t.Type.DType != 0 {
		quant.Floats(values, t.Data, t.Type.DType)
	} else {
		t.Type.Block.Decode(values, t.Data)
	}
	return values
}

// OpenGGUFFile maps a GGUF file and checks its metadata and tensor list, but not their
// meaning.
func OpenGGUFFile(path string) (*GGUFFile, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	f := &GGUFFile{mapping: m}
	metadata, tensors, err := parseGGUF(m.data)
	if err != nil {
		m.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Metadata = metadata
	for _, t := range tensors {
		kind := ggufTypes[t.kind]
		f.Tensors = append(f.Tensors, GGUFTensor{t.name, GGUFType{kind.dtype, kind.block}, t.shape, t.data})
	}
	return f, nil
}

// Close unmaps the file. Its tensors may not be used afterwards.
func (f *GGUFFile) Close() error { return f.mapping.close() }

// castagnoli is the polynomial for which processors have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readBack checks that a written file can be read and has the checksum of what it should
// contain.
func readBack(path string, sum uint32) error {
	f, err := OpenGGUFFile(path)
	if err != nil {
		return fmt.Errorf("reading back what was written: %w", err)
	}
	defer f.Close()
	if got := crc32.Checksum(f.mapping.data, castagnoli); got != sum {
		return fmt.Errorf("reading back what was written: checksum %08x instead of %08x; the disk or the memory may be faulty: try again, or elsewhere", got, sum)
	}
	return nil
}
