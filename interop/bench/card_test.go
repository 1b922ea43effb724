package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCard: the rows of a GPU are there where one is asked for, with PEFT's figures by kind and length.
func TestCard(t *testing.T) {
	h := &harness{root: t.TempDir(), work: t.TempDir(), log: io.Discard, limit: time.Minute, shapes: map[string]bool{"ministral-8b": true}, seen: map[string]measured{}}
	if list := h.card(); list != nil {
		t.Errorf("%d rows without a GPU", len(list))
	}
	h.device = "cuda"
	list := h.card()
	if len(list) != 9 || !strings.Contains(list[2].name, "on cuda, ministral-8b, batch 4 x 2048, last 16 layers") {
		t.Fatalf("%d rows, the third is %q", len(list), list[2].name)
	}
	folder := filepath.Join(h.work, "ministral-8b")
	if err := errors.Join(os.Mkdir(folder, 0o777), os.WriteFile(filepath.Join(folder, "config.json"), nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	side := func(row int, name string) (float64, error) {
		for _, s := range list[row].sides {
			if s.name == name {
				return s.run(t.Context())
			}
		}
		t.Fatalf("%s has no side %s", list[row].name, name)
		return 0, nil
	}
	if _, err := side(2, "PEFT NF4"); err != errAbsent {
		t.Errorf("without PEFT: %v", err)
	}
	h.cardPython = filepath.Join(h.work, "python")
	script := "#!/bin/sh\necho '{\"NF4 2048 train_tps\": 7, \"NF4 2048 peak_bytes\": 9}'\n"
	if err := os.WriteFile(h.cardPython, []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	for row, want := range map[int]float64{2: 7, 3: 9} {
		if got, err := side(row, "PEFT NF4"); got != want || err != nil {
			t.Errorf("%s: %g, %v, want %g", list[row].name, got, err, want)
		}
	}
	if _, err := side(2, "PEFT bf16"); err == nil {
		t.Error("a figure that PEFT did not give")
	}
	if got, err := side(3, "Unsloth (measured before)"); got != 33.5*(1<<30) || err != nil {
		t.Errorf("Unsloth: %g, %v", got, err)
	}
}

// TestBuilt: a program that LENTIL_BIN names is taken as it is, and the report tells the GPU that it sees.
func TestBuilt(t *testing.T) {
	built := t.TempDir()
	t.Setenv("LENTIL_BIN", built)
	h := &harness{log: io.Discard, limit: time.Minute, device: "cuda"}
	if err := h.open(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "LENTIL_BIN") {
		t.Errorf("a folder without the program: %v", err)
	}
	script := "#!/bin/sh\necho 'device       mlx, none'\necho 'device       cuda:0 (Test, sm_90a)'\n"
	if err := os.WriteFile(filepath.Join(built, "lentil"), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := h.open(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if facts := h.facts(t.Context()); !slices.Contains(facts, fact{"GPU", "cuda:0 (Test, sm_90a)"}) {
		t.Errorf("no GPU among %v", facts)
	}
}
