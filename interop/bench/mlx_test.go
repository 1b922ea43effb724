package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBesideMLXLM: the rows of MLX are there where it is asked for; both sides run on one build of it, with the same
// weights and rows, and one run of 30 steps serves two rows.
func TestBesideMLXLM(t *testing.T) {
	h := &harness{root: t.TempDir(), work: t.TempDir(), log: io.Discard, limit: time.Minute, shapes: map[string]bool{"tiny": true}, seen: map[string]measured{}, peers: map[string]string{}}
	if list := h.besideMLXLM("tiny"); list != nil {
		t.Errorf("%d rows without MLX", len(list))
	}
	if h.device = onMLX; len(h.card()) != 0 {
		t.Error("rows of a card")
	}
	if p := h.precisions(); p[0].env != nil || p[1].DType.String() != "BF16" {
		t.Errorf("on a Mac: %+v", p)
	}
	if err := os.MkdirAll(h.mlxBuild("lib"), 0o777); err != nil {
		t.Fatal(err)
	}
	list := h.besideMLXLM("tiny")
	if len(list) != 6 || list[1].name != "the last third of 30 LoRA steps, tiny in bf16 on MLX" || !list[5].lower {
		t.Fatalf("%d rows: %+v", len(list), list)
	}
	for _, folder := range []string{"tiny.mlx.bf16.BF16", "tiny.mlx.4-bits.F32"} {
		if err := os.Mkdir(filepath.Join(h.work, folder), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := list[1].sides[1].run(t.Context()); err != errAbsent {
		t.Errorf("without mlx-lm: %v", err)
	}
	// Both programs tell what they were called with, and how often.
	h.peers["mlx-lm"] = filepath.Join(h.work, "python")
	script := "#!/bin/sh\necho \"$0 $LENTIL_MLX_ROUND $LENTIL_MLXC $PYTHONPATH $*\" >>\"" + h.work + "/calls\"\necho 'Iter 20: Tokens/sec 5.0'\necho 'Iter 30: Tokens/sec 7.5'\n"
	for _, name := range []string{h.program(), h.peers["mlx-lm"]} {
		if err := os.WriteFile(name, []byte(script), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range list[1:3] {
		for _, s := range w.sides {
			if v, err := s.run(t.Context()); err != nil || !w.lower && v != 7.5 {
				t.Errorf("%s, %s: %g, %v", w.name, s.name, v, err)
			}
		}
	}
	calls, err := os.ReadFile(filepath.Join(h.work, "calls"))
	if lines := strings.Split(strings.TrimSpace(string(calls)), "\n"); err != nil || len(lines) != 2 ||
		!strings.Contains(lines[0], "lentil 1 "+h.mlxBuild("lib", "libmlxc.so")) || !strings.Contains(lines[0], "lora --device mlx --train") ||
		!strings.Contains(lines[1], "python 1 ") || !strings.Contains(lines[1], h.mlxBuild("python")+" "+filepath.Join("interop", "peer", "bench_mlx_lora.py")+" --train") {
		t.Errorf("calls %v:\n%s", err, calls)
	}
	if err := os.WriteFile(h.program(), []byte("#!/bin/sh\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	h.round++
	if _, err := list[1].sides[0].run(t.Context()); err == nil || !strings.Contains(err.Error(), "no speed") {
		t.Errorf("without a speed: %v", err)
	}
}
