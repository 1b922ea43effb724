package jinja

import (
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// Value is a value of the template language: nil (None), bool, int64, float64, *big.Int, string, *List or *Dict.
// Values that only a running template can make (tuples, ranges, macros, undefined ...) have unexported types.
type Value any

// List is an ordered sequence. Templates cannot change one.
type List struct{ Items []Value }

// NewList returns a list of the given items.
func NewList(items ...Value) *List { return &List{Items: items} }

// Dict is a mapping that keeps the order of insertion, as a JSON object or a Python dict does.
type Dict struct {
	keys   []Value
	vals   []Value
	hashes []any       // comparable form of each key
	index  map[any]int // built when the dict outgrows smallDict
}

// smallDict is the size up to which a linear search beats a map; messages and tool calls have a handful of keys.
const smallDict = 8

// NewDict returns an empty dict.
func NewDict() *Dict { return &Dict{} }

// Len returns the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// Keys returns the string keys in order; keys of other types are left out.
func (d *Dict) Keys() []string {
	var keys []string
	for _, k := range d.keys {
		if s, ok := k.(string); ok {
			keys = append(keys, s)
		}
	}
	return keys
}

// Get returns the value of a string key.
func (d *Dict) Get(key string) (Value, bool) {
	if i := d.find(key); i >= 0 {
		return d.vals[i], true
	}
	return nil, false
}

// Set adds or replaces the value of a string key; a replaced key keeps its place.
func (d *Dict) Set(key string, v Value) { d.put(key, key, v) }

// Clone returns a copy that shares the values.
func (d *Dict) Clone() *Dict {
	c := NewDict()
	for i, k := range d.keys {
		c.put(d.hashes[i], k, d.vals[i])
	}
	return c
}

func (d *Dict) find(hash any) int {
	if d.index != nil {
		if i, ok := d.index[hash]; ok {
			return i
		}
		return -1
	}
	for i, h := range d.hashes {
		if h == hash {
			return i
		}
	}
	return -1
}

func (d *Dict) put(hash any, key, v Value) {
	if i := d.find(hash); i >= 0 {
		d.vals[i] = v
		return
	}
	d.keys = append(d.keys, key)
	d.vals = append(d.vals, v)
	d.hashes = append(d.hashes, hash)
	switch {
	case d.index != nil:
		d.index[hash] = len(d.keys) - 1
	case len(d.keys) > smallDict:
		d.index = make(map[any]int, 2*len(d.keys))
		for i, h := range d.hashes {
			d.index[h] = i
		}
	}
}

// lookup is d[key] for any hashable key.
func (d *Dict) lookup(key Value) (Value, bool, error) {
	h, err := hashKey(key, 0)
	if err != nil {
		return nil, false, err
	}
	if i := d.find(h); i >= 0 {
		return d.vals[i], true, nil
	}
	return nil, false, nil
}

// store is d[key] = v for any hashable key.
func (d *Dict) store(key, v Value) error {
	h, err := hashKey(key, 0)
	if err != nil {
		return err
	}
	d.put(h, key, v)
	return nil
}

type (
	tuple struct {
		items []Value
		names []string // attribute names of the items, for groupby's pairs
	}
	// markup is text that was marked safe; joining it with plain text escapes the plain text.
	markup string
	// intRange is Python's range: len elements from start in steps.
	intRange struct{ start, stop, step, len int64 }
	// dictView is the result of keys(), values() or items().
	dictView struct {
		dict *Dict
		kind string
	}
	// generator is a one-shot iterable. Its items are made at once; an error that Python would meet while iterating
	// is kept and raised when the items before it have been consumed.
	generator struct {
		items []Value
		err   error
	}
	namespace struct{ attrs *Dict }
	// undefined is what a missing name or attribute gives. It prints as nothing, iterates as empty and is false;
	// everything else raises its message.
	undefined struct {
		msg  string
		kind errorKind
	}
)

func newUndefined(msg string) *undefined { return &undefined{msg: msg, kind: undefinedError} }

func (u *undefined) fail() error { return errorf(u.kind, "%s", u.msg) }

func newTuple(items ...Value) *tuple { return &tuple{items: items} }

// maxKeyBytes bounds the comparable form of a tuple: shared parts could make it grow without end.
const maxKeyBytes = 1 << 20

type (
	noneKey      struct{}
	undefinedKey struct{}
	compositeKey string
)

// hashKey maps a value to a comparable one, so that equal values (1, 1.0 and true) map to the same key.
func hashKey(v Value, depth int) (any, error) {
	switch v := v.(type) {
	case nil:
		return noneKey{}, nil
	case string:
		return v, nil
	case markup:
		return string(v), nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case int64:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<62 {
			return int64(v), nil
		}
		return v, nil
	case *big.Int:
		return compositeKey("i" + v.String()), nil
	case *undefined:
		return undefinedKey{}, nil
	case *tuple:
		var b strings.Builder
		b.WriteByte('(')
		for _, item := range v.items {
			if depth >= maxNesting {
				return nil, errTooDeep()
			}
			h, err := hashKey(item, depth+1)
			if err != nil {
				return nil, err
			}
			r, err := toRepr(h)
			if err != nil {
				return nil, err
			}
			if ck, ok := h.(compositeKey); ok {
				r = string(ck)
			}
			b.WriteString(r)
			b.WriteByte(',')
			if b.Len() > maxKeyBytes {
				return nil, errTextTooLong()
			}
		}
		return compositeKey(b.String()), nil
	case *List, *Dict:
		return nil, typeErrorf("unhashable type: '%s'", typeName(v))
	}
	return v, nil // pointers to objects: identity
}

func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *List:
		return "list"
	case *tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *intRange:
		return "range"
	case *dictView:
		return "dict_" + v.kind
	case *generator:
		return "generator"
	case *undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case *macro:
		return "Macro"
	case *loopContext:
		return "LoopContext"
	case *cycler:
		return "Cycler"
	case *joiner:
		return "Joiner"
	}
	return "function"
}

