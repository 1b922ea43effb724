package jinja

import (
	"errors"
	"fmt"
)

// errorKind tells what sort of fault a template ended in.
type errorKind uint8

// The kinds of template errors.
const (
	syntaxError    errorKind = iota + 1 // the template does not parse
	undefinedError                      // an operation on an undefined name or attribute
	raisedError                         // the template called raise_exception
	typeError                           // an operation on a value of the wrong type
	valueError                          // a right type with an impossible value
	securityError                       // an attribute that the sandbox forbids
	limitError                          // too much recursion, work, memory or output
)

var kindNames = [...]string{"", "syntax", "undefined", "raised", "type", "value", "security", "limit"}

func (k errorKind) String() string { return kindNames[k] }

// templateError is the failure of a template, with the line where it happened.
type templateError struct {
	kind errorKind
	line int // 1-based line of the template; 0 when unknown
	msg  string
}

func (e *templateError) Error() string {
	if e.line > 0 {
		return fmt.Sprintf("chat template: line %d: %s", e.line, e.msg)
	}
	return "chat template: " + e.msg
}

func errorf(kind errorKind, format string, args ...any) *templateError {
	return &templateError{kind: kind, msg: fmt.Sprintf(format, args...)}
}

func typeErrorf(format string, args ...any) error { return errorf(typeError, format, args...) }

func valueErrorf(format string, args ...any) error { return errorf(valueError, format, args...) }

// atLine puts a line on an error that has none yet: the innermost node wins.
func atLine(err error, line int) error {
	var e *templateError
	if errors.As(err, &e) && e.line == 0 {
		e.line = line
	}
	return err
}
