package weights

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/quant"
)

const ggufMagic = "GGUF"

// Limits of the format, and a sensible one for the alignment.
const (
	ggufMaxDims      = 4
	ggufMaxAlignment = 1 << 20
	ggufAlignment    = 32 // unless general.alignment says otherwise
)

// ggufTensor is one entry of the file's tensor list.
type ggufTensor struct {
	name  string
	shape []int  // row-major: the file lists sizes the other way round
	kind  uint32 // ggml_type
	data  []byte
}

// ggufType describes a ggml_type that can be read: a plain number or a block.
type ggufType struct {
	dtype quant.DType // 0 for blocks
	block quant.BlockType
}

var ggufTypes = map[uint32]ggufType{
	0: {dtype: quant.F32}, 1: {dtype: quant.F16}, 30: {dtype: quant.BF16},
	2: {block: quant.BlockQ4_0}, 3: {block: quant.BlockQ4_1},
	6: {block: quant.BlockQ5_0}, 7: {block: quant.BlockQ5_1}, 8: {block: quant.BlockQ8_0},
	12: {block: quant.BlockQ4K}, 13: {block: quant.BlockQ5K}, 14: {block: quant.BlockQ6K},
}

// ggufTypeNames names the types that are not read, for the error message.
var ggufTypeNames = map[uint32]string{
	9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
	19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32",
	27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}

// ggufReader reads the head of a file. It checks every length against what is left of the
// file before it uses it.
type ggufReader struct {
	file []byte
	at   int
}

var errShort = errors.New("the file ends in the middle; download it again")

// parseGGUF reads metadata and tensor list of a whole file, version 2 or 3.
// Format: docs/gguf.md of the ggml project.
func parseGGUF(file []byte) (map[string]any, []ggufTensor, error) {
	r := &ggufReader{file: file}
	head, err := r.bytes(8)
	if err != nil || string(head[:4]) != ggufMagic {
		return nil, nil, errors.New("not a GGUF file")
	}
	switch version := binary.LittleEndian.Uint32(head[4:]); {
	case version == 2 || version == 3:
	case version&0xffff == 0:
		return nil, nil, errors.New("a big-endian GGUF file; only little-endian ones are supported")
	default:
		return nil, nil, fmt.Errorf("GGUF version %d, expected 2 or 3", version)
	}
	const smallestTensor, smallestPair = 8 + 4 + 4 + 8, 8 + 4 + 1
	tensors, err := r.count("tensors", smallestTensor)
	if err != nil {
		return nil, nil, err
	}
	pairs, err := r.count("metadata entries", smallestPair)
	if err != nil {
		return nil, nil, err
	}
	metadata, err := r.metadata(pairs)
	if err != nil {
		return nil, nil, err
	}
	list, err := r.tensors(tensors, metadata)
	return metadata, list, err
}

// bytes returns the next n bytes of the file.
func (r *ggufReader) bytes(n int) ([]byte, error) {
	if n < 0 || n > len(r.file)-r.at {
		return nil, errShort
	}
	r.at += n
	return r.file[r.at-n : r.at], nil
}

