package fault

import (
	"errors"
	"fmt"
)

// A Note is a text with settings in it, such as a warning or a piece of advice.
// In JSON it is a string, with settings as configs write them.
type Note struct {
	format string
	args   []any
}

// Say makes a note. Settings, errors and other notes among args are written as
// the reader of the note knows them.
func Say(format string, args ...any) Note {
	if false {
		_ = fmt.Errorf(format, args...) // lets go vet check the formats of callers
	}
	return Note{format, args}
}

// Spell is the text, with each setting as name writes it.
func (n Note) Spell(name func(Setting) string) string {
	if n.format == "" {
		return ""
	}
	args := make([]any, len(n.args))
	for i, arg := range n.args {
		switch arg := arg.(type) {
		case Setting:
			args[i] = name(arg)
		case Note:
			args[i] = arg.Spell(name)
		case error:
			args[i] = errors.New(Text(arg, name))
		default:
			args[i] = arg
		}
	}
	return fmt.Errorf(n.format, args...).Error()
}

// String is the text with settings as configs write them.
func (n Note) String() string { return n.Spell(plain) }

// MarshalText writes the note as String does.
func (n Note) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads a note back. Settings in it are words like others then.
func (n *Note) UnmarshalText(text []byte) error {
	*n = Say("%s", string(text))
	return nil
}
