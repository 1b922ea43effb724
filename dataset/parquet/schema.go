package parquet

import (
	"errors"
	"fmt"
)

// Bounds of a schema. Datasets have tens of columns, nested a few deep.
const (
	maxColumns     = 10_000
	maxSchemaDepth = 64
	maxFixedLength = 1 << 20 // bytes of a value of fixed length
)

// Physical types.
const (
	boolean   = 0
	int32Type = 1
	int64Type = 2
	int96     = 3
	float     = 4
	double    = 5
	byteArray = 6
	fixed     = 7
)

// A meaning is what a column's values stand for beyond their physical type.
type meaning uint8

const (
	asStored meaning = iota
	asString         // UTF-8: STRING, ENUM, JSON
	asUnsigned
	asFloat16
	asDate
	asMillis // timestamps, since 1970
	asMicros
	asNanos
	asOther // DECIMAL, TIME, UUID, BSON and what is unknown
)

// A node is a column or a group of columns.
type node struct {
	name     string
	optional bool
	repeated bool
	def, rep int // levels from which on it is there, and at which it repeats
	children []*node
	list     *node // element of a LIST; nil: none
	isMap    bool

	// Of leaves.
	leaf     int // index among all leaves; -1: a group
	physical int
	length   int // bytes of a value of fixed length
	meaning  meaning
}

// element is a SchemaElement as it is in the file.
type element struct {
	node
	count     int64 // of children
	converted int64 // ConvertedType; -1: none
	logical   int64 // field of the LogicalType that is set; 0: none
	unit      int64 // of a TIMESTAMP: 1 milli, 2 micro, 3 nano
	unsigned  bool
}

func (r *thrift) schemaElement() element {
	e := element{converted: -1}
	e.physical = -1
	r.fields(func(id int64, typ byte) bool {
		switch {
		case id == 1 && typ == typeI32:
			e.physical = int(r.int())
		case id == 2 && typ == typeI32:
			e.length = int(r.int())
		case id == 3 && typ == typeI32:
			repetition := r.int()
			e.optional, e.repeated = repetition == 1, repetition == 2
		case id == 4 && typ == typeBinary:
			e.name = string(r.bytes())
		case id == 5 && typ == typeI32:
			e.count = r.int()
		case id == 6 && typ == typeI32:
			e.converted = r.int()
		case id == 10 && typ == typeStruct:
			r.logicalType(&e)
		default:
			return false
		}
		return true
	})
	return e
}

func (r *thrift) logicalType(e *element) {
	r.fields(func(id int64, typ byte) bool {
		e.logical = id
		if typ != typeStruct || id != logicalTimestamp && id != logicalInteger {
			return false
		}
		r.fields(func(inner int64, typ byte) bool {
			switch {
			case id == logicalInteger && inner == 2:
				e.unsigned = typ == typeFalse
			case id == logicalTimestamp && inner == 2 && typ == typeStruct:
				r.fields(func(unit int64, _ byte) bool { e.unit = unit; return false })
				return true
			}
			return false
		})
		return true
	})
}

// Fields of the union LogicalType.
const (
	logicalString    = 1
	logicalMap       = 2
	logicalList      = 3
	logicalEnum      = 4
	logicalDate      = 6
	logicalTimestamp = 8
	logicalInteger   = 10
	logicalJSON      = 12
	logicalFloat16   = 15
)

// meaningOf sorts the two ways in which files name what a column stands for, LogicalType and the older
// ConvertedType.
func (e *element) meaningOf() meaning {
	switch e.logical {
	case logicalString, logicalEnum, logicalJSON:
		return asString
	case logicalDate:
		return asDate
	case logicalFloat16:
		return asFloat16
	case logicalTimestamp:
		if e.unit >= 1 && e.unit <= 3 {
			return asMillis + meaning(e.unit-1)
		}
	case logicalInteger:
		if e.unsigned {
			return asUnsigned
		}
		return asStored
	case 0:
		switch e.converted {
		case 0, 4, 19: // UTF8, ENUM, JSON
			return asString
		case 6:
			return asDate
		case 9:
			return asMillis
		case 10:
			return asMicros
		case 11, 12, 13, 14:
			return asUnsigned
		case -1, 15, 16, 17, 18: // none, INT_8 to INT_64
			return asStored
		}
	}
	return asOther
}

// buildSchema makes a tree of the elements, which come in depth-first order. It gives the root and all leaves.
func buildSchema(elements []element) (*node, []*node, error) {
	if len(elements) == 0 {
		return nil, nil, errors.New("the file has no schema")
	}
	b := &schemaBuilder{elements: elements}
	elements[0].optional, elements[0].repeated = false, false
	root, err := b.next(nil, 0)
	if err == nil && len(b.elements) > 0 {
		err = errors.New("the schema has columns that belong to no group")
	}
	if err == nil && root.leaf >= 0 {
		err = errors.New("the schema begins with a column instead of a group")
	}
	return root, b.leaves, err
}

type schemaBuilder struct {
	elements []element // still to be placed
	leaves   []*node
}

func (b *schemaBuilder) next(parent *node, depth int) (*node, error) {
	if len(b.elements) == 0 {
		return nil, errors.New("the schema ends too early")
	}
	if depth > maxSchemaDepth {
		return nil, fmt.Errorf("columns are nested more than %d deep", maxSchemaDepth)
	}
	e := b.elements[0]
	b.elements = b.elements[1:]
	n := &e.node
	if parent != nil {
		n.def, n.rep = parent.def, parent.rep
	}
	if n.optional || n.repeated {
		n.def++
	}
	if n.repeated {
		n.rep++
	}
	n.leaf = -1
	if e.physical >= 0 {
		return n, b.addLeaf(n, &e)
	}
	if e.count <= 0 || e.count > int64(len(b.elements)) {
		return nil, fmt.Errorf("the group %q says that it has %d columns", n.name, e.count)
	}
	for range e.count {
		child, err := b.next(n, depth+1)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, child)
	}
	if len(n.children) == 1 && n.children[0].repeated && !n.repeated {
		repeated := n.children[0]
		switch {
		case e.logical == logicalList || e.logical == 0 && e.converted == 3:
			n.list = listElement(n, repeated)
		case (e.logical == logicalMap || e.logical == 0 && (e.converted == 1 || e.converted == 2)) && len(repeated.children) == 2:
			n.isMap = true
		}
	}
	return n, nil
}

// listElement applies the rules of the specification for telling the lists of today from those of older writers,
// whose repeated group is the element itself.
func listElement(list, repeated *node) *node {
	if len(repeated.children) == 1 && repeated.name != "array" && repeated.name != list.name+"_tuple" {
		return repeated.children[0]
	}
	return repeated
}

func (b *schemaBuilder) addLeaf(n *node, e *element) error {
	n.leaf, n.meaning = len(b.leaves), e.meaningOf()
	b.leaves = append(b.leaves, n)
	switch {
	case e.count > 0:
		return fmt.Errorf("the column %q has a type and columns of its own", n.name)
	case e.physical > fixed:
		return fmt.Errorf("the column %q has the unknown type %d", n.name, e.physical)
	case e.physical == fixed && (n.length <= 0 || n.length > maxFixedLength):
		return fmt.Errorf("the column %q has values of %d bytes", n.name, n.length)
	}
	return nil
}