func (r *ggufReader) uint32() (uint32, error) {
	b, err := r.bytes(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

// count reads a number of things that take at least size bytes each.
func (r *ggufReader) count(what string, size int) (int, error) {
	b, err := r.bytes(8)
	if err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(b)
	if n > uint64((len(r.file)-r.at)/size) {
		return 0, fmt.Errorf("%d %s do not fit in the %d bytes that are left of the file", n, what, len(r.file)-r.at)
	}
	return int(n), nil
}

func (r *ggufReader) string() (string, error) {
	n, err := r.count("bytes of text", 1)
	if err != nil {
		return "", err
	}
	b, err := r.bytes(n)
	return string(b), err
}

func (r *ggufReader) metadata(pairs int) (map[string]any, error) {
	m := make(map[string]any, pairs)
	for range pairs {
		key, err := r.string()
		if err != nil {
			return nil, fmt.Errorf("metadata key after %d entries: %w", len(m), err)
		}
		kind, err := r.uint32()
		if err != nil {
			return nil, fmt.Errorf("metadata %q: %w", key, err)
		}
		if _, twice := m[key]; twice {
			return nil, fmt.Errorf("metadata %q is there twice", key)
		}
		if m[key], err = r.value(kind); err != nil {
			return nil, fmt.Errorf("metadata %q: %w", key, err)
		}
	}
	return m, nil
}

// Numbers of the metadata value types.
const (
	ggufU8 uint32 = iota
	ggufI8
	ggufU16
	ggufI16
	ggufU32
	ggufI32
	ggufF32
	ggufBool
	ggufString
	ggufArray
	ggufU64
	ggufI64
	ggufF64
)

// value reads a value as its Go type; arrays become slices.
func (r *ggufReader) value(kind uint32) (any, error) {
	switch kind {
	case ggufString:
		return r.string()
	case ggufArray:
		return r.array()
	}
	// A single number is an array of one.
	numbers, err := r.numbers(kind, 1)
	if err != nil {
		return nil, err
	}
	switch v := numbers.(type) {
	case []uint8:
		return v[0], nil
	case []int8:
		return v[0], nil
	case []uint16:
		return v[0], nil
	case []int16:
		return v[0], nil
	case []uint32:
		return v[0], nil
	case []int32:
		return v[0], nil
	case []float32:
		return v[0], nil
	case []bool:
		return v[0], nil
	case []uint64:
		return v[0], nil
	case []int64:
		return v[0], nil
	default:
		return v.([]float64)[0], nil
	}
}

func (r *ggufReader) array() (any, error) {
	kind, err := r.uint32()
	if err != nil {
		return nil, err
	}
	switch kind {
	case ggufArray:
		return nil, errors.New("arrays of arrays are not supported")
	case ggufString:
		n, err := r.count("strings", 8)
		if err != nil {
			return nil, err
		}
		list := make([]string, n)
		for i := range list {
			if list[i], err = r.string(); err != nil {
				return nil, fmt.Errorf("string %d of %d: %w", i, n, err)
			}
		}
		return list, nil
	}
	n, err := r.count("array elements", 1)
	if err != nil {
		return nil, err
	}
	return r.numbers(kind, n)
}

// numbers reads n numbers of one type into a slice of it.
func (r *ggufReader) numbers(kind uint32, n int) (any, error) {
	switch kind {
	case ggufU8:
		return fixed[uint8](r, n)
	case ggufI8:
		return fixed[int8](r, n)
	case ggufU16:
		return fixed[uint16](r, n)
	case ggufI16:
		return fixed[int16](r, n)
	case ggufU32:
		return fixed[uint32](r, n)
	case ggufI32:
		return fixed[int32](r, n)
	case ggufF32:
		return fixed[float32](r, n)
	case ggufU64:
		return fixed[uint64](r, n)
	case ggufI64:
		return fixed[int64](r, n)
	case ggufF64:
		return fixed[float64](r, n)
	case ggufBool:
		b, err := r.bytes(n)
		list := make([]bool, len(b))
		for i, v := range b {
			list[i] = v != 0
		}
		return list, err
	}
	return nil, fmt.Errorf("unknown value type %d", kind)
}

func fixed[T any](r *ggufReader, n int) ([]T, error) {
	var zero T
	size := binary.Size(zero)
	if n > (len(r.file)-r.at)/size {
		return nil, errShort
	}
	b, err := r.bytes(n * size)
	if err != nil {
		return nil, err
	}
	list := make([]T, n)
	_, err = binary.Decode(b, binary.LittleEndian, list)
	return list, err
}

// tensors reads the tensor list and cuts each tensor's bytes out of the file.
func (r *ggufReader) tensors(n int, metadata map[string]any) ([]ggufTensor, error) {
	alignment := ggufAlignment
	if v, ok := metadata["general.alignment"]; ok {
		a, ok := v.(uint32)
		if !ok || a == 0 || a&(a-1) != 0 || a > ggufMaxAlignment {
			return nil, fmt.Errorf("metadata \"general.alignment\" is %v, expected a power of two up to %d", v, ggufMaxAlignment)
		}
		alignment = int(a)
	}
	list := make([]ggufTensor, n)
	offsets := make([]uint64, n)
	seen := make(map[string]bool, n)
	for i := range list {
		name, err := r.string()
		if err != nil {
			return nil, fmt.Errorf("name of tensor %d: %w", i, err)
		}
		if seen[name] {
			return nil, fmt.Errorf("tensor %q is there twice", name)
		}
		seen[name] = true
		list[i].name = name
		if offsets[i], err = r.tensor(&list[i]); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	// The data starts at the next multiple of the alignment.
	start := min((r.at+alignment-1)/alignment*alignment, len(r.file))
	spans := make([]span, n)
	for i := range list {
		t := &list[i]
		size := tensorBytes(t)
		data := r.file[start:]
		if offsets[i]%uint64(alignment) != 0 {
			return nil, fmt.Errorf("tensor %q at offset %d, expected a multiple of %d", t.name, offsets[i], alignment)
		}
		if offsets[i] > uint64(len(data)) || size > len(data)-int(offsets[i]) {
			return nil, fmt.Errorf("tensor %q: %w", t.name, errShort)
		}
		from := int(offsets[i])
		t.data = data[from : from+size : from+size]
		spans[i] = span{t.name, from, size}
	}
	return list, checkOverlaps(spans)
}

// tensor reads sizes, type and offset of one tensor.
func (r *ggufReader) tensor(t *ggufTensor) (offset uint64, err error) {
	dims, err := r.uint32()
	if err != nil {
		return 0, err
	}
	if dims == 0 || dims > ggufMaxDims {
		return 0, fmt.Errorf("%d dimensions, expected 1 to %d", dims, ggufMaxDims)
	}
	sizes, err := fixed[uint64](r, int(dims))
	if err != nil {
		return 0, err
	}
	if t.kind, err = r.uint32(); err != nil {
		return 0, err
	}
	at, err := fixed[uint64](r, 1)
	if err != nil {
		return 0, err
	}
	kind, ok := ggufTypes[t.kind]
	if !ok {
		name, known := ggufTypeNames[t.kind]
		if !known {
			name = fmt.Sprintf("number %d", t.kind)
		}
		return 0, fmt.Errorf("type %s is not supported yet; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K are, "+
			"as in the Q4_K_M, Q6_K and Q8_0 versions of most models", name)
	}
	for _, s := range slices.Backward(sizes) {
		if s == 0 || s > math.MaxInt {
			return 0, fmt.Errorf("sizes %v: expected positive ones", sizes)
		}
		t.shape = append(t.shape, int(s))
	}
	const widest = 8 // bytes of an element, at most
	if _, ok := elements(t.shape, widest); !ok {
		return 0, fmt.Errorf("sizes %v are too large", sizes)
	}
	if kind.dtype == 0 && sizes[0]%uint64(kind.block.Elements()) != 0 {
		return 0, fmt.Errorf("%v rows of %d weights, expected a multiple of %d", kind.block, sizes[0], kind.block.Elements())
	}
	return at[0], nil
}

// tensorBytes returns the size of a tensor whose shape has been checked.
func tensorBytes(t *ggufTensor) int {
	n, _ := elements(t.shape, 1)
	kind := ggufTypes[t.kind]
	if kind.dtype != 0 {
		return n * kind.dtype.Size()
	}
	return n / kind.block.Elements() * kind.block.Bytes()
}
