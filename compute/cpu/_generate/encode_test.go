package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	enc "encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

var wordLine = regexp.MustCompile(`(?m)^\tWORD \$0x([0-9a-f]{8}) // ([^/\n]+)`)

// TestWords has the GNU assembler encode every instruction of the generated
// files and compares.
func TestWords(t *testing.T) {
	const gnu = "aarch64-linux-gnu-as"
	if _, err := exec.LookPath(gnu); err != nil {
		t.Skip(gnu + " is not installed (package binutils-aarch64-linux-gnu)")
	}
	dir := t.TempDir()
	if err := generate(".", dir); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*_arm64.s"))
	used := map[string]bool{}
	var text bytes.Buffer
	var words, lines []string
	for _, f := range files {
		s, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range wordLine.FindAllStringSubmatch(string(s), -1) {
			if !used[m[0]] {
				used[m[0]] = true
				words, lines = append(words, m[1]), append(lines, m[2])
				text.WriteString(m[2] + "\n")
			}
		}
	}
	object := filepath.Join(dir, "words.o")
	cmd := exec.Command(gnu, "-march=armv8.2-a+dotprod", "-o", object, "-")
	cmd.Stdin = &text
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", gnu, err, out)
	}
	f, err := elf.Open(object)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code, err := f.Section(".text").Data()
	if err != nil || len(code) != 4*len(words) {
		t.Fatalf("%d instructions gave %d bytes (%v)", len(words), len(code), err)
	}
	for i, w := range words {
		if want := binary.BigEndian.AppendUint32(nil, binary.LittleEndian.Uint32(code[4*i:])); enc.EncodeToString(want) != w {
			t.Errorf("%s: encoded as %s, want %s", lines[i], w, enc.EncodeToString(want))
		}
	}
	t.Logf("%d different instructions", len(words))
}

func TestBadInstructions(t *testing.T) {
	for _, s := range []string{"fadd v0.4s, v1.4s", "fadd v32.4s, v1.4s, v2.4s", "ldr q0, [x1, #8]", "ldr q0, [x1], #256", "ldp q0, q1, [x2, #1024]", "nop v1"} {
		if w, err := encode(s); err == nil {
			t.Errorf("%s passed as %08x", s, w)
		}
	}
}
