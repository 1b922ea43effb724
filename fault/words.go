package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"
	"syscall"
)

// inWords are the refusals of the system that users meet, as they are told.
var inWords = []struct {
	kind error
	text string
}{
	{syscall.ENOTDIR, "a part of this path is a file, not a folder"},
	{syscall.EISDIR, "this is a folder, expected a file"},
	{syscall.ENAMETOOLONG, "the name is too long"},
	{syscall.EROFS, "the disk can only be read"},
	{fs.ErrNotExist, "there is no such file or folder"},
}

// plainWords tells errors of the system and of Go's library without the words of programmers: "x.json: there is no
// such file or folder" and not "open x.json: no such file or directory". ok is false for other errors.
func plainWords(err error) (text string, ok bool) {
	switch e := err.(type) {
	case *fs.PathError:
		return e.Path + ": " + reason(e.Err), true
	case *os.LinkError:
		return e.New + ": " + reason(e.Err), true
	case syscall.Errno:
		return reason(e), true
	case *strconv.NumError:
		return fmt.Sprintf("%.100q is no number that can be taken here", e.Num), true
	case *json.UnmarshalTypeError:
		text = fmt.Sprintf("expected %s, found %s", inJSON(e.Type), foundInJSON(e.Value))
		if e.Field != "" {
			text = e.Field + ": " + text
		}
		return text, true
	}
	if err == io.ErrUnexpectedEOF {
		return "it ends too early", true
	}
	return "", false
}

func reason(err error) string {
	for _, known := range inWords {
		if errors.Is(err, known.kind) {
			return known.text
		}
	}
	return err.Error()
}

// inJSON says what a file has to have where a program keeps a value of type t.
func inJSON(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return inJSON(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "a whole number"
}

func foundInJSON(value string) string {
	switch kind, rest, _ := strings.Cut(value, " "); kind {
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "string":
		return "a text"
	case "bool":
		return "true or false"
	case "number":
		if rest != "" {
			return "the number " + rest
		}
		return "a number"
	}
	return value
}
