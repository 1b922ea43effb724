package jinja

import (
	"slices"
	"time"
)

// state is one rendering in progress.
type state struct {
	out    *buffer
	before int // bytes in the buffers around out: where out's text will land if it is printed as it is
	nested int // number of buffers around out
	now    time.Time
	spans  []genSpan

	steps, mem, calls, depth int
}

type buffer struct{ b []byte }

type genSpan struct {
	Span
	captured bool   // written into a capture, so its place must be checked at the end
	text     string // of a captured block
}

// scope holds the variables set at one level; lookups go outwards. Most scopes have one to five variables.
type scope struct {
	parent *scope
	names  []string
	vals   []Value
	index  map[string]int // built when the scope outgrows largeScope
}

const largeScope = 16

func (sc *scope) child() *scope { return &scope{parent: sc} }

func (sc *scope) find(name string) int {
	if sc.index != nil {
		if i, ok := sc.index[name]; ok {
			return i
		}
		return -1
	}
	return slices.Index(sc.names, name)
}

func (sc *scope) set(name string, v Value) {
	if i := sc.find(name); i >= 0 {
		sc.vals[i] = v
		return
	}
	sc.names = append(sc.names, name)
	sc.vals = append(sc.vals, v)
	switch {
	case sc.index != nil:
		sc.index[name] = len(sc.names) - 1
	case len(sc.names) > largeScope:
		sc.index = make(map[string]int, 2*len(sc.names))
		for i, name := range sc.names {
			sc.index[name] = i
		}
	}
}

func (sc *scope) lookup(name string) (Value, bool) {
	for ; sc != nil; sc = sc.parent {
		if i := sc.find(name); i >= 0 {
			return sc.vals[i], true
		}
	}
	v, ok := globals[name]
	return v, ok
}

// control says how a list of statements ended.
type control uint8

const (
	ranThrough control = iota
	didBreak
	didContinue
)

func (st *state) write(s string) error {
	if len(st.out.b)+len(s) > maxTextBytes {
		return errTextTooLong()
	}
	if st.nested > 0 {
		if err := st.alloc(len(s)); err != nil {
			return err
		}
	}
	st.out.b = append(st.out.b, s...)
	return nil
}

// writeValue writes v as text, unless making it ended in err.
func (st *state) writeValue(v Value, err error) error {
	if err != nil {
		return err
	}
	text, err := toStr(v)
	if err != nil {
		return err
	}
	return st.write(text)
}

// capture runs f with its output going into a string.
func (st *state) capture(f func() error) (string, error) {
	outer := st.out
	st.out = &buffer{}
	st.before += len(outer.b)
	st.nested++
	err := f()
	text := string(st.out.b)
	st.out = outer
	st.before -= len(outer.b)
	st.nested--
	return text, err
}

// captureBody runs statements with their output going into a string.
func (st *state) captureBody(sc *scope, body []stmt) (string, error) {
	return st.capture(func() error {
		_, err := st.run(sc, body)
		return err
	})
}

func (st *state) run(sc *scope, body []stmt) (control, error) {
	for _, s := range body {
		if err := st.step(1); err != nil {
			return ranThrough, atLine(err, s.at())
		}
		ctl, err := st.exec(sc, s)
		if err != nil {
			return ranThrough, atLine(err, s.at())
		}
		if ctl != ranThrough {
			return ctl, nil
		}
	}
	return ranThrough, nil
}

func (st *state) exec(sc *scope, s stmt) (control, error) {
	switch s := s.(type) {
	case *textStmt:
		return ranThrough, st.write(s.text)
	case *outputStmt:
		return ranThrough, st.writeValue(st.eval(sc, s.x))
	case *ifStmt:
		return st.execIf(sc, s)
	case *forStmt:
		return ranThrough, st.execFor(sc, s)
	case *loopCtl:
		if s.brk {
			return didBreak, nil
		}
		return didContinue, nil
	case *setStmt:
		v, err := st.eval(sc, s.x)
		if err != nil {
			return ranThrough, err
		}
		return ranThrough, st.assign(sc, s.target, v)
	case *setBlockStmt:
		v, err := st.captureFiltered(sc, s.body, s.filter)
		if err != nil {
			return ranThrough, err
		}
		return ranThrough, st.assign(sc, s.target, v)
	case *filterStmt:
		return ranThrough, st.writeValue(st.captureFiltered(sc, s.body, s.filter))
	case *macroStmt:
		sc.set(s.name, &macro{macroStmt: s, scope: sc})
	case *callStmt:
		return ranThrough, st.execCall(sc, s)
	case *withStmt:
		return st.execWith(sc, s)
	case *generationStmt:
		return st.execGeneration(sc, s)
	}
	return ranThrough, nil
}

func (st *state) execIf(sc *scope, s *ifStmt) (control, error) {
	for i, cond := range s.conds {
		v, err := st.eval(sc, cond)
		if err != nil {
			return ranThrough, err
		}
		if truthy(v) {
			return st.run(sc, s.bodies[i])
		}
	}
	return st.run(sc, s.other)
}

