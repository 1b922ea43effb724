// Command _generate writes the arm64 assembly of package cpu. Go's assembler
// lacks most of the vector instructions of arm64, so the kernels are written
// here, in *.neon, with those in the architecture's own notation, and each of
// them goes to the .s file as a WORD with that notation beside it.
//
// In *.neon a line that begins with a lower-case word is such an instruction,
// "macro NAME parameters" to "end" defines a piece of text in which {parameter}
// stands for the argument, and a line that begins with NAME puts it in. A macro
// and the comment above it stay out of the .s file. All else is left as it is.
// Every file may use the macros of macros.neon.
//
//	go run ./compute/cpu/_generate -out compute/cpu
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	in := flag.String("in", "compute/cpu/_generate", "folder of the *.neon files")
	out := flag.String("out", "compute/cpu", "folder to write to")
	flag.Parse()
	if err := generate(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate(in, out string) error {
	files, err := filepath.Glob(filepath.Join(in, "*.neon"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no *.neon files in %s (%v)", in, err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".neon")
		if name == "macros" {
			continue
		}
		a := &assembly{macros: map[string]macro{}}
		if err := a.file(filepath.Join(in, "macros.neon")); err != nil {
			return err
		}
		a.text.Reset() // what macros.neon says about itself
		fmt.Fprintf(&a.text, "// Generated from _generate/%s.neon by go run ./compute/cpu/_generate; DO NOT EDIT.\n\n", name)
		fmt.Fprint(&a.text, "//go:build !purego\n\n#include \"textflag.h\"\n")
		if err := a.file(path); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name+"_arm64.s"), []byte(a.text.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

type macro struct {
	parameters, lines []string
}

// assembly is one file being written.
type assembly struct {
	macros map[string]macro
	text   strings.Builder
}

func (a *assembly) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var comment []string // lines not written yet: they may describe a macro
	open := ""           // the macro being defined
	scan := bufio.NewScanner(f)
	for n := 1; scan.Scan(); n++ {
		line := scan.Text()
		words := strings.Fields(line)
		switch {
		case len(words) > 1 && words[0] == "macro":
			open, comment = words[1], nil
			a.macros[open] = macro{parameters: words[2:]}
		case open != "" && line == "end":
			open = ""
		case open != "":
			m := a.macros[open]
			m.lines = append(m.lines, line)
			a.macros[open] = m
		case strings.HasPrefix(line, "//"):
			comment = append(comment, line)
		default:
			for _, l := range comment {
				fmt.Fprintln(&a.text, l)
			}
			comment = nil
			if line == "" && strings.HasSuffix(a.text.String(), "\n\n") {
				continue // a macro stood between two empty lines
			}
			if err := a.line(line); err != nil {
				return fmt.Errorf("%s:%d: %w", path, n, err)
			}
		}
	}
	return scan.Err()
}

func (a *assembly) line(line string) error {
	code, comment, _ := strings.Cut(line, "//")
	words := strings.Fields(code)
	if len(words) == 0 || strings.HasSuffix(words[0], ":") {
		fmt.Fprintln(&a.text, line)
		return nil
	}
	if m, ok := a.macros[words[0]]; ok {
		if len(words)-1 != len(m.parameters) {
			return fmt.Errorf("%s takes %d arguments, not %d", words[0], len(m.parameters), len(words)-1)
		}
		var pairs []string
		for i, p := range m.parameters {
			pairs = append(pairs, "{"+p+"}", words[i+1])
		}
		r := strings.NewReplacer(pairs...)
		for _, l := range m.lines {
			if err := a.line(r.Replace(l)); err != nil {
				return fmt.Errorf("%s: %w", words[0], err)
			}
		}
		return nil
	}
	if c := words[0][0]; c < 'a' || c > 'z' {
		fmt.Fprintln(&a.text, line)
		return nil
	}
	text := strings.Join(words, " ")
	w, err := encode(text)
	if err != nil {
		return err
	}
	if comment != "" {
		text += " //" + comment
	}
	fmt.Fprintf(&a.text, "\tWORD $0x%08x // %s\n", w, text)
	return nil
}
