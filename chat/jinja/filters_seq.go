package jinja

import (
	"slices"
	"strconv"
	"strings"
)

// Filters over sequences.

// getter reads a path such as "function.name" or "0.id" from each item.
type getter struct {
	path     []Value
	fallback Value // instead of an undefined part, unless nil
	fold     bool  // lower-case strings, for comparisons that ignore case
}

// maxPath bounds the parts of an attribute path.
const maxPath = 100

func makeGetter(attribute Value) getter {
	s, ok := text(attribute)
	switch {
	case attribute == nil:
		return getter{}
	case !ok:
		return getter{path: []Value{attribute}}
	}
	var g getter
	for _, part := range strings.SplitN(s, ".", maxPath) {
		if n, err := strconv.ParseInt(part, 10, 64); err == nil && n >= 0 {
			g.path = append(g.path, n)
		} else {
			g.path = append(g.path, part)
		}
	}
	return g
}

func (g getter) get(st *state, item Value) (Value, error) {
	for _, part := range g.path {
		var err error
		if item, err = st.item(item, part); err != nil {
			return nil, err
		}
		if _, ok := item.(*undefined); ok && g.fallback != nil {
			item = g.fallback
		}
	}
	if s, ok := text(item); ok && g.fold {
		return strings.ToLower(s), st.alloc(len(s))
	}
	return item, nil
}

func filterLength(_ *state, x Value, a args) (Value, error) {
	n, ok := length(x)
	if !ok {
		return nil, typeErrorf("object of type '%s' has no len()", typeName(x))
	}
	return int64(n), a.none("length")
}

func filterList(st *state, x Value, a args) (Value, error) {
	items, err := st.iterate(x)
	if err != nil {
		return nil, err
	}
	return NewList(slices.Clone(items)...), st.alloc(16 * len(items))
}

func filterFirst(st *state, x Value, a args) (Value, error) {
	if g, ok := x.(*generator); ok && len(g.items) > 0 { // takes one item and leaves the rest
		v := g.items[0]
		g.items = g.items[1:]
		return v, nil
	}
	if s, ok := text(x); ok {
		if c, ok := charAt(s, 0); ok {
			return c, nil
		}
	}
	items, err := st.iterate(x)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return newUndefined("No first item, sequence was empty."), nil
	}
	return items[0], nil
}

func filterLast(st *state, x Value, a args) (Value, error) {
	items, err := st.reversible(x)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return newUndefined("No last item, sequence was empty."), nil
	}
	return items[len(items)-1], nil
}

// reversible is what Python's reversed accepts.
func (st *state) reversible(x Value) ([]Value, error) {
	if _, ok := x.(*generator); ok {
		return nil, typeErrorf("'generator' object is not reversible")
	}
	items, err := st.iterate(x)
	if err != nil {
		return nil, typeErrorf("'%s' object is not reversible", typeName(x))
	}
	return items, nil
}

