package jsonpos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{`{"a": x}`, "f.json:1:7: invalid character 'x'"},
		{"{\n \"a\": 1,\n \"b\": }", "f.json:3:7: invalid character '}'"},
		{"{\"a\": 1\n", "f.json:1:8: unexpected end"},
		{"", "f.json:1:1: unexpected end"},
		{"[1]", "f.json:1:1: json: cannot unmarshal array"},
		{"{\n\"a\": \"one\"\n}", "f.json:2:10: json: cannot unmarshal string"}, // the end of the value
		{"\n\n{\"a\": 1}}", "f.json:3:9: invalid character '}'"},
	} {
		var v struct{ A int }
		err := json.Unmarshal([]byte(tt.text), &v)
		got := Error("f.json", []byte(tt.text), fmt.Errorf("%w", err))
		if !strings.HasPrefix(fmt.Sprint(got), tt.want) || !errors.Is(got, err) {
			t.Errorf("%q: %v, want %s", tt.text, got, tt.want)
		}
	}
	if err := Error("f.json", nil, io.ErrUnexpectedEOF); err.Error() != "f.json: unexpected EOF" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if err := Error("f.json", []byte("x"), &json.SyntaxError{Offset: 99}); !strings.HasPrefix(err.Error(), "f.json:1:2: ") {
		t.Error(err) // of other data
	}
	if Error("f.json", nil, nil) != nil {
		t.Error("an error out of none")
	}
}
