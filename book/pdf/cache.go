package pdf

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
)

// PDFium's machine code is kept from one run to the next: making it takes seconds. It is 20 MB for each version of the modules that make it.
const (
	keptCode  = 4                  // files of one version: this program's, and its tests', on one or two kinds of processors
	codeAge   = 7 * 24 * time.Hour // without use, after which the code of another version goes
	usedMark  = "used"             // the file whose time tells when a version was used last
	usedEvery = time.Hour
)

// codeFolder is where the machine code of this program's versions of PDFium is kept; empty where there is no place for it.
func codeFolder() string {
	folder, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(folder, "lentil", "pdfium", codeVersion())
}

// codeVersion names the modules that PDFium's machine code comes from.
func codeVersion() string {
	names := []string{"pdfium"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if strings.HasSuffix(m.Path, "/go-pdfium") || strings.HasSuffix(m.Path, "/wazero") {
				names = append(names, m.Version)
			}
		}
	}
	return strings.Join(names, "-")
}

// keepCode opens a folder for machine code, and takes out of those beside it what nobody has used for long. Without a folder the code is made anew.
func keepCode(folder string) wazero.CompilationCache {
	if folder == "" {
		return nil
	}
	cache, err := wazero.NewCompilationCacheWithDir(folder)
	if err != nil {
		return nil
	}
	mark := filepath.Join(folder, usedMark)
	if info, err := os.Stat(mark); err != nil || time.Since(info.ModTime()) > usedEvery {
		if os.WriteFile(mark, nil, 0o600) == nil {
			os.Chtimes(mark, time.Time{}, time.Now())
		}
		dropCode(folder)
	}
	return cache
}

// dropCode removes the code of versions that were not used for long, and all but the newest files of this one.
func dropCode(folder string) {
	parent := filepath.Dir(folder)
	others, _ := os.ReadDir(parent)
	for _, o := range others {
		at := filepath.Join(parent, o.Name())
		if at == folder || !o.IsDir() {
			continue
		}
		info, err := os.Stat(filepath.Join(at, usedMark))
		if err != nil { // of a version that left no such file
			info, err = os.Stat(at)
		}
		if err == nil && time.Since(info.ModTime()) > codeAge {
			os.RemoveAll(at)
		}
	}
	files, _ := filepath.Glob(filepath.Join(folder, "*", "*"))
	for len(files) > 0 {
		oldest, least := 0, time.Now()
		for i, f := range files {
			if info, err := os.Stat(f); err == nil && info.ModTime().Before(least) {
				oldest, least = i, info.ModTime()
			}
		}
		stopped := strings.HasSuffix(files[oldest], ".tmp") && time.Since(least) > usedEvery // by whoever was writing it
		if len(files) <= keptCode && !stopped {
			return
		}
		os.Remove(files[oldest])
		files = append(files[:oldest], files[oldest+1:]...)
	}
}
