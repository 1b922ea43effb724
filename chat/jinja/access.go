package jinja

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// attr is x.name: an attribute or method first, then x["name"].
func (st *state) attr(x Value, name string) (Value, error) {
	if u, ok := x.(*undefined); ok {
		return nil, u.fail()
	}
	if v, ok := attribute(x, name); ok {
		return v, nil
	}
	if d, ok := x.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v, nil
		}
	}
	return missingAttr(x, name), nil
}

// item is x[key]: an element first, then for a string key the attribute.
func (st *state) item(x, key Value) (Value, error) {
	if u, ok := x.(*undefined); ok {
		return nil, u.fail()
	}
	if err := st.touch(x, key); err != nil {
		return nil, err
	}
	switch x := x.(type) {
	case *Dict:
		v, ok, err := x.lookup(key)
		if err == nil && ok { // an unhashable key is merely not found
			return v, nil
		}
	case *List:
		if v, ok := elementAt(x.Items, key); ok {
			return v, nil
		}
	case *tuple:
		if v, ok := elementAt(x.items, key); ok {
			return v, nil
		}
	case *intRange:
		if i, ok := asInt(key); ok {
			if i < 0 {
				i += x.len
			}
			if i >= 0 && i < x.len {
				return x.start + i*x.step, nil
			}
		}
	case string, markup:
		s, _ := text(x)
		if i, ok := asInt(key); ok {
			if c, ok := charAt(s, i); ok {
				return likeText(x, c), nil
			}
		}
	}
	if name, ok := text(key); ok {
		if v, ok := attribute(x, name); ok {
			return v, nil
		}
		return missingAttr(x, name), st.alloc(len(name))
	}
	repr, err := toRepr(key)
	if err != nil {
		return nil, err
	}
	return newUndefined(objectName(x) + " has no element " + repr), st.alloc(len(repr))
}

func elementAt(items []Value, key Value) (Value, bool) {
	i, ok := asInt(key)
	if i < 0 {
		i += int64(len(items))
	}
	if !ok || i < 0 || i >= int64(len(items)) {
		return nil, false
	}
	return items[i], true
}

// charAt is Python's s[i]: characters count, not bytes.
func charAt(s string, i int64) (string, bool) {
	if i < 0 {
		i += int64(utf8.RuneCountInString(s))
	}
	if i < 0 {
		return "", false
	}
	for _, r := range s {
		if i == 0 {
			return string(r), true
		}
		i--
	}
	return "", false
}

// likeText gives s the type of the text it was made from.
func likeText(from Value, s string) Value {
	if _, ok := from.(markup); ok {
		return markup(s)
	}
	return s
}

