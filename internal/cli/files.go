package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lentil-lm/lentil/fault"
)

// inputError marks an error about a file of the user's as a mistake of theirs: exit code 2.
func inputError(err error) error { return fault.Mark(err) }

// jsonError puts file and line in front of an error from encoding/json.
func jsonError(path string, text []byte, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &typ):
		offset = typ.Offset
	}
	if offset < 0 || offset > int64(len(text)) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s:%d: %w", path, 1+bytes.Count(text[:offset], []byte("\n")), err)
}
