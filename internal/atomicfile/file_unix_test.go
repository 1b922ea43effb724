//go:build unix

package atomicfile

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childVariable has the test program do a job of TestProcesses.
const childVariable = "LENTIL_ATOMICFILE_CHILD"

func TestMain(m *testing.M) {
	if job, path, ok := strings.Cut(os.Getenv(childVariable), ":"); ok {
		go endWithParent()
		if err := child(job, path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// endWithParent ends a child whose parent is gone and cannot kill it: the pipe of its input is closed then.
func endWithParent() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// child does a job, and with "begin-..." stops before its end until it is killed.
func child(job, path string) error {
	switch job {
	case "begin-file":
		f, err := Options{}.Create(path)
		if err != nil {
			return err
		}
		if _, err := f.Write([]byte("half")); err != nil {
			return err
		}
	case "begin-set":
		s, err := Begin(path)
		if err != nil {
			return err
		}
		if err := Write(filepath.Join(s.Dir(), "half"), nil); err != nil {
			return err
		}
	case "sets":
		fmt.Println("begun")
		for i := 0; ; i++ {
			text := fmt.Sprint(os.Getpid(), i)
			if err := writeSet(path, map[string]string{"a": text, "b": text, "c/d": text, fmt.Sprint("e", i%2): text}, fmt.Sprint("e", 1-i%2)); err != nil {
				return err
			}
		}
	case "print":
		fmt.Print("before ")
		if err := Write(path, []byte("figures ")); err != nil {
			return err
		}
		fmt.Print("after")
		return nil
	}
	fmt.Println("begun")
	time.Sleep(time.Hour)
	return nil
}

func command(t *testing.T, job, path string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childVariable+"="+job+":"+path)
	if _, err := c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestProcesses: what a living process writes stays, and what a killed one left goes.
func TestProcesses(t *testing.T) {
	t.Parallel()
	for _, job := range []string{"begin-file", "begin-set"} {
		t.Run(job, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := dir
			if job == "begin-file" {
				path = filepath.Join(dir, "x")
			}
			write := func() error {
				if job == "begin-file" {
					return Write(path, []byte("whole"))
				}
				s, err := Begin(path)
				if err != nil {
					return err
				}
				if err := Write(filepath.Join(s.Dir(), "x"), []byte("whole")); err != nil {
					return err
				}
				return s.Commit()
			}
			c := command(t, job, path)
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer c.Wait()
			defer c.Process.Kill()
			if line, _ := bufio.NewReader(out).ReadString('\n'); line != "begun\n" {
				t.Fatalf("the child said %q", line)
			}
			if err := write(); err != nil {
				t.Fatal(err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 2 {
				t.Errorf("%v: the child's is gone", left)
			}
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			c.Wait()
			if err := write(); err != nil {
				t.Fatal(err)
			}
			want(t, filepath.Join(dir, "x"), "whole")
			wantOnly(t, dir, "x")
		})
	}
}

// TestProcessesKilled kills processes that write sets of the same folder all the time: what they leave is one of
// the sets, once a next process looked.
func TestProcessesKilled(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	for range rounds {
		var children []*exec.Cmd
		for range 3 {
			c := command(t, "sets", dir)
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			children = append(children, c)
			lines := bufio.NewScanner(out)
			lines.Scan()
			go func() {
				for lines.Scan() {
					t.Errorf("a child says %q", lines.Text())
				}
			}()
		}
		for _, c := range children {
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
			if err := c.Process.Kill(); err != nil {
				t.Error(err)
			}
			c.Wait()
		}
		s, err := Begin(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.Discard()
		got := state(t, dir)
		if len(got) == 0 {
			continue // killed before the first was done
		}
		if e := got["e0"] + got["e1"]; len(got) != 4 || got["a"] != got["b"] || got["a"] != got["c/d"] || got["a"] != e {
			t.Errorf("%v", got)
		}
		wantTidy(t, dir)
	}
}

// TestPipe: what is no regular file is written into.
func TestPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("linked", link); err != nil {
		t.Fatal(err)
	}
	// Each has a pipe of its own: processes that other tests start hold the reader's end of a closed one for a moment.
	for path, pipe := range map[string]string{filepath.Join(dir, "pipe"): filepath.Join(dir, "pipe"), link: filepath.Join(dir, "linked")} {
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			t.Skip(err)
		}
		got := make(chan string)
		go func() {
			f, err := os.Open(pipe)
			if err != nil {
				t.Error(err)
				close(got)
				return
			}
			text, _ := io.ReadAll(f)
			f.Close()
			got <- string(text)
		}()
		if err := Write(path, []byte("figures")); err != nil {
			t.Fatal(err)
		}
		if text := <-got; text != "figures" {
			t.Errorf("the reader of the pipe got %q", text)
		}
		if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
			t.Errorf("the pipe is %v now, %v", info, err)
		}
	}
	wantOnly(t, dir, "link", "linked", "pipe")
	if err := unix.Mkfifo(filepath.Join(dir, "other"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Begin(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(s.Dir(), "other"), "x")
	if err := s.Commit(); err == nil || !strings.Contains(err.Error(), "other is there and is no regular file") {
		t.Errorf("a set over a pipe: %v", err)
	}
}

// TestStandardOutput: /dev/stdout is this process's output, also where that is a file: neither is the
// file replaced, nor is what comes later written over.
func TestStandardOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const link = "/dev/stdout"
	if _, err := os.Lstat(link); err != nil {
		t.Skip(err)
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := command(t, "print", link)
	c.Stdout = out
	if err := c.Run(); err != nil {
		t.Error(err)
	}
	want(t, out.Name(), "before figures after")
	wantOnly(t, dir, "out")
	text, err := command(t, "print", link).Output()
	if err != nil || string(text) != "before figures after" {
		t.Errorf("%q, %v", text, err)
	}
}
