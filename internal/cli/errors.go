package cli

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/run/screen"
	"github.com/lentil-lm/lentil/train"
)

// Exit codes of the program.
const (
	ExitOK          = 0
	ExitFailure     = 1   // something went wrong that the user could not know
	ExitUsage       = 2   // a mistake in the command line, in a config or in the input
	ExitInterrupted = 130 // Ctrl-C, after everything was saved
)

// flagName writes a setting as the command line has it. What only a config file knows keeps its name there.
func flagName(s fault.Setting) string {
	key, member, _ := strings.Cut(string(s), ".")
	switch {
	case key == keyLoRA && slices.Contains(loraFlags, member):
		s = fault.Setting(member)
	case slices.Contains(configOnly, key):
		return string(s)
	}
	return "--" + strings.ReplaceAll(string(s), "_", "-")
}

// A speller hands events on with their settings written as flags.
type speller struct{ screen.Display }

func (s speller) Report(e run.Event) {
	spell := func(n fault.Note) fault.Note { return fault.Say("%s", n.Spell(flagName)) }
	switch event := e.(type) {
	case run.Message:
		e = run.Message{Text: spell(event.Text)}
	case run.Warning:
		e = run.Warning{Text: spell(event.Text)}
	case run.Plan:
		event.Remedies = slices.Clone(event.Remedies)
		for i, r := range event.Remedies {
			event.Remedies[i] = spell(r)
		}
		e = event
	}
	s.Display.Report(e)
}

// exitCode sorts an error into the exit codes.
func exitCode(err error) int {
	var m *fault.Mistake
	var held *run.LockedError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, context.Canceled), errors.Is(err, train.ErrInterrupted):
		return ExitInterrupted
	case atomicfile.Full(err): // whoever noticed it first, and whatever it was needed for
		return ExitFailure
	case errors.As(err, &m), errors.As(err, &held), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return ExitUsage
	}
	return ExitFailure
}

// errorText is what the user sees: "lentil: message", the remedy on the lines after it.
func errorText(err error) string {
	message := strings.TrimRight(fault.Text(err, flagName), "\n")
	if errors.Is(err, context.Canceled) {
		message = "interrupted"
	}
	if atomicfile.Full(err) {
		message += "\nThe disk is full: make room and run the command again."
	}
	var held *run.LockedError
	if errors.As(err, &held) {
		message += "\nWait for it to end, or give this run its own folder with --adapter-path."
	}
	return "lentil: " + message + "\n"
}
