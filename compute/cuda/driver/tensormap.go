package driver

import (
	"errors"
	"unsafe"
)

// A TensorMap tells the copy engine of Hopper how a matrix lies: an argument of kernels, 128 bytes at a multiple of 64.
type TensorMap struct{ memory [192]byte }

// Addr is where the description begins. It is valid as long as m is held, which lies on the heap.
func (m *TensorMap) Addr() uintptr {
	return (uintptr(unsafe.Pointer(&m.memory[0])) + 63) &^ 63
}

// Words is a copy of the description.
func (m *TensorMap) Words() (w [16]uint64) {
	at := m.Addr() - uintptr(unsafe.Pointer(&m.memory[0]))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&w)), 128), m.memory[at:at+128])
	return w
}

// Tiles describes a bf16 matrix [rows, cols], row-major with stride elements from one row to the next (a multiple of
// 8), read or written in tiles of boxRows rows by 64 columns, swizzled by 128 bytes. What lies outside is read as zeros.
func (d *Driver) Tiles(m *TensorMap, p Ptr, rows, cols, stride, boxRows int) error {
	const swizzle128, promote256 = 3, 3
	return d.encode(m, p, rows, cols, stride, boxRows, 64, swizzle128, promote256)
}

// Boxes describes the same matrix, read in boxes of boxRows rows by boxCols columns, which lie in shared memory as they are. The card's
// cache gets what is read and no neighbours, which others of the grid read for themselves: 1 % less for a layer of one token.
func (d *Driver) Boxes(m *TensorMap, p Ptr, rows, cols, stride, boxRows, boxCols int) error {
	return d.encode(m, p, rows, cols, stride, boxRows, boxCols, 0, 0)
}

func (d *Driver) encode(m *TensorMap, p Ptr, rows, cols, stride, boxRows, boxCols int, swizzle, promote uintptr) error {
	if d.tensorMap == 0 {
		return errors.New("the driver has no cuTensorMapEncodeTiled")
	}
	if err := d.makeCurrent(); err != nil {
		return err
	}
	const (
		bfloat16 = 9
		rank     = 2
	)
	dims, strides := [2]uint64{uint64(cols), uint64(rows)}, [1]uint64{uint64(stride) * 2}
	box, steps := [2]uint32{uint32(boxCols), uint32(boxRows)}, [2]uint32{1, 1}
	code := Code(int32(invoke(d.tensorMap, m.Addr(), bfloat16, rank, uintptr(p), uintptr(unsafe.Pointer(&dims)), uintptr(unsafe.Pointer(&strides)),
		uintptr(unsafe.Pointer(&box)), uintptr(unsafe.Pointer(&steps)), 0, swizzle, promote, 0)))
	if code != 0 {
		return &Error{Call: "cuTensorMapEncodeTiled", Code: code, Name: d.errorName(code)}
	}
	return nil
}