// objectName is the type of v as it appears in "… has no attribute": None, or "list object".
func objectName(v Value) string {
	switch v.(type) {
	case nil:
		return "None"
	case *namespace:
		return "jinja2.utils.Namespace object"
	case *macro, *loopContext:
		return "jinja2.runtime." + typeName(v) + " object"
	}
	return typeName(v) + " object"
}

func truthy(v Value) bool {
	switch v := v.(type) {
	case nil, *undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case *big.Int:
		return v.Sign() != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	}
	if n, ok := length(v); ok {
		return n > 0
	}
	return true
}

// length is Python's len; false when the type has none.
func length(v Value) (int, bool) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), true
	case markup:
		return utf8.RuneCountInString(string(v)), true
	case *List:
		return len(v.Items), true
	case *tuple:
		return len(v.items), true
	case *Dict:
		return v.Len(), true
	case *dictView:
		return v.dict.Len(), true
	case *intRange:
		return int(v.len), true
	case *undefined:
		return 0, true
	}
	return 0, false
}

// text returns the string in a str or Markup.
func text(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// number is a Python int (or bool) or float taken apart.
type number struct {
	i       int64
	f       float64
	isFloat bool
}

func (n number) float() float64 {
	if n.isFloat {
		return n.f
	}
	return float64(n.i)
}

func asNumber(v Value) (number, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return number{i: 1}, true
		}
		return number{}, true
	case int64:
		return number{i: v}, true
	case float64:
		return number{f: v, isFloat: true}, true
	case *big.Int: // only what exceeds 64 bits is kept as big
		f, _ := new(big.Float).SetInt(v).Float64()
		return number{f: f, isFloat: true}, true
	}
	return number{}, false
}

func asInt(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		n, _ := asNumber(v)
		return n.i, true
	}
	return 0, false
}
