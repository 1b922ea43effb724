package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/weights"
)

func newAdapters(streams Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "adapters",
		Short: "Look at, convert and merge LoRA and DoRA adapters",
		Long: `Adapters come in three layouts: mlx-lm's and Lentil's (adapters.safetensors), that of
Hugging Face's PEFT (adapter_model.safetensors), and llama.cpp's GGUF files. Lentil
takes each of them wherever it takes --adapter-path. GGUF files have no place for
the magnitudes of a DoRA.`,
		Example: `  lentil adapters info ./adapters
  lentil adapters convert ./adapters --to peft --save-path ./adapters-peft
  lentil adapters merge ./one ./two --weights 0.7,0.3 --save-path ./both`,
		GroupID: groupUse,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	cmd.AddCommand(newAdaptersInfo(streams), newAdaptersConvert(streams), newAdaptersMerge(streams))
	return cmd
}

// adapterInfo is what info tells of an adapter.
type adapterInfo struct {
	Path       string         `json:"path"`
	Kind       string         `json:"kind"` // LoRA or DoRA
	Layout     string         `json:"layout"`
	Base       string         `json:"base_model"`
	Rank       int            `json:"rank"`
	Scale      float32        `json:"scale"`
	Dropout    float32        `json:"dropout"`
	Parameters int            `json:"parameters"`
	Modules    map[string]int `json:"modules"` // how many of each name
}

func newAdaptersInfo(streams Streams) *cobra.Command {
	var jsonPath string
	cmd := &cobra.Command{
		Use:   "info FOLDER",
		Short: "Tell what an adapter changes",
		Args:  adapterFolders(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := readLoRA(cmd.Context(), streams, args[0], "")
			if err != nil {
				return err
			}
			info := adapterInfo{Path: args[0], Kind: f.Kind(), Layout: f.Layout, Base: f.Base, Dropout: f.Dropout, Modules: map[string]int{}}
			for _, u := range f.Updates {
				info.Parameters += len(u.A) + len(u.B) + len(u.Magnitude)
				parts := strings.Split(u.Module, ".")
				info.Modules[parts[len(parts)-1]]++
			}
			info.Rank, info.Scale = f.Common()
			printAdapter(streams.Out, info)
			return writeFigures(jsonPath, info)
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&jsonPath, "json", "", "also write this to a `file`")
	})
	return cmd
}

func printAdapter(w io.Writer, info adapterInfo) {
	fmt.Fprintf(w, "%s: %s in %s's layout, rank %d, scale %g (alpha %g), dropout %g, %.3fM parameters\n",
		info.Path, info.Kind, info.Layout, info.Rank, info.Scale, float32(info.Rank)*info.Scale, info.Dropout, float64(info.Parameters)/1e6)
	if info.Base != "" {
		fmt.Fprintf(w, "Trained on %s\n", info.Base)
	}
	names := make([]string, 0, len(info.Modules))
	for name, n := range info.Modules {
		names = append(names, fmt.Sprintf("%d %s", n, name))
	}
	slices.Sort(names)
	fmt.Fprintf(w, "Changes %s\n", strings.Join(names, ", "))
}

type adapterOutput struct {
	SavePath, To, Model string
	Overwrite           bool
}

// flags declares where and how an adapter is written.
func (o *adapterOutput) flags(f *pflag.FlagSet, to string) {
	f.StringVar(&o.SavePath, "save-path", "", "`folder` to write, or file with --to gguf (required)")
	f.BoolVar(&o.Overwrite, "overwrite", false, "replace an adapter that is at --save-path")
	f.StringVar(&o.To, "to", to, "`layout` to write: mlx, peft or gguf")
	f.StringVar(&o.Model, "model", "", "`folder`, file or repository of the base model, which adapters from and to GGUF files need, and PEFT's of some experts")
}

func (o *adapterOutput) check() error {
	switch {
	case o.SavePath == "":
		return fault.Missing("save_path").Try("Give the folder to write the adapter to.")
	case o.To == "gguf" && o.Model == "":
		return fault.Missing("model").Try("llama.cpp's adapters depend on the shape of the base model: give its folder.")
	case o.To != "mlx" && o.To != "peft" && o.To != "gguf":
		return fault.Value("to", o.To, "mlx, peft or gguf")
	}
	return nil
}

