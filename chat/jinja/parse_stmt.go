package jinja

import (
	"slices"
	"strings"
)

func parse(src string) ([]stmt, error) {
	tokens, err := tokenize(src)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	body, _, err := p.body()
	return body, err
}

// body parses up to one of the given end tags and returns which one it met; its own "%}" is left to the caller.
func (p *parser) body(ends ...string) ([]stmt, string, error) {
	if err := p.enter(); err != nil {
		return nil, "", err
	}
	defer p.leave()
	start := p.tokens[max(0, p.i-1)].line // of the tag that opened the block
	var body []stmt
	for {
		t := p.cur()
		line := p.line()
		switch t.kind {
		case tokEOF:
			if len(ends) > 0 {
				return nil, "", p.errorf("unexpected end of template: the block of line %d needs %s", start, tagNames(ends))
			}
			return body, "", nil
		case tokData:
			p.i++
			body = append(body, &textStmt{line, t.text})
		case tokVarBegin:
			p.i++
			x, err := p.tuple(false)
			if err == nil {
				err = p.end(tokVarEnd, "}}")
			}
			if err != nil {
				return nil, "", err
			}
			body = append(body, &outputStmt{line, x})
		case tokBlockBegin:
			p.i++
			if t := p.cur(); t.kind == tokName && slices.Contains(ends, t.text) {
				p.i++
				return body, t.text, nil
			}
			s, err := p.statement(ends)
			if err == nil {
				err = p.end(tokBlockEnd, "%}")
			}
			if err != nil {
				return nil, "", err
			}
			body = append(body, s)
		}
	}
}

func tagNames(ends []string) string {
	return "{% " + strings.Join(ends, " %} or {% ") + " %}"
}

func (p *parser) end(kind tokenKind, closing string) error {
	if p.cur().kind != kind {
		return p.errorf("expected '%s', found %s", closing, p.cur().describe())
	}
	p.i++
	return nil
}

// block parses the rest of an opening tag, a body and the name of its end tag.
func (p *parser) block(ends ...string) ([]stmt, string, error) {
	if err := p.end(tokBlockEnd, "%}"); err != nil {
		return nil, "", err
	}
	return p.body(ends...)
}

func (p *parser) statement(ends []string) (stmt, error) {
	t := p.cur()
	line := p.line()
	if t.kind != tokName {
		return nil, p.errorf("expected the name of a tag, found %s", t.describe())
	}
	p.i++
	switch t.text {
	case "if":
		return p.ifTag(line)
	case "for":
		return p.forTag(line)
	case "set":
		return p.setTag(line)
	case "with":
		return p.withTag(line)
	case "macro":
		return p.macroTag(line)
	case "call":
		return p.callTag(line)
	case "filter":
		filter, err := p.filterChain(nil, true)
		if err != nil {
			return nil, err
		}
		body, _, err := p.block("endfilter")
		return &filterStmt{line, filter, body}, err
	case "generation":
		body, _, err := p.block("endgeneration")
		return &generationStmt{line, body}, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, p.errorf("'%s' outside a loop", t.text)
		}
		return &loopCtl{line, t.text == "break"}, nil
	}
	p.i--
	if len(ends) > 0 {
		return nil, p.errorf("unknown tag '%s'; the enclosing block needs %s", t.text, tagNames(ends))
	}
	return nil, p.errorf("unknown tag '%s'", t.text)
}

