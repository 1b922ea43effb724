package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// Find gives the folder or file of a model: name itself if it is there, else
// that of the repository of this name, whose files that fit the patterns are
// downloaded if need be (hub.ModelPatterns, hub.TokenizerPatterns).
func Find(ctx context.Context, name string, patterns []string, o Options) (path string, err error) {
	return find(ctx, "model", name, patterns, o)
}

// Check reports a device that is not here and threads that the processor does not have, before there is a model.
func (o Options) Check() error {
	if err := machine.CheckThreads(o.Threads); err != nil {
		return err
	}
	return all.Check(o.Device)
}

func find(ctx context.Context, setting fault.Setting, name string, patterns []string, o Options) (path string, err error) {
	if err := o.Check(); err != nil { // the device would say so, after a download
		return "", err
	}
	if name == "" {
		return "", fault.Missing(setting).Try("Give the folder of a model, a .gguf file, or a repository ORG/NAME.")
	}
	info, err := os.Stat(name)
	switch {
	case err == nil:
		return name, isModel(setting, name, info)
	case hub.LooksLikeRepo(name):
		return download(ctx, setting, name, patterns, o)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fault.At(setting, "%w", err)
	}
	return "", fault.Given(setting, name, "there is no such folder or file").Try(whatModelsAre)
}

const whatModelsAre = "Give a folder with config.json, tokenizer.json and .safetensors files, a .gguf file, or a repository ORG/NAME."

// isModel refuses files and folders that are seen not to be a model before they are read.
func isModel(setting fault.Setting, path string, info fs.FileInfo) error {
	if !info.IsDir() {
		if magic := make([]byte, 4); info.Mode().IsRegular() && readStart(path, magic) == nil && string(magic) != "GGUF" {
			return fault.Given(setting, path, "this is a file, and not a GGUF file").Try(whatModelsAre)
		}
		return nil
	}
	for _, name := range []string{"config.json", "tokenizer.json"} {
		if _, err := os.Stat(filepath.Join(path, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	mistake := fault.Given(setting, path, "there is no config.json in this folder")
	if files, _ := filepath.Glob(filepath.Join(path, "*.gguf")); len(files) > 0 {
		return mistake.Try("Give the file itself: %v %s", setting, files[0])
	}
	return mistake.Try(whatModelsAre)
}

// readStart fills start with the first bytes of a file. A file with fewer ends in zeros.
func readStart(path string, start []byte) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err = io.ReadFull(file, start); err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return err
}

// download brings the files of a repository onto the disk, those that are not there yet.
func download(ctx context.Context, setting fault.Setting, name string, patterns []string, o Options) (path string, err error) {
	config, err := hub.FromEnv()
	if err != nil {
		return "", fault.Mark(err)
	}
	config.Notice = o.Warn
	client, err := hub.New(config)
	if err != nil {
		return "", err
	}
	options, end := hub.Options{Include: patterns}, func() {}
	if o.Download != nil && !config.Quiet {
		options.Progress, end = o.Download(name)
	}
	snap, err := client.Resolve(ctx, name, options)
	end()
	if err != nil {
		const text = "no folder or file here, and as a repository: %w"
		if err = hub.Mark(err); errors.As(err, new(*fault.Mistake)) {
			return "", fault.Given(setting, name, text, err)
		}
		if errors.Is(err, hub.ErrNotCached) {
			err = fault.Advise(err, "Or give %v a model that is on this machine.", setting)
		}
		return "", fmt.Errorf("%s: "+text, name, err)
	}
	if text := snap.Warning(); text != "" && o.Warn != nil {
		o.Warn(text)
	}
	return snap.Path, nil
}

// Files are the tokenizer and the weights of a model that is not loaded, for work that runs nothing.
type Files struct {
	Tokenizer *tokenizer.Tokenizer
	Source    weights.Source

	template func() (*chat.Renderer, error)
}

// OpenFiles finds a model by name and opens its files.
func OpenFiles(ctx context.Context, name string, o Options) (*Files, error) {
	path, err := Find(ctx, name, hub.ModelPatterns, o)
	if err != nil {
		return nil, err
	}
	files, err := openFiles("model", path)
	if err != nil || !o.MLX {
		return files, err
	}
	src, err := model.AsMLX(files.Source)
	if err != nil {
		files.Close()
		return nil, fault.At("model", "%w", err)
	}
	files.Source = src
	return files, nil
}

func openFiles(setting fault.Setting, path string) (*Files, error) {
	tok, err := loadTokenizer(path)
	if err != nil {
		return nil, fault.At(setting, "%w", err)
	}
	src, err := weights.Open(path)
	if err != nil {
		return nil, fault.At(setting, "%w", err)
	}
	return &Files{Tokenizer: tok, Source: src, template: sync.OnceValues(func() (*chat.Renderer, error) { return template(tok) })}, nil
}

// Close unmaps the weights.
func (f *Files) Close() { f.Source.Close() } // read only: nothing can be lost

// OpenTokenizer finds a model by name and loads its tokenizer alone.
func OpenTokenizer(ctx context.Context, name string, o Options) (*tokenizer.Tokenizer, error) {
	path, err := Find(ctx, name, hub.TokenizerPatterns, o)
	if err != nil {
		return nil, err
	}
	tok, err := loadTokenizer(path)
	if err != nil {
		return nil, fault.At("model", "%w", err)
	}
	return tok, nil
}

// loadTokenizer reads the tokenizer of a model's folder or GGUF file.
func loadTokenizer(path string) (*tokenizer.Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return tokenizer.Load(path)
	}
	file, err := weights.OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	tok, err := tokenizer.FromGGUF(file.Metadata())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tok, nil
}
