// Package jsonpos tells where in a file an error of encoding/json is.
package jsonpos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Error puts the file in front of an error that decoding data gave, and line and column
// where the error knows them: "config.json:3:7: invalid character '}'". nil stays nil.
func Error(path string, data []byte, err error) error {
	if err == nil {
		return nil
	}
	var offset int64 // of the byte behind the one at fault
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	default:
		return fmt.Errorf("%s: %w", path, err)
	}
	before := data[:min(max(offset-1, 0), int64(len(data)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Errorf("%s:%d:%d: %w", path, line, column, err)
}