func (p *parser) ifTag(line pos) (stmt, error) {
	s := &ifStmt{pos: line}
	for {
		cond, err := p.tuple(false)
		if err != nil {
			return nil, err
		}
		body, end, err := p.block("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		s.conds = append(s.conds, cond)
		s.bodies = append(s.bodies, body)
		switch end {
		case "else":
			s.other, _, err = p.block("endif")
			return s, err
		case "endif":
			return s, nil
		}
	}
}

func (p *parser) forTag(line pos) (stmt, error) {
	s := &forStmt{pos: line}
	var err error
	if s.target, err = p.target(false); err != nil {
		return nil, err
	}
	if s.target.name == "loop" {
		return nil, p.errorf("cannot assign to the special variable 'loop'")
	}
	if !p.takeName("in") {
		return nil, p.errorf("expected 'in', found %s", p.cur().describe())
	}
	if s.iter, err = p.loopIterable(); err != nil {
		return nil, err
	}
	if p.takeName("if") {
		if s.cond, err = p.expression(); err != nil {
			return nil, err
		}
	}
	s.recursive = p.takeName("recursive")
	p.loops++
	body, end, err := p.block("else", "endfor")
	p.loops--
	if err != nil {
		return nil, err
	}
	s.body = body
	if end == "else" {
		s.other, _, err = p.block("endfor")
	}
	return s, err
}

// loopIterable parses what a loop runs over: a tuple without conditional expressions, for "if" filters the loop.
func (p *parser) loopIterable() (expr, error) {
	line := p.line()
	var items []expr
	isTuple := false
	for !p.tupleEnd() && !p.isName("recursive") {
		x, err := p.or()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !p.takeOp(",") {
			break
		}
		isTuple = true
	}
	if len(items) == 0 {
		return nil, p.errorf("expected an expression, found %s", p.cur().describe())
	}
	if !isTuple {
		return items[0], nil
	}
	return &listExpr{pos: line, items: items, tuple: true}, nil
}

// target parses an assignment target; only set may assign to an attribute of a namespace.
func (p *parser) target(withAttr bool) (target, error) {
	t, err := p.targetItem(withAttr)
	if err != nil || !p.isOp(",") {
		return t, err
	}
	all := target{line: t.line, items: []target{t}}
	for p.takeOp(",") {
		if p.cur().kind != tokName && !p.isOp("(") || p.isName("in") {
			break
		}
		if t, err = p.targetItem(withAttr); err != nil {
			return t, err
		}
		all.items = append(all.items, t)
	}
	return all, nil
}

func (p *parser) targetItem(withAttr bool) (target, error) {
	line := p.cur().line
	if p.takeOp("(") {
		if err := p.enter(); err != nil {
			return target{}, err
		}
		defer p.leave()
		t, err := p.target(withAttr)
		if err != nil {
			return t, err
		}
		return t, p.expectOp(")")
	}
	name, err := p.expectName()
	if err != nil {
		return target{}, err
	}
	switch strings.ToLower(name) {
	case "true", "false", "none":
		return target{}, p.errorf("cannot assign to '%s'", name)
	}
	t := target{line: line, name: name}
	if withAttr && p.takeOp(".") {
		t.attr, err = p.expectName()
	}
	return t, err
}

func (p *parser) setTag(line pos) (stmt, error) {
	t, err := p.target(true)
	if err != nil {
		return nil, err
	}
	if p.takeOp("=") {
		x, err := p.tuple(false)
		return &setStmt{line, t, x}, err
	}
	filter, err := p.filterChain(nil, false)
	if err != nil {
		return nil, err
	}
	body, _, err := p.block("endset")
	return &setBlockStmt{line, t, filter, body}, err
}

// filterChain parses "a | b(1) | c", the first with or without its bar.
func (p *parser) filterChain(x expr, bare bool) (expr, error) {
	var err error
	for err == nil && (bare || p.takeOp("|")) {
		bare = false
		x, err = p.filter(x)
	}
	return x, err
}

func (p *parser) withTag(line pos) (stmt, error) {
	s := &withStmt{pos: line}
	for p.cur().kind != tokBlockEnd {
		if len(s.names) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		t, err := p.targetItem(false)
		if err == nil {
			err = p.expectOp("=")
		}
		if err != nil {
			return nil, err
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		s.names = append(s.names, t)
		s.vals = append(s.vals, x)
	}
	var err error
	s.body, _, err = p.block("endwith")
	return s, err
}

func (p *parser) macroTag(line pos) (stmt, error) {
	name, err := p.expectName()
	if err != nil {
		return nil, err
	}
	m := &macroStmt{pos: line, name: name}
	if err := p.parameters(m); err != nil {
		return nil, err
	}
	return m, p.macroBody(m, "endmacro")
}

func (p *parser) macroBody(m *macroStmt, end string) (err error) {
	p.macros = append(p.macros, &m.uses)
	loops := p.loops
	p.loops = 0
	m.body, _, err = p.block(end)
	p.loops = loops
	p.macros = p.macros[:len(p.macros)-1]
	return err
}

func (p *parser) parameters(m *macroStmt) error {
	if err := p.expectOp("("); err != nil {
		return err
	}
	for !p.takeOp(")") {
		if len(m.params) > 0 {
			if err := p.expectOp(","); err != nil {
				return err
			}
			if p.takeOp(")") {
				break
			}
		}
		name, err := p.expectName()
		if err != nil {
			return err
		}
		if slices.Contains(m.params, name) {
			return p.errorf("parameter '%s' occurs twice", name)
		}
		m.params = append(m.params, name)
		if p.takeOp("=") {
			x, err := p.expression()
			if err != nil {
				return err
			}
			m.defaults = append(m.defaults, x)
		} else if len(m.defaults) > 0 {
			return p.errorf("a parameter without a default follows one with a default")
		}
	}
	return nil
}

func (p *parser) callTag(line pos) (stmt, error) {
	m := &macroStmt{pos: line, name: "caller"}
	if p.isOp("(") {
		if err := p.parameters(m); err != nil {
			return nil, err
		}
	}
	x, err := p.expression()
	if err != nil {
		return nil, err
	}
	call, ok := x.(*callExpr)
	if !ok {
		return nil, p.errorf("a call block needs a call: {%% call name(...) %%}")
	}
	return &callStmt{line, call, m}, p.macroBody(m, "endcall")
}
