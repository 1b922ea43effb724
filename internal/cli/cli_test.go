package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// lentil runs a command line and gives its exit code and what it printed.
func lentil(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = Main(t.Context(), args, Streams{In: strings.NewReader(stdin), Out: &out, Err: &errOut})
	return code, out.String(), errOut.String()
}

// shared finds test data beside the project, or skips the test.
func shared(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs %s beside the project", filepath.Join("shared", name))
	}
	return path
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVersion(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^lentil \d+\.\d+\.\d+\S*\ngo1\.\d+\S* \w+/\w+\n$`)
	code, out, errOut := lentil(t, "", "version")
	if code != 0 || !form.MatchString(out) || errOut != "" {
		t.Errorf("version: %d %q %q", code, out, errOut)
	}
	code, out, _ = lentil(t, "", "--version")
	if code != 0 || out != Version()+"\n" {
		t.Errorf("--version: %d %q", code, out)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, c := range commands(Streams{}) {
		for _, args := range [][]string{{c.Name(), "--help"}, {c.Name(), "-h"}, {"help", c.Name()}} {
			code, out, errOut := lentil(t, "", args...)
			for _, want := range []string{"Usage:\n  lentil " + c.Name(), "Examples:\n", "Exit status:"} {
				if code != 0 || errOut != "" || !strings.Contains(out, want) {
					t.Errorf("%v: %d, %q lacks %q (stderr %q)", args, code, out, want, errOut)
				}
			}
		}
	}
	// Lines are broken where they are full, not also where the source breaks them.
	if _, out, _ := lentil(t, "", "lora", "--help"); !strings.Contains(out, "reading of config.json, so that loss") {
		t.Errorf("the lines of --compat are broken twice:\n%s", out)
	}
	code, out, _ := lentil(t, "")
	if code != 0 || !strings.Contains(out, "Look inside:\n") || !strings.Contains(out, "lentil demo\n") {
		t.Errorf("no arguments: %d\n%s", code, out)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string // on stderr, after "lentil: "
	}{
		{[]string{"docter"}, "unknown command \"docter\"\nDid you mean: lentil doctor\n"},
		{[]string{"xyzzy"}, "unknown command \"xyzzy\"\nSee: lentil --help\n"},
		{[]string{"--frobnicate"}, "unknown flag --frobnicate\nSee: lentil --help\n"},
		{[]string{"tokenize", "--modle", "x", "text"}, "unknown flag --modle\nDid you mean: --model\n"},
		{[]string{"tokenize", "-z"}, "unknown flag -z\nSee: lentil tokenize --help\n"},
		{[]string{"tokenize", "--model"}, "--model: there is no value after it\nSee: lentil tokenize --help\n"},
		{[]string{"render", "--t", "x"}, "--t could be --template or --tools\nWrite more of it.\n"},
		{[]string{"doctor", "--threads", "many"}, "--threads many: expected a whole number\nSee: lentil doctor --help\n"},
		{[]string{"doctor", "--device", "abacus"}, "--device abacus: expected auto or one of: "},
		{[]string{"generate", "--model", "./nowhere", "--device", "cpu:7"}, "--device cpu:7: expected one that is here: "},
		{[]string{"doctor", "now"}, "lentil doctor takes no argument \"now\"\nSee: lentil doctor --help\n"},
		{[]string{"tokenize", "text"}, "--model is missing\n"},
		{[]string{"tokenize", "--model", "no/where", "text"}, "--model no/where: no folder or file here, and as a repository: no/where is not in the cache"},
		{[]string{"tokenize", "--model", "./nowhere", "text"}, "--model ./nowhere: there is no such folder or file\nGive a folder"},
		{[]string{"tokenize", "--model", ".", "a", "b"}, "expected one text, found 2\n"},
		{[]string{"render"}, "give either --model or --template\n"},
		{[]string{"render", "--template", "x"}, "give either --messages or --context\n"},
	} {
		code, _, errOut := lentil(t, "", c.args...)
		if code != ExitUsage || !strings.HasPrefix(errOut, "lentil: "+c.want) {
			t.Errorf("%v: exit %d\n got %q\nwant %q", c.args, code, errOut, "lentil: "+c.want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{fmt.Errorf("open: %w", os.ErrNotExist), 2},
		{fault.Of("x"), 2},
		{fmt.Errorf("a: %w", &run.LockedError{PID: 3}), 2},
		{fmt.Errorf("a: %w", context.Canceled), 130},
		// A full disk is no mistake in the command, wherever it was noticed.
		{fmt.Errorf("a: %w", syscall.ENOSPC), 1},
		{fault.Mark(fmt.Errorf("a: %w", syscall.ENOSPC)), 1},
		{fault.At("save_path", "b: %w", syscall.ENOSPC).Try("Choose another."), 1},
		{errors.Join(fs.ErrPermission, &fs.PathError{Op: "write", Path: "a", Err: syscall.ENOSPC}), 1},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

// TestSettingsAreFlags: what packages below say of settings reaches the user as flags.
func TestSettingsAreFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{fault.Mark(fmt.Errorf("draft: %w", fault.Value("max_kv_size", 3, "more than 4"))), "lentil: draft: --max-kv-size 3: expected more than 4\n"},
		{fault.Of("x: %w", fault.At("temp", "no").Try("Leave %v out.", fault.Setting("temp"))), "lentil: x: --temp: no\nLeave --temp out.\n"},
		{fault.Of("a").Try("Check %v and %v.", fault.Setting("lr_schedule"), fault.Setting("hf_dataset.path")), "lentil: a\nCheck lr_schedule and hf_dataset.path.\n"},
		{fault.Of("a").Try("Check %v and %v.", fault.Setting("lora_parameters"), fault.Setting("lora_parameters.keys")), "lentil: a\nCheck lora_parameters and --keys.\n"},
	} {
		if got := errorText(c.err); got != c.want || exitCode(c.err) != ExitUsage {
			t.Errorf("%d %q, want %q", exitCode(c.err), got, c.want)
		}
	}
	if code := exitCode(fault.Advise(errors.New("no answer"), "Try again.")); code != ExitFailure {
		t.Errorf("advice on a failure: exit code %d", code)
	}
	var out strings.Builder
	display := Streams{Out: &out}.display()
	display.Report(run.Message{Text: fault.Say("go on with %v 3", fault.Setting("iters"))})
	display.Report(run.Warning{Text: fault.Say("raise %v", fault.Setting("max_seq_length"))})
	plan := run.Plan{Remedies: []fault.Note{fault.Say("%v 1", fault.Setting("batch_size"))}}
	display.Report(plan)
	display.Close()
	for _, want := range []string{"go on with --iters 3\n", "Warning: raise --max-seq-length\n", "Try: --batch-size 1\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
	if plan.Remedies[0].String() != "batch_size 1" {
		t.Error("the plan was changed, not only what is shown")
	}
}

func TestMistakeKeepsRemedyAndCause(t *testing.T) {
	t.Parallel()
	err := fault.Of("a: %w", os.ErrNotExist).Try("do this")
	if got := errorText(err); got != "lentil: a: file does not exist\ndo this\n" {
		t.Errorf("got %q", got)
	}
	if !errors.Is(err, os.ErrNotExist) {
		t.Error("the cause is lost")
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		code, out, errOut := lentil(t, "", "completion", shell)
		if code != 0 || !strings.Contains(out, "lentil") || errOut != "" {
			t.Errorf("%s: %d %q", shell, code, errOut)
		}
	}
	code, out, _ := lentil(t, "", "__complete", "tok")
	if code != 0 || !strings.HasPrefix(out, "tokenize") {
		t.Errorf("__complete tok: %d %q", code, out)
	}
}
