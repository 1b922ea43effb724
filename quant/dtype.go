package quant

import (
	"fmt"
	"strings"
)

// DType is the type of one stored number.
type DType uint8

// The types a safetensors file can hold. The zero value is not a type.
const (
	F32 DType = iota + 1
	F16
	BF16
	F64
	I8
	I16
	I32
	I64
	U8
	U16
	U32
	U64
	Bool
)

// dtypes gives tag and size in bytes by DType.
var dtypes = [...]struct {
	tag  string
	size int
}{
	F32: {"F32", 4}, F16: {"F16", 2}, BF16: {"BF16", 2}, F64: {"F64", 8},
	I8: {"I8", 1}, I16: {"I16", 2}, I32: {"I32", 4}, I64: {"I64", 8},
	U8: {"U8", 1}, U16: {"U16", 2}, U32: {"U32", 4}, U64: {"U64", 8},
	Bool: {"BOOL", 1},
}

// Size returns the bytes one number takes, or 0 when d is not a type.
func (d DType) Size() int {
	if int(d) >= len(dtypes) {
		return 0
	}
	return dtypes[d].size
}

// String returns the safetensors tag, such as "BF16".
func (d DType) String() string {
	if d.Size() == 0 {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].tag
}

// IsFloat reports whether d is a floating-point type.
func (d DType) IsFloat() bool { return d >= F32 && d <= F64 }

// IsWeight reports whether d is a type that models have their weights in: F32, F16 or BF16.
func (d DType) IsWeight() bool { return d == F32 || d == F16 || d == BF16 }

// ParseDType returns the type of a safetensors tag. The 8-bit floats F8_E4M3
// and F8_E8M0 are taken as the raw bytes U8, as MLX does.
func ParseDType(tag string) (DType, error) {
	switch tag {
	case "F8_E4M3", "F8_E8M0":
		return U8, nil
	}
	known := make([]string, 0, len(dtypes))
	for d := F32; int(d) < len(dtypes); d++ {
		if dtypes[d].tag == tag {
			return d, nil
		}
		known = append(known, dtypes[d].tag)
	}
	return 0, fmt.Errorf("dtype %q is not one of %s", tag, strings.Join(known, ", "))
}
