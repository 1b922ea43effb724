// Package fault holds the mistakes of users as values: which setting is wrong,
// what was found, what was expected, and how to put it right. Advise gives a
// remedy to other errors, and a Note is a text about settings that is no error.
//
// Packages below the shell name a setting as a config does ("batch_size") and
// know nothing of how it was given. Whoever talks to the user decides how a
// setting is written: a command line prints --batch-size, a server answers with
// the name of its own parameter.
//
//	return fault.Value("batch_size", n, "1 or more")
//	return fault.At("kv_bits", "%d is no width that a cache can have", bits).Try("Give %v 4 or 8.", fault.Setting("kv_bits"))
//	return fault.Of("%s: %d bytes are missing", path, n).Try("Download the file again.")
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// A Setting is the name of something a user chooses, as configs write it: "max_kv_size".
// As an argument of a format below, it is written as the reader of the message knows it.
type Setting string

// A Mistake is an error that the user can put right. Make one with Value, Given, Missing, At, Of or Mark.
type Mistake struct {
	Setting Setting // the setting at fault; empty where no single one is
	Found   any     // its value; nil where the message tells it
	// Expected says what is right: "1 or more", "lora, dora or full". Empty where the message tells it.
	Expected string

	message Note
	remedy  Note
	cause   error
}

// Value is a setting with a value that it cannot have.
func Value(setting Setting, found any, expected string) *Mistake {
	return &Mistake{Setting: setting, Found: found, Expected: expected}
}

// Missing is a setting that has to be given.
func Missing(setting Setting) *Mistake { return &Mistake{Setting: setting} }

// Given is something wrong with the value of a setting, which the message need not repeat.
func Given(setting Setting, found any, format string, args ...any) *Mistake {
	m := At(setting, format, args...)
	m.Found = found
	return m
}

// At is something wrong with a setting. format is as for fmt.Errorf: %w gives the cause.
func At(setting Setting, format string, args ...any) *Mistake {
	m := Of(format, args...)
	m.Setting = setting
	return m
}

// Of is a mistake that no single setting is to blame for, such as one in a file.
func Of(format string, args ...any) *Mistake {
	return &Mistake{message: Note{format, args}, cause: errors.Unwrap(fmt.Errorf(format, args...))}
}

// Mark declares an error, from a package that cannot know, to be a mistake of
// the user's. Its text stays. An error that is one already is returned as it is, and
// so is one of the kinds that are the user's only at times; nil stays nil.
func Mark(err error, except ...error) error {
	var m *Mistake
	if err == nil || errors.As(err, &m) {
		return err
	}
	for _, kind := range except {
		if errors.Is(err, kind) {
			return err
		}
	}
	return Of("%w", err)
}

// Try adds what the user can do about it, whole sentences on lines of their own.
func (m *Mistake) Try(format string, args ...any) *Mistake {
	m.remedy = Say(format, args...)
	return m
}

// Error is the message, the remedy on the lines after it, with settings as configs write them.
func (m *Mistake) Error() string { return m.spell(plain) }

// Unwrap is the cause.
func (m *Mistake) Unwrap() error { return m.cause }

// Remedy is what the user can do, with each setting as name writes it; empty where nothing was said.
func (m *Mistake) Remedy(name func(Setting) string) string { return m.remedy.Spell(name) }

// spell writes the whole mistake.
func (m *Mistake) spell(name func(Setting) string) string {
	message := m.message.Spell(name)
	switch {
	case m.Setting == "":
	case m.Expected != "":
		message = fmt.Sprintf("%s %s: expected %s", name(m.Setting), found(m.Found), m.Expected)
	case m.Found != nil:
		message = fmt.Sprintf("%s %s: %s", name(m.Setting), found(m.Found), message)
	case message == "":
		message = name(m.Setting) + " is missing"
	default:
		message = name(m.Setting) + ": " + message
	}
	if remedy := m.remedy.Spell(name); remedy != "" {
		message += "\n" + remedy
	}
	return message
}

// SettingOf is the setting at fault, empty where err blames none.
func SettingOf(err error) Setting {
	var m *Mistake
	if !errors.As(err, &m) {
		return ""
	}
	return m.Setting
}

// found writes a value so that an empty or spaced text can be seen.
func found(value any) string {
	s := fmt.Sprint(value)
	if s == "" || strings.ContainsAny(s, " \t\n\"") {
		return fmt.Sprintf("%.200q", s)
	}
	return fmt.Sprintf("%.200s", s)
}

// Advise adds what the user can do about err, whole sentences on lines of their
// own. The kind of err stays: a mistake is still one, a lost connection is none.
func Advise(err error, format string, args ...any) error {
	return &advised{err, Say(format, args...)}
}

type advised struct {
	error
	remedy Note
}

func (a *advised) Error() string { return a.spell(plain) }
func (a *advised) Unwrap() error { return a.error }

func (a *advised) spell(name func(Setting) string) string {
	return Text(a.error, name) + "\n" + a.remedy.Spell(name)
}

// Text is what err says, with the settings of mistakes and remedies in it as name writes them, and errors of the
// system and of Go's library in plain words.
func Text(err error, name func(Setting) string) string {
	if s, ok := err.(interface {
		spell(func(Setting) string) string
	}); ok {
		return s.spell(name)
	}
	if text, ok := plainWords(err); ok {
		return text
	}
	text := err.Error()
	for _, cause := range causes(err) {
		if was, is := cause.Error(), Text(cause, name); was != is {
			text = strings.Replace(text, was, is, 1)
		}
	}
	return text
}

// causes are the errors that err wraps.
func causes(err error) []error {
	switch err := err.(type) {
	case interface{ Unwrap() []error }:
		return err.Unwrap()
	case interface{ Unwrap() error }:
		if cause := err.Unwrap(); cause != nil {
			return []error{cause}
		}
	}
	return nil
}

func plain(s Setting) string { return string(s) }
