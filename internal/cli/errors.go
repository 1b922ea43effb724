package cli

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	spell := func(n fault.Note) fault.Note { return fault.Say("%s", typed(n.Spell(flagName))) }
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

// flagError says what is wrong with a flag that could not be taken.
func flagError(cmd *cobra.Command, err error) error {
	mistake := fault.Of("%w", err)
	var bad *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &bad):
		mistake = fault.Value(settingFor(bad.GetFlag()), bad.GetValue(), kindOf(bad))
	case errors.As(err, &missing):
		mistake = fault.Of("%s: there is no value after it", flagName(settingFor(missing.GetFlag())))
	}
	return mistake.Try("See: %s --help", cmd.CommandPath())
}

// settingFor is the setting that a flag gives.
func settingFor(f *pflag.Flag) fault.Setting {
	return fault.Setting(strings.ReplaceAll(f.Name, "-", "_"))
}

// kindOf tells what values a flag takes, one of which it could not read.
func kindOf(bad *pflag.InvalidValueError) string {
	large := errors.Is(bad, strconv.ErrRange)
	switch kind := bad.GetFlag().Value.Type(); {
	case kind == "bool":
		return "true or false"
	case kind == "float64" && large:
		return "a number up to 1.8e308"
	case kind == "float64":
		return "a number, such as 0.5 or 1e-5"
	case large:
		return "a whole number up to 9223372036854775807"
	default:
		return "a whole number"
	}
}

// A usageError is a mistake made with a command.
type usageError struct {
	error
	command string
}

func (e *usageError) Unwrap() error { return e.error }

// remedy is what to do about an error that does not say so itself.
func remedy(err error) string {
	var usage *usageError
	switch {
	case atomicfile.Full(err):
		return "The disk is full: make room and run the command again."
	case errors.Is(err, fs.ErrPermission):
		return "Give another path, or ask for the right to use this one."
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return "Give another path."
	case errors.Is(err, fs.ErrNotExist):
		return "Check the path: relative ones begin at the folder that the command is run in."
	case errors.As(err, &usage) && exitCode(err) == ExitUsage:
		return "See: " + usage.command + " --help"
	}
	return ""
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
	case errors.As(err, &m), errors.As(err, &held):
		return ExitUsage
	}
	for _, wrongPath := range []error{fs.ErrNotExist, fs.ErrPermission, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG} {
		if errors.Is(err, wrongPath) {
			return ExitUsage
		}
	}
	return ExitFailure
}

// errorText is what the user sees: "lentil: message", the remedy on the lines after it.
func errorText(err error) string {
	message := strings.TrimRight(fault.Text(err, flagName), "\n")
	if errors.Is(err, context.Canceled) {
		message = "interrupted"
	}
	advised := strings.Contains(message, "\n") || strings.Contains(message, ": expected ")
	if advice := remedy(err); advice != "" && (!advised || atomicfile.Full(err)) {
		message += "\n" + advice
	}
	var held *run.LockedError
	if errors.As(err, &held) {
		message += "\nWait for it to end, or give this run its own folder with --adapter-path."
	}
	return "lentil: " + typed(message) + "\n"
}
