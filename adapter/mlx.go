package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/weights"
)

// mlx-lm's layout: NAME.lora_a is A [in, rank] and NAME.lora_b is B [rank, out]; of
// experts Aᵀ [experts, rank, in] and Bᵀ [experts, out, rank]. NAME.m is a magnitude.

// Names of an adapter folder's files, as mlx-lm reads them.
const (
	File       = "adapters.safetensors"
	ConfigFile = "adapter_config.json"
)

// mlxConfig is the part of adapter_config.json that loading needs.
type mlxConfig struct {
	FineTuneType string `json:"fine_tune_type"`
	Model        string `json:"model"`
	NumLayers    int    `json:"num_layers"`
	LoRA         *struct {
		Rank    int      `json:"rank"`
		Scale   float32  `json:"scale"`
		Dropout float32  `json:"dropout"`
		Keys    []string `json:"keys"`
	} `json:"lora_parameters"`
}

func (c mlxConfig) dora() bool { return c.FineTuneType == "dora" }

// config is what lora_parameters and num_layers say.
func (c mlxConfig) config() Config {
	return Config{Rank: c.LoRA.Rank, Scale: c.LoRA.Scale, Dropout: c.LoRA.Dropout, Keys: c.LoRA.Keys, NumLayers: c.NumLayers, DoRA: c.dora()}
}

// readConfig reads dir/adapter_config.json.
func readConfig(dir string) (mlxConfig, error) {
	path := filepath.Join(dir, ConfigFile)
	c := mlxConfig{FineTuneType: "lora"}
	data, err := weights.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return c, fault.At("adapter_path", "%s is not there: %s is not an adapter folder", ConfigFile, dir).Try("Give the folder that training wrote.")
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, jsonpos.Error(path, data, err)
	}
	switch {
	case c.FineTuneType == "full":
	case c.FineTuneType != "lora" && !c.dora():
		return c, fmt.Errorf("%s: fine_tune_type %q is not supported; known are lora, dora, full", path, c.FineTuneType)
	case c.LoRA == nil:
		return c, fmt.Errorf("%s: lora_parameters is missing; expected rank, scale and dropout", path)
	}
	return c, nil
}

func readMLX(dir string) (*Adapter, error) {
	c, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	if c.FineTuneType == "full" {
		return nil, fmt.Errorf("%s: fine_tune_type is %q: these are whole weights, not a LoRA; fuse them into the model instead", filepath.Join(dir, ConfigFile), c.FineTuneType)
	}
	path := filepath.Join(dir, File)
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := newPairs(path, c.dora())
	for _, name := range file.Names() {
		x, _ := file.Tensor(name)
		module, is := split(name, ".lora_a", ".lora_b", ".m")
		if err := p.put(module, is, x, false); err != nil {
			return nil, err
		}
	}
	a := &Adapter{Layout: "mlx-lm", Dropout: c.LoRA.Dropout, Base: c.Model}
	return a, p.into(a, func(string, int) float32 { return c.LoRA.Scale })
}

// WriteMLX writes the adapter into a folder as mlx-lm reads it. A folder that holds an
// adapter is left alone, unless Overwrite is set.
func (a *Adapter) WriteMLX(dir string) error {
	if err := a.ready(); err != nil {
		return err
	}
	if a.partial {
		return fault.At("model", "the adapter changes some experts only, and mlx-lm's files have all").Try("Name the base model too.")
	}
	if err := a.mayWrite(dir); err != nil {
		return err
	}
	return a.writeMLX(dir)
}

// writeMLX is WriteMLX over what there is.
func (a *Adapter) writeMLX(dir string) error {
	rank, scale := a.Uniform()
	var keys []string
	var tensors []weights.Tensor
	for _, u := range a.Updates {
		keys = append(keys, u.Module)
		if u.Experts > 0 {
			down, up := u.transposed()
			tensors = append(tensors, weights.FloatTensor(u.Module+".lora_a", down, u.Experts, rank, u.In), weights.FloatTensor(u.Module+".lora_b", up, u.Experts, u.Out, rank))
			continue
		}
		tensors = append(tensors, weights.FloatTensor(u.Module+".lora_a", u.A, u.In, rank), weights.FloatTensor(u.Module+".lora_b", u.B, rank, u.Out))
		if u.Magnitude != nil {
			tensors = append(tensors, weights.FloatTensor(u.Module+".m", u.Magnitude, u.Out))
		}
	}
	return a.writeFolder(dir, File, tensors, nil, map[string]any{
		"fine_tune_type": strings.ToLower(a.Kind()), "model": a.Base, "num_layers": -1,
		// mlx-lm looks for keys that are whole paths in the whole model.
		"lora_parameters": map[string]any{"rank": rank, "scale": scale, "dropout": a.Dropout, "keys": keys},
	})
}

// mayWrite refuses a folder that holds an adapter. One that a killed command was about to write is its own.
func (a *Adapter) mayWrite(dir string) error {
	if a.Overwrite {
		return nil
	}
	completed, err := atomicfile.Settle(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || completed:
		return nil
	case err != nil:
		return err
	}
	for _, there := range []string{File, PEFTFile, ConfigFile} {
		if _, err := os.Lstat(filepath.Join(dir, there)); !errors.Is(err, fs.ErrNotExist) {
			return fault.Given("save_path", dir, "this holds %s already", there).
				Try("Give another folder, or %v to replace the adapter in it.", fault.Setting("overwrite"))
		}
	}
	return nil
}

// writeFolder writes the adapter's file and adapter_config.json together. With Overwrite, weights in another layout go.
func (a *Adapter) writeFolder(dir, name string, tensors []weights.Tensor, metadata map[string]string, config map[string]any) error {
	return writeFolder(dir, config, func(set *atomicfile.Set) error {
		if a.Overwrite {
			set.Remove(File, PEFTFile)
		}
		return weights.WriteSafetensors(filepath.Join(set.Dir(), name), tensors, metadata)
	})
}

// writeFolder writes what fill puts into a set, and adapter_config.json, together.
func writeFolder(dir string, config map[string]any, fill func(set *atomicfile.Set) error) error {
	text, err := json.MarshalIndent(config, "", "    ")
	if err != nil {
		return err
	}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return err
	}
	defer set.Discard()
	if err := fill(set); err != nil {
		return err
	}
	if err := set.Write(ConfigFile, append(text, '\n')); err != nil {
		return err
	}
	return set.Commit()
}
