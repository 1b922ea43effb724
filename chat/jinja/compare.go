package jinja

import (
	"cmp"
	"math/big"
	"strings"
)

// equal is Python's ==.
func (st *state) equal(a, b Value) (bool, error) { return st.equalAt(a, b, 0) }

func (st *state) equalAt(a, b Value, depth int) (bool, error) {
	if depth > maxNesting {
		return false, errTooDeep()
	}
	if err := st.step(1); err != nil {
		return false, err
	}
	if s, ok := text(a); ok {
		t, ok := text(b)
		if !ok || len(s) != len(t) {
			return false, nil
		}
		return s == t, st.step(len(s) / 32)
	}
	if x, ok := a.(*big.Int); ok {
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0, nil
	}
	if x, ok := asNumber(a); ok {
		y, ok := asNumber(b)
		if !ok {
			return false, nil
		}
		if x.isFloat || y.isFloat {
			return x.float() == y.float(), nil
		}
		return x.i == y.i, nil
	}
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case *undefined:
		_, ok := b.(*undefined)
		return ok, nil
	case *List:
		if b, ok := b.(*List); ok {
			return st.equalItems(a.Items, b.Items, depth)
		}
		return false, nil
	case *tuple:
		if b, ok := b.(*tuple); ok {
			return st.equalItems(a.items, b.items, depth)
		}
		return false, nil
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || a.Len() != b.Len() {
			return false, nil
		}
		for i, h := range a.hashes {
			j := b.find(h)
			if j < 0 {
				return false, nil
			}
			if eq, err := st.equalAt(a.vals[i], b.vals[j], depth+1); err != nil || !eq {
				return false, err
			}
		}
		return true, nil
	case *intRange:
		b, ok := b.(*intRange)
		return ok && a.len == b.len && (a.len == 0 || a.start == b.start && (a.len == 1 || a.step == b.step)), nil
	}
	return sameObject(a, b), nil
}

func (st *state) equalItems(a, b []Value, depth int) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	for i := range a {
		if eq, err := st.equalAt(a[i], b[i], depth+1); err != nil || !eq {
			return false, err
		}
	}
	return true, nil
}

// sameObject is Python's "is" for the values where identity can be told.
func sameObject(a, b Value) bool { return a == b }

// compare orders a and b as Python's < and > do; op only serves the message of the error.
func (st *state) compare(a, b Value, op string) (int, error) { return st.compareAt(a, b, op, 0) }

func (st *state) compareAt(a, b Value, op string, depth int) (int, error) {
	if depth > maxNesting {
		return 0, errTooDeep()
	}
	if err := st.step(1); err != nil {
		return 0, err
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*undefined); ok {
			return 0, u.fail()
		}
	}
	if s, ok := text(a); ok {
		if t, ok := text(b); ok {
			return strings.Compare(s, t), st.step(min(len(s), len(t)) / 32)
		}
	}
	if x, ok := asNumber(a); ok {
		if y, ok := asNumber(b); ok {
			if x.isFloat || y.isFloat {
				return cmp.Compare(x.float(), y.float()), nil
			}
			return cmp.Compare(x.i, y.i), nil
		}
	}
	if x, ok := a.(*List); ok {
		if y, ok := b.(*List); ok {
			return st.compareItems(x.Items, y.Items, op, depth)
		}
	}
	if x, ok := a.(*tuple); ok {
		if y, ok := b.(*tuple); ok {
			return st.compareItems(x.items, y.items, op, depth)
		}
	}
	return 0, typeErrorf("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
}

func (st *state) compareItems(a, b []Value, op string, depth int) (int, error) {
	for i := range min(len(a), len(b)) {
		eq, err := st.equalAt(a[i], b[i], depth+1)
		if err != nil {
			return 0, err
		}
		if !eq {
			return st.compareAt(a[i], b[i], op, depth+1)
		}
	}
	return cmp.Compare(len(a), len(b)), nil
}

// contains is Python's "item in box".
func (st *state) contains(box, item Value) (bool, error) {
	switch box := box.(type) {
	case string, markup:
		hay, _ := text(box)
		needle, ok := text(item)
		if !ok {
			return false, typeErrorf("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		return strings.Contains(hay, needle), st.touch(hay, needle)
	case *Dict:
		_, ok, err := box.lookup(item)
		if err != nil {
			return false, err
		}
		return ok, st.touch(item)
	case *dictView:
		if box.kind == "keys" {
			_, ok, err := box.dict.lookup(item)
			return ok, err
		}
	}
	items, err := st.iterate(box)
	if err != nil {
		if e, ok := err.(*templateError); ok && e.kind == typeError {
			return false, typeErrorf("argument of type '%s' is not iterable", typeName(box))
		}
		return false, err
	}
	for _, v := range items {
		if eq, err := st.equal(v, item); err != nil || eq {
			return eq, err
		}
	}
	return false, nil
}

// partBytes is what a string in a list takes: its header, boxed, and the list's reference to it.
const partBytes = 48

// iterate returns what Python's iter(v) yields. It empties a generator.
func (st *state) iterate(v Value) ([]Value, error) {
	switch v := v.(type) {
	case *List:
		return v.Items, st.step(len(v.Items) / 8)
	case *tuple:
		return v.items, st.step(len(v.items) / 8)
	case *undefined:
		return nil, nil
	case string, markup:
		s, _ := text(v)
		if err := st.alloc(partBytes * len(s)); err != nil {
			return nil, err
		}
		items := make([]Value, 0, len(s))
		for _, r := range s {
			items = append(items, string(r))
		}
		return items, nil
	case *Dict:
		return v.keys, st.step(len(v.keys) / 8)
	case *dictView:
		return st.viewItems(v)
	case *intRange:
		if err := st.alloc(16 * int(v.len)); err != nil {
			return nil, err
		}
		items := make([]Value, v.len)
		for i := range items {
			items[i] = v.start + int64(i)*v.step
		}
		return items, nil
	case *generator:
		items, err := v.items, v.err
		v.items, v.err = nil, nil
		return items, err
	}
	return nil, typeErrorf("'%s' object is not iterable", typeName(v))
}

func (st *state) viewItems(v *dictView) ([]Value, error) {
	switch v.kind {
	case "keys":
		return v.dict.keys, nil
	case "values":
		return v.dict.vals, nil
	}
	if err := st.alloc(64 * v.dict.Len()); err != nil {
		return nil, err
	}
	items := make([]Value, v.dict.Len())
	for i := range items {
		items[i] = newTuple(v.dict.keys[i], v.dict.vals[i])
	}
	return items, nil
}
