package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestPlainWords: errors of the library are told without the words of programmers, wherever they are wrapped, and stay of
// their kind.
func TestPlainWords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	none, file := filepath.Join(dir, "none"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fails := func(_ any, err error) error {
		if err == nil {
			t.Fatal("this should fail")
		}
		return err
	}
	decode := func(text string) error {
		var v struct {
			Rank int
			Keys *[]string
			Deep struct {
				Scale float64
				Name  string
				On    bool
			}
		}
		return fails(nil, json.Unmarshal([]byte(text), &v))
	}
	for want, err := range map[string]error{
		none + ": there is no such file or folder":               fails(os.Open(none)),
		none + "/x: there is no such file or folder":             fails(nil, os.Mkdir(none+"/x", 0o700)),
		file + "/x: a part of this path is a file, not a folder": fails(os.Stat(file + "/x")),
		dir + ": this is a folder, expected a file":              fails(os.ReadFile(dir)),
		none + "2: there is no such file or folder":              fails(nil, os.Rename(none, none+"2")),
		`"x" is no number that can be taken here`:                fails(strconv.Atoi("x")),
		"expected an object, found a list":                       decode("[]"),
		"Rank: expected a whole number, found a text":            decode(`{"rank": "many"}`),
		"Rank: expected a whole number, found the number 1.5":    decode(`{"rank": 1.5}`),
		"Keys: expected a list, found an object":                 decode(`{"keys": {}}`),
		"Deep.Scale: expected a number, found true or false":     decode(`{"deep": {"scale": true}}`),
		"it ends too early":                                      io.ErrUnexpectedEOF,
		"Deep.Name: expected a text, found a number":             decode(`{"deep": {"name": 1}}`),
		"a reason of its own":                                    errors.New("a reason of its own"),
	} {
		for _, wrapped := range []error{err, Mark(err), At("model", "%w", err), fmt.Errorf("x: %w", Advise(err, "Do something."))} {
			prefix, suffix := "", ""
			switch wrapped.(type) {
			case *Mistake:
				if SettingOf(wrapped) != "" {
					prefix = "--model: "
				}
			case interface{ Unwrap() error }:
				if wrapped != err {
					prefix, suffix = "x: ", "\nDo something."
				}
			}
			if got := Text(wrapped, func(s Setting) string { return "--" + string(s) }); got != prefix+want+suffix {
				t.Errorf("%q, want %q", got, prefix+want+suffix)
			}
			if !errors.Is(wrapped, err) || errors.Is(err, fs.ErrNotExist) != errors.Is(wrapped, fs.ErrNotExist) {
				t.Errorf("%v is another kind of error now", wrapped)
			}
		}
	}
}
