package jinja

// maxParseDepth bounds the nesting of expressions and blocks in a template's source.
const maxParseDepth = 200

type parser struct {
	tokens []token
	i      int
	depth  int
	loops  int             // enclosing for loops, for break and continue
	macros []*specialNames // enclosing macro and call bodies
}

func (p *parser) cur() token { return p.tokens[p.i] }

func (p *parser) peek() token { return p.tokens[min(p.i+1, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.kind != tokEOF {
		p.i++
	}
	return t
}

func (p *parser) line() pos { return pos(p.cur().line) }

func (p *parser) errorf(format string, args ...any) error {
	return atLine(errorf(syntaxError, format, args...), p.cur().line)
}

func (p *parser) isOp(op string) bool { t := p.cur(); return t.kind == tokOp && t.text == op }

func (p *parser) isName(name string) bool { t := p.cur(); return t.kind == tokName && t.text == name }

func (p *parser) takeOp(op string) bool {
	if p.isOp(op) {
		p.i++
		return true
	}
	return false
}

func (p *parser) takeName(name string) bool {
	if p.isName(name) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expectOp(op string) error {
	if !p.takeOp(op) {
		return p.errorf("expected '%s', found %s", op, p.cur().describe())
	}
	return nil
}

func (p *parser) expectName() (string, error) {
	if t := p.cur(); t.kind != tokName {
		return "", p.errorf("expected a name, found %s", t.describe())
	}
	return p.next().text, nil
}

// enter counts a level of recursion; the caller must call leave.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxParseDepth {
		return atLine(errorf(limitError, "template nested more than %d levels", maxParseDepth), p.cur().line)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// expression parses a conditional expression, the loosest kind that needs no commas.
func (p *parser) expression() (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	line := p.line()
	x, err := p.or()
	for err == nil && p.takeName("if") {
		c := &condExpr{pos: line, yes: x}
		if c.cond, err = p.or(); err != nil {
			return nil, err
		}
		if p.takeName("else") {
			c.no, err = p.expression()
		}
		x = c
	}
	return x, err
}

func (p *parser) or() (expr, error) {
	line := p.line()
	l, err := p.and()
	for err == nil && p.takeName("or") {
		var r expr
		r, err = p.and()
		l = &logicExpr{pos: line, l: l, r: r}
	}
	return l, err
}

func (p *parser) and() (expr, error) {
	line := p.line()
	l, err := p.not()
	for err == nil && p.takeName("and") {
		var r expr
		r, err = p.not()
		l = &logicExpr{pos: line, and: true, l: l, r: r}
	}
	return l, err
}

func (p *parser) not() (expr, error) {
	line := p.line()
	if !p.takeName("not") {
		return p.compare()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	x, err := p.not()
	return &notExpr{pos: line, x: x}, err
}

func (p *parser) compareOp() string {
	switch t := p.cur(); {
	case t.kind == tokOp:
		switch t.text {
		case "==", "!=", "<", "<=", ">", ">=":
			p.i++
			return t.text
		}
	case p.takeName("in"):
		return "in"
	case p.isName("not") && p.peek().kind == tokName && p.peek().text == "in":
		p.i += 2
		return "not in"
	}
	return ""
}

func (p *parser) compare() (expr, error) {
	line := p.line()
	first, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	c := &compareExpr{pos: line, first: first}
	for op := p.compareOp(); op != ""; op = p.compareOp() {
		x, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		c.ops = append(c.ops, op)
		c.rest = append(c.rest, x)
	}
	if len(c.ops) == 0 {
		return first, nil
	}
	return c, nil
}

// binaryLevels are the left-associative operators, loosest first. In Jinja ~ binds between + and *, and ** is
// left-associative and binds looser than a sign.
var binaryLevels = [][]string{{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}}

func (p *parser) binary(level int) (expr, error) {
	if level == len(binaryLevels) {
		return p.unary(true)
	}
	line := p.line()
	l, err := p.binary(level + 1)
	for err == nil {
		op := p.anyOp(binaryLevels[level])
		if op == "" {
			break
		}
		var r expr
		r, err = p.binary(level + 1)
		if cat, ok := l.(*concatExpr); ok && op == "~" {
			cat.parts = append(cat.parts, r)
		} else if op == "~" {
			l = &concatExpr{pos: line, parts: []expr{l, r}}
		} else {
			l = &binExpr{pos: line, op: op, l: l, r: r}
		}
	}
	return l, err
}

func (p *parser) anyOp(ops []string) string {
	for _, op := range ops {
		if p.takeOp(op) {
			return op
		}
	}
	return ""
}

func (p *parser) unary(withFilters bool) (expr, error) {
	line := p.line()
	var x expr
	var err error
	if op := p.anyOp(binaryLevels[0]); op != "" {
		if err := p.enter(); err != nil {
			return nil, err
		}
		x, err = p.unary(false)
		p.leave()
		x = &signExpr{pos: line, op: op, x: x}
	} else {
		x, err = p.primary()
	}
	if err == nil {
		x, err = p.postfix(x)
	}
	if err == nil && withFilters {
		x, err = p.filters(x)
	}
	return x, err
}

func (p *parser) primary() (expr, error) {
	t := p.cur()
	line := p.line()
	switch t.kind {
	case tokName:
		p.i++
		switch t.text {
		case "true", "True":
			return &constExpr{line, true}, nil
		case "false", "False":
			return &constExpr{line, false}, nil
		case "none", "None":
			return &constExpr{line, nil}, nil
		}
		p.noteSpecial(t.text)
		return &nameExpr{line, t.text}, nil
	case tokString:
		s := ""
		for p.cur().kind == tokString { // adjacent literals join
			s += p.next().text
		}
		return &constExpr{line, s}, nil
	case tokInt, tokFloat:
		p.i++
		return &constExpr{line, t.num}, nil
	}
	switch {
	case p.takeOp("("):
		x, err := p.tuple(true)
		if err != nil {
			return nil, err
		}
		return x, p.expectOp(")")
	case p.takeOp("["):
		items, err := p.items("]")
		return &listExpr{pos: line, items: items}, err
	case p.takeOp("{"):
		return p.dict(line)
	}
	return nil, p.errorf("expected an expression, found %s", t.describe())
}

// noteSpecial marks the enclosing macros as users of caller, varargs or kwargs.
func (p *parser) noteSpecial(name string) {
	for _, m := range p.macros {
		switch name {
		case "caller":
			m.caller = true
		case "varargs":
			m.varargs = true
		case "kwargs":
			m.kwargs = true
		}
	}
}

// tuple parses one expression, or several with commas as a tuple. Empty is allowed only inside parentheses.
func (p *parser) tuple(parens bool) (expr, error) {
	line := p.line()
	var items []expr
	isTuple := false
	for !p.tupleEnd() {
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !p.takeOp(",") {
			break
		}
		isTuple = true
	}
	if len(items) == 1 && !isTuple {
		return items[0], nil
	}
	if len(items) == 0 && !parens {
		return nil, p.errorf("expected an expression, found %s", p.cur().describe())
	}
	return &listExpr{pos: line, items: items, tuple: true}, nil
}

func (p *parser) tupleEnd() bool {
	k := p.cur().kind
	return k == tokVarEnd || k == tokBlockEnd || k == tokEOF || p.isOp(")")
}

func (p *parser) items(closing string) ([]expr, error) {
	var items []expr
	for !p.takeOp(closing) {
		if len(items) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.takeOp(closing) {
				break
			}
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
	}
	return items, nil
}

func (p *parser) dict(line pos) (expr, error) {
	d := &dictExpr{pos: line}
	for !p.takeOp("}") {
		if len(d.keys) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.takeOp("}") {
				break
			}
		}
		k, err := p.expression()
		if err == nil {
			err = p.expectOp(":")
		}
		if err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		d.keys = append(d.keys, k)
		d.vals = append(d.vals, v)
	}
	return d, nil
}

func (p *parser) postfix(x expr) (expr, error) {
	for {
		line := p.line()
		var err error
		switch {
		case p.takeOp("."):
			x, err = p.attribute(x, line)
		case p.takeOp("["):
			x, err = p.subscript(x, line)
		case p.isOp("("):
			x, err = p.call(x)
		default:
			return x, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) attribute(x expr, line pos) (expr, error) {
	switch t := p.next(); t.kind {
	case tokName:
		return &attrExpr{line, x, t.text}, nil
	case tokInt:
		return &itemExpr{line, x, &constExpr{line, t.num}}, nil
	default:
		return nil, atLine(errorf(syntaxError, "expected a name or number after '.', found %s", t.describe()), t.line)
	}
}

func (p *parser) subscript(x expr, line pos) (expr, error) {
	var keys []expr
	for !p.takeOp("]") {
		if len(keys) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		k, err := p.sliceOrKey()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 1 {
		return &itemExpr{line, x, keys[0]}, nil
	}
	for _, k := range keys {
		if _, ok := k.(*sliceExpr); ok {
			return nil, p.errorf("a slice cannot stand beside other subscripts")
		}
	}
	return &itemExpr{line, x, &listExpr{pos: line, items: keys, tuple: true}}, nil
}

func (p *parser) sliceOrKey() (expr, error) {
	s := &sliceExpr{pos: p.line()}
	for n, part := range []*expr{&s.lo, &s.hi, &s.step} {
		if !p.isOp(":") && !p.isOp("]") && !p.isOp(",") {
			x, err := p.expression()
			if err != nil {
				return nil, err
			}
			*part = x
		}
		if !p.takeOp(":") || n == 2 {
			if n == 0 {
				if s.lo == nil {
					return nil, p.errorf("expected a subscript, found %s", p.cur().describe())
				}
				return s.lo, nil
			}
			break
		}
	}
	return s, nil
}

func (p *parser) call(fn expr) (expr, error) {
	line := p.line()
	args, err := p.arguments()
	return &callExpr{pos: line, fn: fn, args: args}, err
}

func (p *parser) arguments() (argList, error) {
	var a argList
	if err := p.expectOp("("); err != nil {
		return a, err
	}
	for first := true; !p.takeOp(")"); first = false {
		if !first {
			if err := p.expectOp(","); err != nil {
				return a, err
			}
			if p.takeOp(")") {
				break
			}
		}
		if err := p.argument(&a); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (p *parser) argument(a *argList) (err error) {
	late := a.star != nil || a.starstar != nil
	switch {
	case p.isOp("*") && !late:
		p.i++
		a.star, err = p.expression()
	case p.isOp("**") && a.starstar == nil:
		p.i++
		a.starstar, err = p.expression()
	case p.cur().kind == tokName && p.peek().kind == tokOp && p.peek().text == "=" && a.starstar == nil:
		name := p.next().text
		p.i++
		var x expr
		x, err = p.expression()
		a.names = append(a.names, name)
		a.named = append(a.named, x)
	case late || len(a.named) > 0:
		return p.errorf("a positional argument must come before named ones")
	default:
		var x expr
		x, err = p.expression()
		a.pos = append(a.pos, x)
	}
	return err
}

// filters parses what follows an operand: filters, tests and calls of their results.
func (p *parser) filters(x expr) (expr, error) {
	for {
		var err error
		switch {
		case p.takeOp("|"):
			x, err = p.filter(x)
		case p.takeName("is"):
			x, err = p.test(x)
		case p.isOp("("):
			x, err = p.call(x)
		default:
			return x, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) dottedName() (string, error) {
	name, err := p.expectName()
	for err == nil && p.takeOp(".") {
		var part string
		part, err = p.expectName()
		name += "." + part
	}
	return name, err
}

func (p *parser) filter(x expr) (expr, error) {
	line := p.line()
	name, err := p.dottedName()
	if err != nil {
		return nil, err
	}
	f := &filterExpr{pos: line, x: x, name: name}
	if p.isOp("(") {
		f.args, err = p.arguments()
	}
	return f, err
}

func (p *parser) test(x expr) (expr, error) {
	line := p.line()
	negated := p.takeName("not")
	name, err := p.dottedName()
	if err != nil {
		return nil, err
	}
	t := &testExpr{pos: line, x: x, name: name}
	if p.isOp("(") {
		t.args, err = p.arguments()
	} else if p.startsTestArg() {
		if p.isName("is") {
			return nil, p.errorf("tests cannot be chained with is")
		}
		var arg expr
		if arg, err = p.primary(); err == nil {
			arg, err = p.postfix(arg)
		}
		t.args.pos = []expr{arg}
	}
	if negated {
		return &notExpr{pos: line, x: t}, err
	}
	return t, err
}

func (p *parser) startsTestArg() bool {
	switch p.cur().kind {
	case tokName:
		return !p.isName("else") && !p.isName("or") && !p.isName("and")
	case tokString, tokInt, tokFloat:
		return true
	}
	return p.isOp("[") || p.isOp("{")
}