func filterReverse(st *state, x Value, a args) (Value, error) {
	if s, ok := text(x); ok {
		if err := st.alloc(4 * len(s)); err != nil {
			return nil, err
		}
		runes := []rune(s)
		slices.Reverse(runes)
		return likeText(x, string(runes)), a.none("reverse")
	}
	items, err := st.iterate(x)
	if err != nil {
		return nil, err
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	if _, ok := x.(*generator); ok {
		return NewList(items...), st.alloc(16 * len(items))
	}
	return &generator{items: items}, st.alloc(16 * len(items))
}

func filterItems(st *state, x Value, a args) (Value, error) {
	switch x := x.(type) {
	case *undefined:
		return &generator{}, nil
	case *Dict:
		items, err := st.viewItems(&dictView{x, "items"})
		return &generator{items: items}, err
	}
	return &generator{err: typeErrorf("Can only get item pairs from a mapping, not %s.", typeName(x))}, nil
}

func filterJoin(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("join", "d?", "attribute?")
	if err != nil {
		return nil, err
	}
	items, err := st.iterate(x)
	if err != nil {
		return nil, err
	}
	sep, err := st.str(p.or(0, ""))
	if err != nil {
		return nil, err
	}
	if attr := p.or(1, nil); attr != nil {
		if items, err = st.mapItems(items, makeGetter(attr)); err != nil {
			return nil, err
		}
	}
	return st.joinText(items, sep)
}

func (st *state) mapItems(items []Value, g getter) ([]Value, error) {
	out := make([]Value, len(items))
	for i, item := range items {
		v, err := g.get(st, item)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, st.alloc(16 * len(out))
}

func filterMap(st *state, x Value, a args) (Value, error) {
	if !truthy(x) {
		return &generator{}, nil
	}
	each := func(v Value) (Value, error) {
		name, ok := text(a.pos[0])
		if !ok {
			return nil, typeErrorf("map expects the name of a filter, not %s", typeName(a.pos[0]))
		}
		return st.filter(name, v, args{pos: a.pos[1:], names: a.names, vals: a.vals})
	}
	if len(a.pos) == 0 {
		p, err := a.bind("map", "attribute", "default?")
		if err != nil {
			return nil, err
		}
		g := makeGetter(p[0])
		g.fallback = p.or(1, nil)
		each = func(v Value) (Value, error) { return g.get(st, v) }
	}
	return st.generate(x, func(v Value) (Value, bool, error) {
		v, err := each(v)
		return v, true, err
	})
}

// generate runs each item through f, which may drop it. Like a Python generator it raises f's error only when the
// items before it have been consumed.
func (st *state) generate(x Value, f func(Value) (v Value, keep bool, err error)) (Value, error) {
	items, late := st.iterate(x)
	g := &generator{err: late}
	for _, item := range items {
		v, keep, err := f(item)
		if err != nil {
			if e, ok := err.(*templateError); ok && e.kind == limitError {
				return nil, err
			}
			g.err = err
			break
		}
		if keep {
			g.items = append(g.items, v)
		}
	}
	return g, st.alloc(16 * len(g.items))
}

// selectFilter makes select, reject, selectattr and rejectattr.
func selectFilter(name string, byAttr, keep bool) filterFunc {
	return func(st *state, x Value, a args) (Value, error) {
		if !truthy(x) {
			return &generator{}, nil
		}
		var g getter
		rest := a.pos
		if byAttr {
			if len(rest) == 0 {
				return &generator{err: typeErrorf("%s: missing parameter for attribute name", name)}, nil
			}
			g, rest = makeGetter(rest[0]), rest[1:]
		}
		return st.generate(x, func(item Value) (Value, bool, error) {
			v, err := g.get(st, item)
			if err != nil {
				return nil, false, err
			}
			ok := truthy(v)
			if len(rest) > 0 {
				test, isName := text(rest[0])
				if !isName {
					return nil, false, typeErrorf("%s expects the name of a test, not %s", name, typeName(rest[0]))
				}
				if ok, err = st.test(test, v, args{pos: rest[1:], names: a.names, vals: a.vals}); err != nil {
					return nil, false, err
				}
			}
			return item, ok == keep, nil
		})
	}
}

// sorted sorts items by keys, stably, with Python's ordering.
func (st *state) sorted(items, keys []Value, reverse bool) ([]Value, error) {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	var failed error
	slices.SortStableFunc(order, func(i, j int) int {
		if failed != nil {
			return 0
		}
		c, err := st.compare(keys[i], keys[j], "<")
		if err != nil {
			failed = err
		}
		if reverse {
			return -c
		}
		return c
	})
	if failed != nil {
		return nil, failed
	}
	out := make([]Value, len(items))
	for n, i := range order {
		out[n] = items[i]
	}
	return out, st.alloc(16 * len(out))
}

func filterSort(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("sort", "reverse?", "case_sensitive?", "attribute?")
	if err != nil {
		return nil, err
	}
	items, err := st.iterate(x)
	if err != nil {
		return nil, err
	}
	paths := []Value{p.or(2, nil)}
	if s, ok := text(paths[0]); ok {
		paths = stringList(strings.SplitN(s, ",", maxPath)).Items
	}
	keys := make([]Value, len(items))
	for i, item := range items {
		parts := make([]Value, len(paths))
		for k, path := range paths {
			g := makeGetter(path)
			g.fold = !truthy(p.or(1, false))
			if parts[k], err = g.get(st, item); err != nil {
				return nil, err
			}
		}
		keys[i] = NewList(parts...)
	}
	out, err := st.sorted(items, keys, truthy(p.or(0, false)))
	return NewList(out...), err
}

func filterDictSort(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("dictsort", "case_sensitive?", "by?", "reverse?")
	if err != nil {
		return nil, err
	}
	by, err := p.text("dictsort", 1, "key")
	if err != nil {
		return nil, err
	}
	g := getter{path: []Value{int64(0)}, fold: !truthy(p.or(0, false))}
	switch by {
	case "key":
	case "value":
		g.path[0] = int64(1)
	default:
		return nil, valueErrorf("dictsort can only sort by either \"key\" or \"value\"")
	}
	d, ok := x.(*Dict)
	if u, isUndefined := x.(*undefined); isUndefined {
		return nil, u.fail()
	}
	if !ok {
		return nil, typeErrorf("dictsort expects a mapping, not %s", typeName(x))
	}
	items, err := st.viewItems(&dictView{d, "items"})
	if err != nil {
		return nil, err
	}
	keys, err := st.mapItems(items, g)
	if err != nil {
		return nil, err
	}
	out, err := st.sorted(items, keys, truthy(p.or(2, false)))
	return NewList(out...), err
}

func filterUnique(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("unique", "case_sensitive?", "attribute?")
	if err != nil {
		return nil, err
	}
	g := makeGetter(p.or(1, nil))
	g.fold = !truthy(p.or(0, false))
	seen := map[any]bool{}
	return st.generate(x, func(item Value) (Value, bool, error) {
		key, err := g.get(st, item)
		if err != nil {
			return nil, false, err
		}
		h, err := hashKey(key, 0)
		if err != nil {
			return nil, false, err
		}
		if seen[h] {
			return nil, false, nil
		}
		seen[h] = true
		return item, true, nil
	})
}

func extremeFilter(name string, wanted int) filterFunc {
	op := map[int]string{1: ">", -1: "<"}[wanted]
	return func(st *state, x Value, a args) (Value, error) {
		p, err := a.bind(name, "case_sensitive?", "attribute?")
		if err != nil {
			return nil, err
		}
		items, err := st.iterate(x)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return newUndefined("No aggregated item, sequence was empty."), nil
		}
		g := makeGetter(p.or(1, nil))
		g.fold = !truthy(p.or(0, false))
		keys, err := st.mapItems(items, g)
		if err != nil {
			return nil, err
		}
		best := 0
		for i := range items {
			if i == 0 {
				continue
			}
			c, err := st.compare(keys[i], keys[best], op)
			if err != nil {
				return nil, err
			}
			if c == wanted {
				best = i
			}
		}
		return items[best], nil
	}
}

func filterSum(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("sum", "attribute?", "start?")
	if err != nil {
		return nil, err
	}
	items, err := st.iterate(x)
	if err != nil {
		return nil, err
	}
	if items, err = st.mapItems(items, makeGetter(p.or(0, nil))); err != nil {
		return nil, err
	}
	total := p.or(1, int64(0))
	if _, ok := text(total); ok {
		return nil, typeErrorf("sum() can't sum strings [use ''.join(seq) instead]")
	}
	for _, item := range items {
		if total, err = st.binary("+", total, item); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func filterGroupBy(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("groupby", "attribute", "default?", "case_sensitive?")
	if err != nil {
		return nil, err
	}
	items, err := st.iterate(x)
	if err != nil {
		return nil, err
	}
	g := makeGetter(p[0])
	g.fallback = p.or(1, nil)
	exact := g
	g.fold = !truthy(p.or(2, false))
	keys, err := st.mapItems(items, g)
	if err != nil {
		return nil, err
	}
	if items, err = st.sorted(items, keys, false); err != nil {
		return nil, err
	}
	out := NewList()
	var last Value
	var group *List
	for _, item := range items {
		key, err := g.get(st, item)
		if err != nil {
			return nil, err
		}
		same := false
		if group != nil {
			if same, err = st.equal(key, last); err != nil {
				return nil, err
			}
		}
		if !same {
			shown, err := exact.get(st, item)
			if err != nil {
				return nil, err
			}
			group, last = NewList(), key
			out.Items = append(out.Items, &tuple{items: []Value{shown, group}, names: []string{"grouper", "list"}})
		}
		group.Items = append(group.Items, item)
	}
	return out, st.alloc(64 * len(items))
}

func filterBatch(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("batch", "linecount", "fill_with?")
	if err != nil {
		return nil, err
	}
	size, err := p.int("batch", 0, 0)
	if err != nil {
		return nil, err
	}
	items, err := st.iterate(x)
	if err != nil {
		return nil, err
	}
	size = max(size, 1)
	g := &generator{}
	for rest := items; len(rest) > 0; {
		n := int(min(size, int64(len(rest))))
		line := slices.Clone(rest[:n])
		rest = rest[n:]
		if fill := p.or(1, nil); fill != nil && int64(n) < size {
			if err := st.alloc(16 * int(min(size, maxTextBytes))); err != nil {
				return nil, err
			}
			line = append(line, slices.Repeat([]Value{fill}, int(size)-n)...)
		}
		g.items = append(g.items, NewList(line...))
	}
	return g, st.alloc(40 * len(items))
}

func filterSlice(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("slice", "slices", "fill_with?")
	if err != nil {
		return nil, err
	}
	count, err := p.int("slice", 0, 0)
	if err != nil {
		return nil, err
	}
	items, err := st.iterate(x)
	if err != nil {
		return nil, err
	}
	if count <= 0 || count > maxRange {
		return nil, valueErrorf("slice: the number of slices must be between 1 and %d, not %d", maxRange, count)
	}
	g := &generator{}
	each, extra := len(items)/int(count), len(items)%int(count)
	start := 0
	for k := range int(count) {
		end := start + each
		if k < extra {
			end++
		}
		part := slices.Clone(items[start:end])
		if fill := p.or(1, nil); fill != nil && k >= extra {
			part = append(part, fill)
		}
		g.items = append(g.items, NewList(part...))
		start = end
	}
	return g, st.alloc(16*len(items) + 40*int(count))
}
