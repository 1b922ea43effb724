package weights

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"reflect"
	"slices"

	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/quant"
)

// GGUFType is the type of a tensor in a GGUF file: plain numbers or blocks.
type GGUFType struct {
	DType quant.DType     // F32, F16 or BF16; 0 for blocks
	Block quant.BlockType // if DType is 0
}

// String returns ggml's name, such as "F16" or "Q4_K".
func (t GGUFType) String() string {
	if t.DType != 0 {
		return t.DType.String()
	}
	return t.Block.String()
}

// number returns the ggml_type.
func (t GGUFType) number() (uint32, bool) {
	for n, known := range ggufTypes {
		if known.dtype == t.DType && (t.DType != 0 || known.block == t.Block) {
			return n, true
		}
	}
	return 0, false
}

// GGUFEntry is a tensor to be written to a GGUF file. Its bytes are asked for when their
// turn comes.
type GGUFEntry struct {
	Name  string
	Type  GGUFType
	Shape []int // row-major: rows before columns
	// Bytes returns the data: little-endian numbers, or blocks row after row.
	Bytes func() ([]byte, error)
}

// GGUF is an entry of the tensor as it is. Its type has to be F32, F16 or BF16.
func (t Tensor) GGUF() GGUFEntry {
	return GGUFEntry{Name: t.Name, Type: GGUFType{DType: t.DType}, Shape: t.Shape, Bytes: func() ([]byte, error) { return t.Data, nil }}
}

// size returns the bytes of the tensor.
func (e *GGUFEntry) size() (int, error) {
	kind, ok := e.Type.number()
	if !ok {
		return 0, fmt.Errorf("tensor %q: type %v cannot be written", e.Name, e.Type)
	}
	const widest = 8
	if n, ok := elements(e.Shape, widest); !ok || n == 0 || len(e.Shape) > ggufMaxDims {
		return 0, fmt.Errorf("tensor %q: shape %v cannot be written, expected 1 to %d positive sizes", e.Name, e.Shape, ggufMaxDims)
	}
	if e.Type.DType == 0 && e.Shape[len(e.Shape)-1]%e.Type.Block.Elements() != 0 {
		return 0, fmt.Errorf("tensor %q: rows of %d weights, %v takes multiples of %d", e.Name, e.Shape[len(e.Shape)-1], e.Type, e.Type.Block.Elements())
	}
	return tensorBytes(&ggufTensor{shape: e.Shape, kind: kind}), nil
}

// WriteGGUF writes a GGUF file of version 3, whole or not at all: the file has another
// name until it is complete, on disk and read back. Metadata are the values that
// [GGUF.Metadata] returns: strings, booleans, numbers of 8 to 64 bits, and slices of
// these. general.architecture comes first, the rest is sorted. Tensors have the given
// order, each at a multiple of 32 bytes.
func WriteGGUF(path string, metadata map[string]any, tensors []GGUFEntry) error {
	head, err := ggufHead(metadata, tensors)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := atomicfile.Options{}.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	sum := crc32.New(castagnoli)
	if err := writeGGUF(io.MultiWriter(f, sum), path, head, tensors); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if f.Temporary() { // what goes into a pipe cannot be read again
		if err := readBack(f.Name(), sum.Sum32()); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return f.Commit()
}

// writeGGUF writes head and tensors; path is for errors that are not the disk's.
func writeGGUF(file io.Writer, path string, head []byte, tensors []GGUFEntry) error {
	w := bufio.NewWriterSize(file, 1<<20)
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, t := range tensors {
		data, err := t.content()
		if err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		if _, err := w.Write(make([]byte, padding(len(data)))); err != nil {
			return err
		}
	}
	return w.Flush()
}

// content asks for the data and checks their size.
func (e *GGUFEntry) content() ([]byte, error) {
	size, err := e.size()
	if err != nil {
		return nil, err
	}
	return contentOf(e.Name, e.Type, e.Shape, int64(size), e.Bytes)
}

// padding returns the bytes from n to the next multiple of the alignment.
func padding(n int) int { return (ggufAlignment - n%ggufAlignment) % ggufAlignment }

// ggufHead returns everything before the data.
func ggufHead(metadata map[string]any, tensors []GGUFEntry) ([]byte, error) {
	const version, first = 3, "general.architecture"
	le := binary.LittleEndian
	b := le.AppendUint32([]byte(ggufMagic), version)
	b = le.AppendUint64(b, uint64(len(tensors)))
	b = le.AppendUint64(b, uint64(len(metadata)))
	keys := slices.Sorted(maps.Keys(metadata))
	if at, ok := slices.BinarySearch(keys, first); ok {
		keys = slices.Insert(slices.Delete(keys, at, at+1), 0, first)
	}
	if a, ok := metadata["general.alignment"]; ok && a != uint32(ggufAlignment) {
		return nil, fmt.Errorf("metadata \"general.alignment\" is %v: %d is what is written", a, ggufAlignment)
	}
	for _, key := range keys {
		v := reflect.ValueOf(metadata[key])
		kind, ok := ggufValueTypes[v.Kind()]
		if !ok {
			return nil, fmt.Errorf("metadata %q: a %T cannot be written", key, metadata[key])
		}
		b = le.AppendUint32(appendGGUFString(b, key), kind)
		var err error
		if b, err = appendGGUFValue(b, v); err != nil {
			return nil, fmt.Errorf("metadata %q: %w", key, err)
		}
	}
	seen := map[string]bool{}
	var offset int
	for _, t := range tensors {
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor name %q is taken", t.Name)
		}
		seen[t.Name] = true
		size, err := t.size()
		if err != nil {
			return nil, err
		}
		b = le.AppendUint32(appendGGUFString(b, t.Name), uint32(len(t.Shape)))
		for _, s := range slices.Backward(t.Shape) {
			b = le.AppendUint64(b, uint64(s))
		}
		kind, _ := t.Type.number()
		b = le.AppendUint64(le.AppendUint32(b, kind), uint64(offset))
		offset += size + padding(size)
	}
	return append(b, make([]byte, padding(len(b)))...), nil
}

// ggufValueTypes gives the value type of a Go kind.
var ggufValueTypes = map[reflect.Kind]uint32{
	reflect.Uint8: ggufU8, reflect.Int8: ggufI8, reflect.Uint16: ggufU16, reflect.Int16: ggufI16, reflect.Uint32: ggufU32,
	reflect.Int32: ggufI32, reflect.Float32: ggufF32, reflect.Bool: ggufBool, reflect.String: ggufString,
	reflect.Slice: ggufArray, reflect.Uint64: ggufU64, reflect.Int64: ggufI64, reflect.Float64: ggufF64,
}

func appendGGUFString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

func appendGGUFValue(b []byte, v reflect.Value) ([]byte, error) {
	switch v.Kind() {
	case reflect.String:
		return appendGGUFString(b, v.String()), nil
	case reflect.Slice:
		kind, ok := ggufValueTypes[v.Type().Elem().Kind()]
		if !ok || kind == ggufArray {
			return nil, fmt.Errorf("a list of %v cannot be written", v.Type().Elem())
		}
		b = binary.LittleEndian.AppendUint32(b, kind)
		b = binary.LittleEndian.AppendUint64(b, uint64(v.Len()))
		if kind != ggufString {
			return binary.Append(b, binary.LittleEndian, v.Interface())
		}
		for i := range v.Len() {
			b = appendGGUFString(b, v.Index(i).String())
		}
		return b, nil
	case reflect.Invalid:
		return nil, errors.New("no value")
	}
	return binary.Append(b, binary.LittleEndian, v.Interface())
}
