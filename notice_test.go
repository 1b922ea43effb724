package lentil_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestNotice: NOTICE names every module that go.mod does.
func TestNotice(t *testing.T) {
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	modules := regexp.MustCompile(`(?m)^(?:require)?\s+(\S+) v\d`).FindAllSubmatch(mod, -1)
	if len(modules) < 10 {
		t.Fatalf("%d modules in go.mod", len(modules))
	}
	for _, m := range modules {
		path := regexp.MustCompile(`/v\d+$`).ReplaceAllString(string(m[1]), "")
		if !strings.Contains(string(notice), path) {
			t.Errorf("NOTICE does not name %s, which go.mod does: add it with its license and copyright", path)
		}
	}
}
