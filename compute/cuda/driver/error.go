package driver

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/fault"
)

// A Code is a status of the driver, by its number in the driver's interface.
type Code int

// Codes that something follows from.
const (
	InvalidValue   Code = 1
	OutOfMemory    Code = 2
	NoDevice       Code = 100
	InvalidDevice  Code = 101
	NoBinary       Code = 209
	UnsupportedPTX Code = 222
	Unfinished     Code = 600
	VersionClash   Code = 803
	NotReady       Code = 802
	NotSupported   Code = 801
)

// lost are codes after which the context does nothing more: the card has gone, or a kernel has failed.
var lost = []Code{46, 214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999}

// An Error is a call that failed.
type Error struct {
	Call string
	Code Code
	Name string // the driver's name of the code
}

func (e *Error) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s: error %d", e.Call, int(e.Code))
	}
	return fmt.Sprintf("%s: %s (%d)", e.Call, e.Name, int(e.Code))
}

// Is reports whether err comes from a call that failed with one of these codes.
func Is(err error, codes ...Code) bool {
	if err == nil {
		return false
	}
	var e *Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// Lost reports whether nothing can be run any more after err.
func Lost(err error) bool { return Is(err, lost...) }

// oldest is the CUDA that a driver has to know: that of memory pools and of the PTX that every card can compile.
const oldest = 12000

// tooOld is an error that a newer driver puts right.
func tooOld(err error) error {
	return fault.Of("NVIDIA driver: %w", err).Try("Install a driver of CUDA %s or later (525 or later).", VersionText(oldest))
}

// advise adds to an error of cuInit what can be done about it.
func advise(err error) error {
	switch {
	case Is(err, NoDevice):
		return fault.Of("NVIDIA driver: it finds no card: %w", err).Try("Look at nvidia-smi, and at CUDA_VISIBLE_DEVICES, which can hide cards.")
	case Is(err, VersionClash):
		return fault.Of("NVIDIA driver: its library and the kernel's module are of different versions: %w", err).Try("Restart the computer after the update of the driver.")
	case Is(err, NotReady):
		return fault.Of("NVIDIA driver: not ready: %w", err).Try("Computers with NVSwitch need the service nvidia-fabricmanager.")
	}
	return fault.Of("NVIDIA driver: it does not start: %w", err).Try("Look at nvidia-smi. In a container, the card has to be passed in.")
}
