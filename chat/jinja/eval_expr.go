package jinja

import "strings"

// eval computes an expression. Errors without a line get that of the innermost node that saw them.
func (st *state) eval(sc *scope, e expr) (Value, error) {
	st.depth++
	defer func() { st.depth-- }()
	if st.depth > maxEvalDepth {
		return nil, atLine(errorf(limitError, "maximum recursion depth exceeded"), e.at())
	}
	if err := st.step(1); err != nil {
		return nil, atLine(err, e.at())
	}
	v, err := st.evalNode(sc, e)
	if err != nil {
		return nil, atLine(err, e.at())
	}
	return v, nil
}

func (st *state) evalNode(sc *scope, e expr) (Value, error) {
	switch e := e.(type) {
	case *constExpr:
		return e.value, nil
	case *nameExpr:
		if v, ok := sc.lookup(e.name); ok {
			return v, nil
		}
		return newUndefined("'" + e.name + "' is undefined"), nil
	case *attrExpr:
		x, err := st.eval(sc, e.x)
		if err != nil {
			return nil, err
		}
		return st.attr(x, e.name)
	case *itemExpr:
		return st.evalItem(sc, e)
	case *callExpr:
		fn, err := st.eval(sc, e.fn)
		if err != nil {
			return nil, err
		}
		a, err := st.evalArgs(sc, &e.args)
		if err != nil {
			return nil, err
		}
		return st.call(fn, a)
	case *filterExpr:
		return st.evalFilter(sc, e)
	case *testExpr:
		return st.evalTest(sc, e)
	case *notExpr:
		x, err := st.eval(sc, e.x)
		return !truthy(x), err
	case *signExpr:
		x, err := st.eval(sc, e.x)
		if err != nil {
			return nil, err
		}
		return sign(e.op, x)
	case *binExpr:
		l, r, err := st.evalPair(sc, e.l, e.r)
		if err != nil {
			return nil, err
		}
		return st.binary(e.op, l, r)
	case *logicExpr:
		l, err := st.eval(sc, e.l)
		if err != nil || truthy(l) != e.and {
			return l, err
		}
		return st.eval(sc, e.r)
	case *concatExpr:
		return st.evalConcat(sc, e)
	case *compareExpr:
		return st.evalCompare(sc, e)
	case *condExpr:
		return st.evalCond(sc, e)
	case *listExpr:
		items, err := st.evalAll(sc, e.items)
		if e.tuple {
			return newTuple(items...), err
		}
		return NewList(items...), err
	case *dictExpr:
		return st.evalDict(sc, e)
	}
	return nil, typeErrorf("a slice can only stand in a subscript")
}

func (st *state) evalPair(sc *scope, l, r expr) (Value, Value, error) {
	x, err := st.eval(sc, l)
	if err != nil {
		return nil, nil, err
	}
	y, err := st.eval(sc, r)
	return x, y, err
}

func (st *state) evalAll(sc *scope, list []expr) ([]Value, error) {
	vals := make([]Value, len(list))
	for i, e := range list {
		v, err := st.eval(sc, e)
		if err != nil {
			return nil, err
		}
		vals[i] = v
	}
	return vals, st.alloc(16 * len(vals))
}

func (st *state) evalDict(sc *scope, e *dictExpr) (Value, error) {
	d := NewDict()
	for i := range e.keys {
		k, v, err := st.evalPair(sc, e.keys[i], e.vals[i])
		if err != nil {
			return nil, err
		}
		if err := st.touch(k); err != nil {
			return nil, err
		}
		if err := d.store(k, v); err != nil {
			return nil, err
		}
	}
	return d, st.alloc(64 * d.Len())
}

func (st *state) evalConcat(sc *scope, e *concatExpr) (Value, error) {
	var b strings.Builder
	for _, part := range e.parts {
		v, err := st.eval(sc, part)
		if err != nil {
			return nil, err
		}
		s, err := toStr(v)
		if err != nil {
			return nil, err
		}
		if err := st.alloc(len(s)); err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	return b.String(), st.alloc(b.Len())
}

func (st *state) evalCompare(sc *scope, e *compareExpr) (Value, error) {
	l, err := st.eval(sc, e.first)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		r, err := st.eval(sc, e.rest[i])
		if err != nil {
			return nil, err
		}
		ok, err := st.holds(op, l, r)
		if err != nil || !ok {
			return false, err
		}
		l = r
	}
	return true, nil
}

// holds applies a comparison operator.
func (st *state) holds(op string, l, r Value) (bool, error) {
	switch op {
	case "==":
		return st.equal(l, r)
	case "!=":
		eq, err := st.equal(l, r)
		return !eq, err
	case "in":
		return st.contains(r, l)
	case "not in":
		in, err := st.contains(r, l)
		return !in, err
	}
	if isNaN(l) || isNaN(r) {
		return false, nil
	}
	c, err := st.compare(l, r, op)
	switch op {
	case "<":
		return c < 0, err
	case "<=":
		return c <= 0, err
	case ">":
		return c > 0, err
	}
	return c >= 0, err
}

func isNaN(v Value) bool {
	f, ok := v.(float64)
	return ok && f != f
}

func (st *state) evalCond(sc *scope, e *condExpr) (Value, error) {
	c, err := st.eval(sc, e.cond)
	if err != nil {
		return nil, err
	}
	if truthy(c) {
		return st.eval(sc, e.yes)
	}
	if e.no == nil {
		return newUndefined("the inline if-expression was false and has no else part"), nil
	}
	return st.eval(sc, e.no)
}

func (st *state) evalItem(sc *scope, e *itemExpr) (Value, error) {
	x, err := st.eval(sc, e.x)
	if err != nil {
		return nil, err
	}
	s, ok := e.key.(*sliceExpr)
	if !ok {
		key, err := st.eval(sc, e.key)
		if err != nil {
			return nil, err
		}
		return st.item(x, key)
	}
	var bounds [3]*int64
	for i, part := range []expr{s.lo, s.hi, s.step} {
		if part == nil {
			continue
		}
		v, err := st.eval(sc, part)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		n, ok := asInt(v)
		if !ok {
			return nil, typeErrorf("slice indices must be integers or None, not %s", typeName(v))
		}
		bounds[i] = &n
	}
	return st.slice(x, bounds[0], bounds[1], bounds[2])
}

func (st *state) evalFilter(sc *scope, e *filterExpr) (Value, error) {
	var x Value
	var err error
	if e.x == nil {
		x, _ = sc.lookup(blockText)
	} else if x, err = st.eval(sc, e.x); err != nil {
		return nil, err
	}
	a, err := st.evalArgs(sc, &e.args)
	if err != nil {
		return nil, err
	}
	return st.filter(e.name, x, a)
}

func (st *state) filter(name string, x Value, a args) (Value, error) {
	f, ok := filters[name]
	if !ok {
		return nil, errorf(syntaxError, "no filter named '%s'", name)
	}
	if err := st.touchAll(x, a); err != nil {
		return nil, err
	}
	return f(st, x, a)
}

func (st *state) evalTest(sc *scope, e *testExpr) (Value, error) {
	x, err := st.eval(sc, e.x)
	if err != nil {
		return nil, err
	}
	a, err := st.evalArgs(sc, &e.args)
	if err != nil {
		return nil, err
	}
	return st.test(e.name, x, a)
}

func (st *state) test(name string, x Value, a args) (bool, error) {
	f, ok := tests[name]
	if !ok {
		return false, errorf(syntaxError, "no test named '%s'", name)
	}
	if err := st.touchAll(x, a); err != nil {
		return false, err
	}
	return f(st, x, a)
}
