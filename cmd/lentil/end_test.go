//go:build unix

package main

import (
	"bufio"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/atomicfile/killtest"
	"github.com/lentil-lm/lentil/internal/cli"
	"github.com/lentil-lm/lentil/run"
)

// asProgram has the test binary be the program.
const asProgram = "LENTIL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	// Tests run under nohup would have the programs that they start ignore a closed terminal, too: what is
	// ignored is inherited, what is heard is not.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(m.Run())
}

// lentil is the program with a command line.
func lentil(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// training is a command that trains for much longer than the test takes, and its adapter's folder.
func training(t *testing.T, iters string) (args []string, adapter string) {
	t.Helper()
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	adapter = filepath.Join(dir, "adapter")
	return []string{"lora", "--train", "--model", filepath.Join(dir, "model"), "--data", filepath.Join(dir, "data"), "--adapter-path", adapter,
		"--iters", iters, "--batch-size", "1", "--num-layers", "1", "--val-batches", "0", "--steps-per-report", "1", "--save-every", "1000000", "--threads", "1"}, adapter
}

// TestEnds: a training whose terminal is closed, or whose output nobody reads any more, ends saved.
func TestEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(cmd *exec.Cmd, out *os.File){
		"hangup": func(cmd *exec.Cmd, _ *os.File) {
			cmd.Process.Signal(syscall.SIGHUP) // as terminals and shells do, both of them
			cmd.Process.Signal(syscall.SIGHUP)
		},
		"closed pipe": func(_ *exec.Cmd, out *os.File) { out.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args, adapter := training(t, "1000000")
			cmd := lentil(t, args...)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cmd.Stdout, cmd.Stderr = w, w
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			var said strings.Builder
			for lines := bufio.NewScanner(r); lines.Scan(); {
				if said.WriteString(lines.Text() + "\n"); strings.HasPrefix(lines.Text(), "Iter 3:") {
					end(cmd, r)
					break
				}
			}
			go func() { // so that it does not wait for a reader
				for _, err := r.Read(make([]byte, 4096)); err == nil; {
					_, err = r.Read(make([]byte, 4096))
				}
			}()
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != cli.ExitInterrupted {
				t.Fatalf("ended with %v after\n%s", err, said.String())
			}
			saved, _ := filepath.Glob(filepath.Join(adapter, "0*_adapters.safetensors"))
			if len(saved) != 1 || filepath.Base(saved[0]) < "0000003" {
				t.Errorf("saved %v", saved)
			}
			records, err := run.ReadLog(filepath.Join(adapter, run.LogName))
			if err != nil || !slices.ContainsFunc(records, func(r run.Record) bool {
				end, ok := r.Event.(run.End)
				return ok && end.Outcome == run.Interrupted
			}) {
				t.Errorf("the log tells of no end: %v", err)
			}
		})
	}
}

// TestKilled kills fuse at random moments while it replaces a model, with a GGUF file and a Modelfile. What is there is
// always the old model or the new one, and a last fuse leaves nothing else.
func TestKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("short: dozens of fusions are killed; package export kills one at every disk call")
	}
	args, adapter := training(t, "1")
	must(t, lentil(t, args...))
	out := filepath.Join(t.TempDir(), "fused")
	fuse := []string{"fuse", "--model", args[3], "--adapter-path", adapter, "--save-path", out, "--export-gguf", "--ollama", "--threads", "1"}
	kinds := [][]string{append(fuse[:len(fuse):len(fuse)], "--gguf-type", "Q8_0"), append(fuse[:len(fuse):len(fuse)], "--dequantize", "--gguf-type", "F16")}
	var whole []map[string]string
	var longest time.Duration
	for _, args := range kinds {
		began := time.Now()
		must(t, lentil(t, args...))
		longest = max(longest, time.Since(began))
		files, _ := killtest.Lie(t, out)
		whole = append(whole, files)
	}
	killed := 0
	for i := range 30 {
		cmd := lentil(t, kinds[i%2]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(rand.N(longest), func() { cmd.Process.Kill() })
		if cmd.Wait() != nil {
			killed++
		}
		if _, err := atomicfile.Settle(out); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		files, _ := killtest.Lie(t, out)
		if !slices.ContainsFunc(whole, func(w map[string]string) bool { return maps.Equal(w, files) }) {
			t.Fatalf("after kill %d: %v", i, slices.Sorted(maps.Keys(files)))
		}
	}
	if killed < 5 {
		t.Errorf("only %d of 30 were killed on the way", killed)
	}
	must(t, lentil(t, kinds[0]...))
	files, left := killtest.Lie(t, filepath.Dir(out))
	if len(files) != len(whole[0]) || len(left) > 0 {
		t.Errorf("at the end: %v, and %v is left behind", slices.Sorted(maps.Keys(files)), left)
	}
}

func must(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args[1:], err, out)
	}
}