func (o *adapterOutput) write(ctx context.Context, streams Streams, f *adapter.Adapter) error {
	for _, c := range f.Copies {
		fmt.Fprintf(streams.Out, "Left out: %s, which the adapter repeats from its base.\n", c.Name)
	}
	f.Overwrite = o.Overwrite
	var err error
	switch o.To {
	case "mlx":
		err = f.WriteMLX(o.SavePath)
	case "peft":
		err = f.WritePEFT(o.SavePath)
	case "gguf":
		err = o.writeGGUF(ctx, streams, f)
	}
	if err != nil {
		return fault.Mark(err)
	}
	fmt.Fprintf(streams.Out, "Saved the adapter to %s.\n", o.SavePath)
	return nil
}

func (o *adapterOutput) writeGGUF(ctx context.Context, streams Streams, f *adapter.Adapter) error {
	path, err := engine.Find(ctx, o.Model, hub.ModelPatterns, streams.opening(0))
	if err != nil {
		return err
	}
	src, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer src.Close()
	return f.WriteGGUF(o.SavePath, src)
}

func newAdaptersConvert(streams Streams) *cobra.Command {
	var o adapterOutput
	cmd := &cobra.Command{
		Use:   "convert FOLDER",
		Short: "Write an adapter in another layout",
		Args:  adapterFolders(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			f, err := readLoRA(cmd.Context(), streams, args[0], o.Model)
			if err != nil {
				return err
			}
			return o.write(cmd.Context(), streams, f)
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) { o.flags(f, "peft") })
	return cmd
}

func newAdaptersMerge(streams Streams) *cobra.Command {
	var o adapterOutput
	var weightList string
	cmd := &cobra.Command{
		Use:   "merge FOLDER...",
		Short: "Add adapters of the same model up",
		Long: `Write one adapter whose update is the weighted sum of those of several. Its rank is
the sum of theirs, so nothing is lost. The magnitudes of a DoRA do not add up: it is refused.`,
		Args: adapterFolders(1, math.MaxInt),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			weight, err := parseWeights(weightList, len(args))
			if err != nil {
				return err
			}
			var files []*adapter.Adapter
			for _, dir := range args {
				f, err := readLoRA(cmd.Context(), streams, dir, o.Model)
				if err != nil {
					return err
				}
				files = append(files, f)
			}
			sum, err := adapter.Merge(files, weight)
			if err != nil {
				return fault.Mark(err)
			}
			return o.write(cmd.Context(), streams, sum)
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&weightList, "weights", "", "`factors` of the adapters, separated by commas; default: 1 for each")
		o.flags(f, "mlx")
	})
	return cmd
}

// parseWeights reads --weights for n adapters.
func parseWeights(list string, n int) ([]float32, error) {
	if list == "" {
		return slices.Repeat([]float32{1}, n), nil
	}
	parts := strings.Split(list, ",")
	if len(parts) != n {
		return nil, fault.At("weights", "%d numbers for %d adapters", len(parts), n)
	}
	var out []float32
	for _, p := range parts {
		w, err := strconv.ParseFloat(strings.TrimSpace(p), 32)
		if err != nil || w-w != 0 {
			return nil, fault.At("weights", "%q is not a number", p)
		}
		out = append(out, float32(w))
	}
	return out, nil
}

// readLoRA reads an adapter. What llama.cpp's files do not tell comes from the base model, if one is named.
func readLoRA(ctx context.Context, streams Streams, path, base string) (*adapter.Adapter, error) {
	f, err := adapter.Read(path)
	if err != nil {
		return nil, fault.Mark(err)
	}
	if base == "" {
		return f, nil
	}
	local, err := engine.Find(ctx, base, hub.ModelPatterns, streams.opening(0))
	if err != nil {
		return nil, err
	}
	src, err := weights.Open(local)
	if err != nil {
		return nil, fault.Mark(err)
	}
	defer src.Close()
	c, err := model.ReadConfig(src)
	if err != nil {
		return nil, fault.Mark(err)
	}
	if err := f.FitTo(c); err != nil {
		return nil, fault.Mark(fmt.Errorf("%s: %w", path, err))
	}
	return f, nil
}

// adapterFolders checks the number of folders.
func adapterFolders(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			expected := fmt.Sprintf("%d", least)
			if most > least {
				expected += " or more"
			}
			return fault.Of("found %d folders, expected %s", len(args), expected).Try("Usage: %s", cmd.UseLine())
		}
		return nil
	}
}
