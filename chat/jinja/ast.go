package jinja

// The syntax tree. Expressions and statements are plain structs; the evaluator switches over them.

type expr interface{ at() int } // at is the template line

type pos int

func (p pos) at() int { return int(p) }

type (
	constExpr struct {
		pos
		value Value
	}
	nameExpr struct {
		pos
		name string
	}
	listExpr struct {
		pos
		items []expr
		tuple bool
	}
	dictExpr struct {
		pos
		keys, vals []expr
	}
	attrExpr struct { // x.name
		pos
		x    expr
		name string
	}
	itemExpr struct { // x[key]
		pos
		x, key expr
	}
	sliceExpr struct { // the lo:hi:step of x[lo:hi:step]; each may be nil
		pos
		lo, hi, step expr
	}
	callExpr struct {
		pos
		fn   expr
		args argList
	}
	filterExpr struct { // x is nil for the head of a filter block: the captured text
		pos
		x    expr
		name string
		args argList
	}
	testExpr struct {
		pos
		x    expr
		name string
		args argList
	}
	notExpr struct {
		pos
		x expr
	}
	signExpr struct {
		pos
		op string
		x  expr
	}
	binExpr struct {
		pos
		op   string
		l, r expr
	}
	logicExpr struct { // and, or
		pos
		and  bool
		l, r expr
	}
	concatExpr struct { // a ~ b ~ c
		pos
		parts []expr
	}
	compareExpr struct { // a < b <= c
		pos
		first expr
		ops   []string
		rest  []expr
	}
	condExpr struct { // a if cond else b; b may be nil
		pos
		cond, yes, no expr
	}
)

// argList is the arguments of a call: f(a, *star, name=b, **starstar).
type argList struct {
	pos            []expr
	names          []string
	named          []expr
	star, starstar expr
}

type stmt interface{ at() int }

type (
	textStmt struct {
		pos
		text string
	}
	outputStmt struct {
		pos
		x expr
	}
	ifStmt struct {
		pos
		conds  []expr
		bodies [][]stmt
		other  []stmt
	}
	forStmt struct {
		pos
		target     target
		iter, cond expr // cond may be nil
		body       []stmt
		other      []stmt
		recursive  bool
	}
	setStmt struct {
		pos
		target target
		x      expr
	}
	setBlockStmt struct {
		pos
		target target
		filter expr // chain of filters with the text at its head, or nil
		body   []stmt
	}
	withStmt struct {
		pos
		names []target
		vals  []expr
		body  []stmt
	}
	macroStmt struct {
		pos
		name     string
		params   []string
		defaults []expr // for the last len(defaults) params
		body     []stmt
		uses     specialNames
	}
	callStmt struct { // {% call(params) f() %}body{% endcall %}
		pos
		call *callExpr
		body *macroStmt
	}
	filterStmt struct {
		pos
		filter expr
		body   []stmt
	}
	generationStmt struct {
		pos
		body []stmt
	}
	loopCtl struct { // break or continue
		pos
		brk bool
	}
)

// specialNames tells which of the implicit macro variables a body uses.
type specialNames struct{ caller, varargs, kwargs bool }

// target is what set and for assign to: a name, an attribute of a namespace, or a tuple of targets.
type target struct {
	line  int
	name  string
	attr  string
	items []target // a tuple when not nil
}
