package chat

import (
	"errors"
	"fmt"
)

// ErrorKind tells what sort of fault a template ended in.
type ErrorKind uint8

// The kinds of template errors.
const (
	SyntaxError    ErrorKind = iota + 1 // the template does not parse
	UndefinedError                      // an operation on an undefined name or attribute
	RaisedError                         // the template called raise_exception
	TypeError                           // an operation on a value of the wrong type
	ValueError                          // a right type with an impossible value
	SecurityError                       // an attribute that the sandbox forbids
	LimitError                          // too much recursion, work, memory or output
)

var kindNames = [...]string{"", "syntax", "undefined", "raised", "type", "value", "security", "limit"}

func (k ErrorKind) String() string { return kindNames[k] }

// Error is the failure of a chat template, with the template line where it happened.
type Error struct {
	Kind ErrorKind
	Line int // 1-based line of the template; 0 when unknown
	Msg  string
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("chat template: line %d: %s", e.Line, e.Msg)
	}
	return "chat template: " + e.Msg
}

func errorf(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

func typeErrorf(format string, args ...any) error { return errorf(TypeError, format, args...) }

func valueErrorf(format string, args ...any) error { return errorf(ValueError, format, args...) }

// atLine puts a line on an error that has none yet: the innermost node wins.
func atLine(err error, line int) error {
	var e *Error
	if errors.As(err, &e) && e.Line == 0 {
		e.Line = line
	}
	return err
}