// mutators are the methods that the immutable sandbox forbids.
var mutators = map[string][]string{
	"list": {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"},
	"dict": {"clear", "pop", "popitem", "setdefault", "update"},
}

func missingAttr(x Value, name string) Value {
	kind := typeName(x)
	if slices.Contains(mutators[kind], name) || strings.HasPrefix(name, "__") {
		return &undefined{kind: securityError, msg: "access to attribute '" + name + "' of '" + kind + "' object is unsafe; chat templates run in an immutable sandbox"}
	}
	return newUndefined("'" + objectName(x) + "' has no attribute '" + name + "'")
}

// attribute finds a method or attribute.
func attribute(x Value, name string) (Value, bool) {
	switch x := x.(type) {
	case string:
		if m, ok := stringMethods[name]; ok {
			return &builtin{name, x, func(st *state, a args) (Value, error) { return m(st, x, a) }}, true
		}
	case markup:
		if m, ok := stringMethods[name]; ok {
			return &builtin{name, x, func(st *state, a args) (Value, error) { return markupMethod(st, name, m, x, a) }}, true
		}
	case *List:
		return sequenceMethod(x.Items, name, func() Value { return NewList(slices.Clone(x.Items)...) })
	case *tuple:
		if i := slices.Index(x.names, name); i >= 0 {
			return x.items[i], true
		}
		return sequenceMethod(x.items, name, nil)
	case *Dict:
		if m, ok := dictMethods[name]; ok {
			return &builtin{name, x, func(st *state, a args) (Value, error) { return m(st, x, a) }}, true
		}
	case *namespace:
		return x.attrs.Get(name)
	case *loopContext:
		return x.attribute(name)
	case *cycler:
		return x.attribute(name)
	case *macro:
		return x.name, name == "name"
	}
	return nil, false
}

var dictMethods = map[string]func(*state, *Dict, args) (Value, error){
	"get": func(st *state, d *Dict, a args) (Value, error) {
		p, err := a.bind("get", "key", "default?")
		if err != nil {
			return nil, err
		}
		v, ok, err := d.lookup(p[0])
		if err != nil || ok {
			return v, err
		}
		return p.or(1, nil), nil
	},
	"keys":   func(_ *state, d *Dict, a args) (Value, error) { return &dictView{d, "keys"}, a.none("keys") },
	"values": func(_ *state, d *Dict, a args) (Value, error) { return &dictView{d, "values"}, a.none("values") },
	"items":  func(_ *state, d *Dict, a args) (Value, error) { return &dictView{d, "items"}, a.none("items") },
	"copy": func(st *state, d *Dict, a args) (Value, error) {
		if err := st.alloc(64 * d.Len()); err != nil {
			return nil, err
		}
		return d.Clone(), a.none("copy")
	},
}

// sequenceMethod finds a method of lists and tuples; clone is nil where copy does not exist.
func sequenceMethod(items []Value, name string, clone func() Value) (Value, bool) {
	switch name {
	case "count", "index":
		return &builtin{name: name, fn: func(st *state, a args) (Value, error) {
			p, err := a.bind(name, "value")
			if err != nil {
				return nil, err
			}
			n := int64(0)
			for i, item := range items {
				eq, err := st.equal(item, p[0])
				if err != nil {
					return nil, err
				}
				if eq && name == "index" {
					return int64(i), nil
				}
				if eq {
					n++
				}
			}
			if name == "index" {
				repr, err := toRepr(p[0])
				if err != nil {
					return nil, err
				}
				return nil, valueErrorf("%s is not in list", repr)
			}
			return n, nil
		}}, true
	case "copy":
		if clone != nil {
			return &builtin{name: name, fn: func(st *state, a args) (Value, error) {
				if err := st.alloc(16 * len(items)); err != nil {
					return nil, err
				}
				return clone(), a.none("copy")
			}}, true
		}
	}
	return nil, false
}

// slice is x[lo:hi:step]; nil stands for a bound left out.
func (st *state) slice(x Value, lo, hi, step *int64) (Value, error) {
	if u, ok := x.(*undefined); ok {
		return nil, u.fail()
	}
	if step != nil && *step == 0 {
		return nil, valueErrorf("slice step cannot be zero")
	}
	switch x := x.(type) {
	case string, markup:
		s, _ := text(x)
		if err := st.alloc(4 * len(s)); err != nil {
			return nil, err
		}
		runes := []rune(s)
		var b strings.Builder
		eachSliced(len(runes), lo, hi, step, func(i int) { b.WriteRune(runes[i]) })
		return likeText(x, b.String()), nil
	case *List:
		items, err := st.sliceItems(x.Items, lo, hi, step)
		return NewList(items...), err
	case *tuple:
		items, err := st.sliceItems(x.items, lo, hi, step)
		return newTuple(items...), err
	case *intRange:
		start, n, stride := sliceBounds(int(x.len), lo, hi, step)
		r := &intRange{start: x.start + int64(start)*x.step, step: x.step * int64(stride), len: int64(n)}
		r.stop = r.start + r.len*r.step
		return r, nil
	case *Dict:
		return nil, typeErrorf("unhashable type: 'slice'")
	}
	return nil, typeErrorf("'%s' object is not subscriptable", typeName(x))
}

func (st *state) sliceItems(items []Value, lo, hi, step *int64) ([]Value, error) {
	var out []Value
	eachSliced(len(items), lo, hi, step, func(i int) { out = append(out, items[i]) })
	return out, st.alloc(16 * len(out))
}

func eachSliced(n int, lo, hi, step *int64, visit func(int)) {
	start, count, stride := sliceBounds(n, lo, hi, step)
	for k := range count {
		visit(start + k*stride)
	}
}

// sliceBounds resolves a slice of n elements to a first index, a count and a stride, as Python's slice.indices does.
func sliceBounds(n int, lo, hi, step *int64) (start, count, stride int) {
	length := int64(n)
	stride64 := int64(1)
	if step != nil {
		stride64 = max(*step, -length-1) // a longer stride selects the same elements
		stride64 = min(stride64, length+1)
	}
	clamp := func(v *int64, missing, least, most int64) int64 {
		if v == nil {
			return missing
		}
		i := *v
		if i < 0 {
			i += length
		}
		return min(max(i, least), most)
	}
	var from, to int64
	if stride64 > 0 {
		from, to = clamp(lo, 0, 0, length), clamp(hi, length, 0, length)
		count = int(max(0, (to-from+stride64-1)/stride64))
	} else {
		from, to = clamp(lo, length-1, -1, length-1), clamp(hi, -1, -1, length-1)
		count = int(max(0, (from-to-stride64-1)/-stride64))
	}
	return int(from), count, int(stride64)
}
