package kernels

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSources demands that the images were made of the sources as they are.
func TestSources(t *testing.T) {
	names, err := filepath.Glob("*.cu*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	slices.Sort(names)
	h := sha256.New()
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%s %d\n", n, len(b))
		h.Write(b)
	}
	want, err := os.ReadFile("sources.sha256")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != strings.TrimSpace(string(want)) {
		t.Errorf("the kernels were compiled of other sources (%s, now %s): run compute/cuda/kernels/_generate", strings.TrimSpace(string(want)), got)
	}
}

// TestGenerated compiles the kernels again, where LENTIL_NVRTC names the folder of the compiler's packages, and demands
// what is committed, to the byte.
func TestGenerated(t *testing.T) {
	packages := os.Getenv("LENTIL_NVRTC")
	if packages == "" {
		t.Skip("NVRTC is missing: see interop/nvrtc.sh")
	}
	have, _ := filepath.Glob("*.gz")
	if len(have) == 0 {
		t.Fatal("no images")
	}
	for _, name := range have {
		kept, err := Image{Name: strings.TrimSuffix(name, ".gz")}.Data()
		if err != nil {
			t.Fatal(err)
		}
		same := false
		for try := 0; try < 3 && !same; try++ { // rarely, the compiler writes the same kernels in another way
			same = bytes.Equal(generated(t, packages, name), kept)
		}
		if !same {
			t.Errorf("%s differs from what compute/cuda/kernels/_generate writes", name)
		}
	}
}

// generated compiles an image.
func generated(t *testing.T, packages, name string) []byte {
	t.Helper()
	dir := t.TempDir()
	only := strings.TrimSuffix(name, ".gz")
	if out, err := exec.Command("go", "run", "./_generate", "-cuda", packages, "-in", ".", "-out", dir, "-only", only).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made, err := unpack(os.ReadFile(filepath.Join(dir, name)))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// TestImages unpacks what each card gets.
func TestImages(t *testing.T) {
	for capability, want := range map[int]string{75: "", 80: "sm_80 compute_80", 89: "sm_80 compute_80", 90: "sm_90a compute_80", 100: "sm_100 compute_80", 110: "compute_80", 120: "sm_120 compute_80"} {
		var names []string
		for _, i := range For(capability) {
			names = append(names, i.Name)
			data, err := i.Data()
			if err != nil {
				t.Fatal(err)
			}
			ptx := strings.HasPrefix(i.Name, "compute_")
			if text := string(data[:min(len(data), 400)]); ptx != strings.Contains(text, ".version 7.8") || ptx == strings.HasPrefix(text, "\x7fELF") {
				t.Errorf("%s begins with %.60q", i.Name, text)
			}
			if data[len(data)-1] != 0 {
				t.Errorf("%s does not end with a zero", i.Name)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("capability %d gets %q, want %q", capability, got, want)
		}
	}
}
