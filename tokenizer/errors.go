package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// placeError says where in a JSON document something is wrong.
type placeError struct {
	place string // "pre_tokenizer.pretokenizers[1].pattern"
	err   error
}

func (e *placeError) Error() string { return e.place + ": " + e.err.Error() }
func (e *placeError) Unwrap() error { return e.err }

// at puts a JSON key or index in front of the place of err; nil stays nil.
func at(place string, err error) error {
	if err == nil {
		return nil
	}
	inner, ok := err.(*placeError)
	switch {
	case !ok:
		return &placeError{place, err}
	case strings.HasPrefix(inner.place, "["):
		return &placeError{place + inner.place, inner.err}
	}
	return &placeError{place + "." + inner.place, inner.err}
}

// jsonError gives the errors of encoding/json their place.
func jsonError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		err = fmt.Errorf("found a %s, want %s", wrong.Value, wrong.Type)
		if wrong.Field != "" {
			return at(wrong.Field, err)
		}
	}
	return err
}

// unsupported reports a part of a type that this package does not have.
func unsupported(part, found, supported string) error {
	if found == "" {
		return at("type", fmt.Errorf("missing; supported %ss are %s", part, supported))
	}
	return at("type", fmt.Errorf("%s %q is not supported; supported are %s", part, clip(found), supported))
}
