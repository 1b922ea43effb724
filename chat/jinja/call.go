package jinja

import (
	"slices"
	"strings"
)

// args are the evaluated arguments of a call.
type args struct {
	pos   []Value
	names []string
	vals  []Value
}

// absent marks an optional argument that was not given.
type absent struct{}

// params are arguments sorted into parameter order by bind.
type params []Value

// or returns parameter i, or what to use where it was not given.
func (p params) or(i int, missing Value) Value {
	if p[i] == (absent{}) {
		return missing
	}
	return p[i]
}

// bind sorts arguments into the named parameters; a name that ends in ? may be left out.
func (a args) bind(fn string, names ...string) (params, error) {
	if len(a.pos) > len(names) {
		return nil, typeErrorf("%s() takes at most %d arguments (%d given)", fn, len(names), len(a.pos))
	}
	out := make(params, len(names))
	for i := range names {
		out[i] = absent{}
		if i < len(a.pos) {
			out[i] = a.pos[i]
		}
	}
	for k, name := range a.names {
		i := slices.IndexFunc(names, func(n string) bool { return strings.TrimSuffix(n, "?") == name })
		if i < 0 {
			return nil, typeErrorf("%s() got an unexpected keyword argument '%s'", fn, name)
		}
		if out[i] != (absent{}) {
			return nil, typeErrorf("%s() got multiple values for argument '%s'", fn, name)
		}
		out[i] = a.vals[k]
	}
	for i, name := range names {
		if out[i] == (absent{}) && !strings.HasSuffix(name, "?") {
			return nil, typeErrorf("%s() missing the argument '%s'", fn, name)
		}
	}
	return out, nil
}

// touchAll charges for an operation on x with arguments.
func (st *state) touchAll(x Value, a args) error {
	if err := st.touch(x); err != nil {
		return err
	}
	if err := st.touch(a.pos...); err != nil {
		return err
	}
	return st.touch(a.vals...)
}

// none refuses any argument.
func (a args) none(fn string) error {
	_, err := a.bind(fn)
	return err
}

// dict returns the named arguments as a dict.
func (a args) dict() *Dict {
	d := NewDict()
	for i, name := range a.names {
		d.Set(name, a.vals[i])
	}
	return d
}

func (p params) text(fn string, i int, missing string) (string, error) {
	v := p.or(i, missing)
	if s, ok := text(v); ok {
		return s, nil
	}
	if u, ok := v.(*undefined); ok && u.kind == securityError {
		return "", u.fail()
	}
	return "", typeErrorf("%s() argument must be str, not %s", fn, typeName(v))
}

func (p params) int(fn string, i int, missing int64) (int64, error) {
	v := p.or(i, missing)
	if n, ok := asInt(v); ok {
		return n, nil
	}
	if u, ok := v.(*undefined); ok {
		return 0, u.fail()
	}
	return 0, typeErrorf("%s() argument must be an integer, not %s", fn, typeName(v))
}

func (st *state) evalArgs(sc *scope, list *argList) (args, error) {
	var a args
	var err error
	if a.pos, err = st.evalAll(sc, list.pos); err != nil {
		return a, err
	}
	if a.vals, err = st.evalAll(sc, list.named); err != nil {
		return a, err
	}
	a.names = slices.Clone(list.names)
	if list.star != nil {
		v, err := st.eval(sc, list.star)
		if err != nil {
			return a, err
		}
		items, err := st.iterate(v)
		if err != nil {
			return a, err
		}
		if err := st.alloc(16 * len(items)); err != nil {
			return a, err
		}
		a.pos = append(a.pos, items...)
	}
	if list.starstar != nil {
		v, err := st.eval(sc, list.starstar)
		if err != nil {
			return a, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return a, typeErrorf("argument after ** must be a mapping, not %s", typeName(v))
		}
		for i, k := range d.keys {
			name, ok := k.(string)
			if !ok || slices.Contains(a.names, name) {
				return a, typeErrorf("the keys after ** must be strings that are not given twice")
			}
			a.names = append(a.names, name)
			a.vals = append(a.vals, d.vals[i])
		}
	}
	return a, nil
}

// builtin is a function or bound method written in Go.
type builtin struct {
	name string
	self Value // of a method
	fn   func(st *state, a args) (Value, error)
}

// macro is a macro, or the body of a call block, with the scope it was defined in.
type macro struct {
	*macroStmt
	scope *scope
}

func (st *state) enterCall() error {
	if st.calls++; st.calls > maxCalls {
		st.calls--
		return errorf(limitError, "maximum recursion depth exceeded (%d nested macro calls)", maxCalls)
	}
	if err := st.step(callSteps); err != nil {
		st.calls--
		return err
	}
	return nil
}

func (st *state) leaveCall() { st.calls-- }

// call calls a value.
func (st *state) call(fn Value, a args) (Value, error) {
	switch fn := fn.(type) {
	case *undefined:
		return nil, fn.fail()
	case *builtin:
		if err := st.touchAll(fn.self, a); err != nil {
			return nil, err
		}
		return fn.fn(st, a)
	case *macro:
		return st.callMacro(fn, a)
	case *joiner:
		return fn.call(a)
	case *loopContext:
		if fn.recurse == nil {
			return nil, typeErrorf("the loop must have the 'recursive' marker to be called recursively")
		}
		p, err := a.bind("loop", "iterable")
		if err != nil {
			return nil, err
		}
		return fn.recurse(p[0])
	}
	return nil, typeErrorf("'%s' object is not callable", typeName(fn))
}

func (st *state) callMacro(m *macro, a args) (Value, error) {
	if err := st.enterCall(); err != nil {
		return nil, err
	}
	defer st.leaveCall()
	sc := m.scope.child()
	if err := st.bindMacro(sc, m, a); err != nil {
		return nil, err
	}
	return st.captureBody(sc, m.body)
}

// bindMacro sets the parameters of a macro, its defaults, and caller, varargs and kwargs where the body uses them.
func (st *state) bindMacro(sc *scope, m *macro, a args) error {
	used := make([]bool, len(a.names))
	named := func(name string) (Value, bool) {
		i := slices.Index(a.names, name)
		if i < 0 || used[i] {
			return nil, false
		}
		used[i] = true
		return a.vals[i], true
	}
	for i, name := range m.params {
		if i < len(a.pos) {
			sc.set(name, a.pos[i])
		} else if v, ok := named(name); ok {
			sc.set(name, v)
		} else if k := i - (len(m.params) - len(m.defaults)); k >= 0 {
			v, err := st.eval(sc, m.defaults[k]) // a default may use the parameters before it
			if err != nil {
				return err
			}
			sc.set(name, v)
		} else {
			sc.set(name, newUndefined("parameter '"+name+"' was not provided"))
		}
	}
	if m.uses.caller && !slices.Contains(m.params, "caller") {
		v, ok := named("caller")
		if !ok {
			v = newUndefined("No caller defined")
		}
		sc.set("caller", v)
	}
	rest := NewDict()
	for i, name := range a.names {
		if used[i] {
			continue
		}
		if !m.uses.kwargs {
			return typeErrorf("macro '%s' takes no keyword argument '%s'", m.name, name)
		}
		rest.Set(name, a.vals[i])
	}
	if m.uses.kwargs {
		sc.set("kwargs", rest)
	}
	extra := a.pos[min(len(a.pos), len(m.params)):]
	if m.uses.varargs {
		sc.set("varargs", newTuple(extra...))
	} else if len(extra) > 0 {
		return typeErrorf("macro '%s' takes not more than %d argument(s)", m.name, len(m.params))
	}
	return nil
}