func (st *state) execFor(sc *scope, s *forStmt) error {
	v, err := st.eval(sc, s.iter)
	if err != nil {
		return err
	}
	return st.loop(sc, s, v, 0)
}

// loop runs a for loop over v; depth counts the recursive calls of loop().
func (st *state) loop(sc *scope, s *forStmt, v Value, depth int) error {
	items, late := st.iterate(v)
	if late != nil && len(items) == 0 {
		return late
	}
	if s.cond != nil {
		var err error
		if items, err = st.filterLoop(sc, s, items); err != nil {
			return err
		}
	}
	lc := &loopContext{items: items, depth: depth}
	if s.recursive {
		lc.recurse = func(v Value) (Value, error) { return st.recurse(sc, s, v, depth+1) }
	}
	for i, item := range items {
		lc.i = i
		if err := st.step(loopSteps); err != nil {
			return err
		}
		inner := sc.child()
		inner.set("loop", lc)
		if err := st.assign(inner, s.target, item); err != nil {
			return err
		}
		ctl, err := st.run(inner, s.body)
		if err != nil {
			return err
		}
		if ctl == didBreak {
			return nil
		}
	}
	if late != nil {
		return late
	}
	if len(items) == 0 {
		_, err := st.run(sc.child(), s.other)
		return err
	}
	return nil
}

func (st *state) filterLoop(sc *scope, s *forStmt, items []Value) ([]Value, error) {
	var kept []Value
	for _, item := range items {
		inner := sc.child()
		if err := st.assign(inner, s.target, item); err != nil {
			return nil, err
		}
		v, err := st.eval(inner, s.cond)
		if err != nil {
			return nil, err
		}
		if truthy(v) {
			kept = append(kept, item)
		}
	}
	return kept, st.alloc(16 * len(kept))
}

func (st *state) recurse(sc *scope, s *forStmt, v Value, depth int) (Value, error) {
	if err := st.enterCall(); err != nil {
		return nil, err
	}
	defer st.leaveCall()
	return st.capture(func() error { return st.loop(sc, s, v, depth) })
}

// assign binds v to a name, an attribute of a namespace or a tuple of targets.
func (st *state) assign(sc *scope, t target, v Value) error {
	switch {
	case t.items != nil:
		return st.unpack(sc, t, v)
	case t.attr == "":
		sc.set(t.name, v)
		return nil
	}
	obj, _ := sc.lookup(t.name)
	ns, ok := obj.(*namespace)
	if !ok {
		return atLine(typeErrorf("cannot assign attribute '%s': '%s' is not a namespace", t.attr, t.name), t.line)
	}
	ns.attrs.Set(t.attr, v)
	return nil
}

func (st *state) unpack(sc *scope, t target, v Value) error {
	items, err := st.iterate(v)
	if err != nil {
		return typeErrorf("cannot unpack non-iterable %s object", typeName(v))
	}
	if len(items) < len(t.items) {
		return valueErrorf("not enough values to unpack (expected %d, got %d)", len(t.items), len(items))
	}
	if len(items) > len(t.items) {
		return valueErrorf("too many values to unpack (expected %d)", len(t.items))
	}
	for i, item := range items {
		if err := st.assign(sc, t.items[i], item); err != nil {
			return err
		}
	}
	return nil
}

// blockText is the variable under which a filter chain finds the text of its block; no template can name it.
const blockText = " text"

func (st *state) captureFiltered(sc *scope, body []stmt, filter expr) (Value, error) {
	text, err := st.captureBody(sc.child(), body)
	if err != nil || filter == nil {
		return text, err
	}
	inner := sc.child()
	inner.set(blockText, text)
	return st.eval(inner, filter)
}

func (st *state) execCall(sc *scope, s *callStmt) error {
	a, err := st.evalArgs(sc, &s.call.args)
	if err != nil {
		return err
	}
	fn, err := st.eval(sc, s.call.fn)
	if err != nil {
		return err
	}
	a.names = append(a.names, "caller")
	a.vals = append(a.vals, &macro{macroStmt: s.body, scope: sc})
	return st.writeValue(st.call(fn, a))
}

func (st *state) execWith(sc *scope, s *withStmt) (control, error) {
	inner := sc.child()
	for i, t := range s.names {
		v, err := st.eval(sc, s.vals[i]) // values see the scope outside
		if err != nil {
			return ranThrough, err
		}
		if err := st.assign(inner, t, v); err != nil {
			return ranThrough, err
		}
	}
	return st.run(inner, s.body)
}

func (st *state) execGeneration(sc *scope, s *generationStmt) (control, error) {
	start := len(st.out.b)
	ctl, err := st.run(sc.child(), s.body)
	if err != nil {
		return ctl, err
	}
	span := genSpan{Span: Span{st.before + start, st.before + len(st.out.b)}}
	if st.nested > 0 {
		span.captured = true
		span.text = string(st.out.b[start:])
	}
	st.spans = append(st.spans, span)
	return ctl, nil
}
