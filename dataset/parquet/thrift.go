package parquet

import (
	"errors"
	"fmt"
)

// thrift reads Thrift's compact protocol, in which a Parquet file describes itself. The first error sticks: after
// it every read gives zero.
// See https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
type thrift struct {
	data  []byte
	at    int
	depth int
	err   error
}

// Types of fields and elements. A boolean field has its value in its type.
const (
	typeStop   = 0
	typeTrue   = 1
	typeFalse  = 2
	typeByte   = 3
	typeI16    = 4
	typeI32    = 5
	typeI64    = 6
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeSet    = 10
	typeMap    = 11
	typeStruct = 12
	typeUUID   = 13
)

// maxThriftDepth bounds structs within structs; the format needs about six.
const maxThriftDepth = 32

var errThriftShort = errors.New("the description of the file ends too early")

func (r *thrift) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.at = len(r.data)
}

func (r *thrift) byte() byte {
	if r.at >= len(r.data) {
		r.fail(errThriftShort)
		return 0
	}
	r.at++
	return r.data[r.at-1]
}

func (r *thrift) uvarint() uint64 {
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.fail(errors.New("the description of the file has a number of more than 64 bits"))
	return 0
}

// int reads a signed number of any width: they are all zigzag varints.
func (r *thrift) int() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// bytes reads a binary or a string. It is a part of the data, not a copy.
func (r *thrift) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.data)-r.at) {
		r.fail(errThriftShort)
		return nil
	}
	b := r.data[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

// list calls f for each element. Elements that f does not read make the rest of the data senseless.
func (r *thrift) list(want byte, f func()) {
	head := r.byte()
	n, typ := uint64(head>>4), head&0xf
	if n == 15 {
		n = r.uvarint()
	}
	if n > uint64(len(r.data)-r.at) { // each element takes a byte at least
		r.fail(errThriftShort)
		return
	}
	if typ != want && n > 0 && r.err == nil {
		r.fail(fmt.Errorf("the description of the file has a list of type %d where %d is expected", typ, want))
	}
	for ; n > 0 && r.err == nil; n-- {
		f()
	}
}

// fields calls f for each field of a struct. f tells whether it read the field; others are skipped.
func (r *thrift) fields(f func(id int64, typ byte) bool) {
	r.nest(func() {
		id := int64(0)
		for r.err == nil {
			head := r.byte()
			typ := head & 0xf
			if typ == typeStop {
				return
			}
			if delta := head >> 4; delta != 0 {
				id += int64(delta)
			} else {
				id = r.int()
			}
			if !f(id, typ) {
				r.skip(typ)
			}
		}
	})
}

func (r *thrift) nest(f func()) {
	if r.depth++; r.depth > maxThriftDepth {
		r.fail(fmt.Errorf("the description of the file is nested more than %d deep", maxThriftDepth))
		return
	}
	f()
	r.depth--
}

// skip reads over the value of a field.
func (r *thrift) skip(typ byte) {
	switch typ {
	case typeTrue, typeFalse:
	case typeByte:
		r.byte()
	case typeI16, typeI32, typeI64:
		r.uvarint()
	case typeDouble:
		r.advance(8)
	case typeUUID:
		r.advance(16)
	case typeBinary:
		r.bytes()
	case typeStruct:
		r.fields(func(int64, byte) bool { return false })
	case typeList, typeSet:
		r.nest(r.skipList)
	case typeMap:
		r.nest(r.skipMap)
	default:
		r.fail(fmt.Errorf("the description of the file has a field of the unknown type %d", typ))
	}
}

func (r *thrift) advance(n int) {
	if n > len(r.data)-r.at {
		r.fail(errThriftShort)
		return
	}
	r.at += n
}

func (r *thrift) skipList() {
	head := r.byte()
	n, typ := uint64(head>>4), head&0xf
	if n == 15 {
		n = r.uvarint()
	}
	for ; n > 0 && r.err == nil; n-- {
		r.skipElement(typ)
	}
}

func (r *thrift) skipMap() {
	n := r.uvarint()
	if n == 0 {
		return
	}
	types := r.byte()
	for ; n > 0 && r.err == nil; n-- {
		r.skipElement(types >> 4)
		r.skipElement(types & 0xf)
	}
}

// skipElement is skip inside of lists and maps, where booleans take a byte.
func (r *thrift) skipElement(typ byte) {
	if typ == typeTrue || typ == typeFalse {
		typ = typeByte
	}
	r.skip(typ)
}
