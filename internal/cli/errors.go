package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// Exit codes of the program.
const (
	ExitOK          = 0
	ExitFailure     = 1   // something went wrong that the user could not know
	ExitUsage       = 2   // a mistake in the command line, in a config or in the input
	ExitInterrupted = 130 // Ctrl-C, after everything was saved
)

// A mistake is an error that the user can put right. Remedy, if any, says how.
type mistake struct {
	message string
	remedy  string
	cause   error
}

func (m *mistake) Error() string {
	if m.remedy == "" {
		return m.message
	}
	return m.message + "\n" + m.remedy
}

func (m *mistake) Unwrap() error { return m.cause }

// usage makes an error of the user's. format may end in "\n" and a remedy.
func usage(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	message, remedy, _ := strings.Cut(err.Error(), "\n")
	return &mistake{message: message, remedy: remedy, cause: errors.Unwrap(err)}
}

// exitCode sorts an error into the exit codes.
func exitCode(err error) int {
	var m *mistake
	var held *run.LockedError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, context.Canceled), errors.Is(err, train.ErrInterrupted):
		return ExitInterrupted
	case errors.As(err, &m), errors.As(err, &held), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return ExitUsage
	}
	return ExitFailure
}

// errorText is what the user sees: "lentil: message", the remedy on the lines after it.
func errorText(err error) string {
	message := strings.TrimRight(err.Error(), "\n")
	if errors.Is(err, context.Canceled) {
		message = "interrupted"
	}
	if errors.Is(err, syscall.ENOSPC) {
		message += "\nThe disk is full: make room and run the command again."
	}
	var held *run.LockedError
	if errors.As(err, &held) {
		message += "\nWait for it to end, or give this run its own folder with --adapter-path."
	}
	return "lentil: " + message + "\n"
}
