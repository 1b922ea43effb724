package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// An engine is a model that is ready to run, with its tokenizer.
type engine struct {
	dev   compute.Device
	src   weights.Source
	model *model.Model
	tok   *tokenizer.Tokenizer
}

// openEngine loads the model of a folder, GGUF file or repository. threads 0 is one per core.
func openEngine(ctx context.Context, streams Streams, name string, threads int) (*engine, error) {
	path, err := localModel(ctx, streams, name, hub.ModelPatterns)
	if err != nil {
		return nil, err
	}
	dev, err := openDevice(threads)
	if err != nil {
		return nil, err
	}
	e, err := loadEngine(dev, path)
	if err != nil {
		all.Close(dev)
	}
	return e, err
}

// loadEngine loads the model of a folder or GGUF file onto a device.
func loadEngine(dev compute.Device, path string) (*engine, error) {
	tok, err := loadTokenizer(path)
	if err != nil {
		return nil, err
	}
	e := &engine{dev: dev, tok: tok}
	if e.src, err = weights.Open(path); err != nil {
		return nil, inputError(err)
	}
	if e.model, err = model.Load(dev, e.src); err != nil {
		e.src.Close()
		return nil, memoryOrInput(err)
	}
	return e, nil
}

// memoryOrInput marks an error that comes from the user's files as a mistake; lack of memory is none.
func memoryOrInput(err error) error {
	if err == nil || errors.Is(err, compute.ErrNoMemory) {
		return err
	}
	return inputError(err)
}

// attach puts the adapter of a folder on the model; an empty path leaves the base as it is.
func (e *engine) attach(adapterPath string) error {
	if adapterPath == "" {
		return nil
	}
	if _, err := os.Stat(adapterPath); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return usage("--adapter-path %s: there is no such folder\nTrain first: lentil train --adapter-path %s", adapterPath, adapterPath)
		}
		return usage("--adapter-path: %w", err)
	}
	return memoryOrInput(adapter.Load(e.model, adapterPath))
}

// close ends the workers and unmaps the files.
func (e *engine) close() {
	all.Close(e.dev)
	e.src.Close() // read only: nothing can be lost
}

// stopTokens gives the tokens that end an answer: those of generation_config.json, else of config.json,
// else the tokenizer's, and the extra ones, which are ids or pieces of text that are one token.
func (e *engine) stopTokens(extra []string) ([]int32, error) {
	stops := e.model.Config.EOSTokens()
	if text, err := weights.ReadFile(filepath.Join(e.src.Path(), "generation_config.json")); err == nil {
		var config struct {
			EOS json.RawMessage `json:"eos_token_id"`
		}
		// mlx-lm ignores a generation config that is not valid JSON, and so does this.
		if json.Unmarshal(text, &config) == nil {
			if ids := model.TokenIDs(config.EOS); len(ids) > 0 {
				stops = ids
			}
		}
	}
	if eos, ok := e.tok.EOS(); ok && len(stops) == 0 {
		stops = []int32{eos}
	}
	for _, text := range extra {
		id, ok := e.tok.ID(text)
		if n, err := strconv.ParseInt(text, 10, 32); !ok && err == nil && n >= 0 && int(n) < e.tok.VocabSize() {
			id, ok = int32(n), true
		}
		if !ok {
			return nil, usage("--extra-eos-token %q is no token of this model\nSee: lentil tokenize --model %s %q", text, e.src.Path(), text)
		}
		stops = append(stops, id)
	}
	return stops, nil
}

// gigabytes is n in units of 1e9 bytes, as mlx-lm prints memory.
func gigabytes(n int64) string { return fmt.Sprintf("%.3f GB", float64(n)/1e9) }
