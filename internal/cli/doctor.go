package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/bench"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/run"
)

// doctorFigures is what doctor finds out, and its --json writes.
type doctorFigures struct {
	Version    string            `json:"version"`
	Go         string            `json:"go"`
	System     string            `json:"system"`
	CPU        cpuFacts          `json:"cpu"`
	Memory     memoryFacts       `json:"memory"`
	Disk       diskFacts         `json:"disk"`
	ModelCache string            `json:"model_cache"`
	Terminal   bool              `json:"terminal"`
	Devices    []bench.Device    `json:"devices"`
	Ops        []bench.Placement `json:"ops,omitempty"` // where they ran on the device that was asked for
	GPUs       []string          `json:"gpus"`          // device nodes
	SelfTest   *bench.SelfTest   `json:"self_test,omitempty"`
}

type cpuFacts struct {
	Model    string   `json:"model"`
	Cores    int      `json:"cores"`
	Features []string `json:"features"`
}

type memoryFacts struct {
	Total     int64 `json:"total_bytes"`
	Available int64 `json:"available_bytes"`
}

type diskFacts struct {
	Path string `json:"path"`
	Free int64  `json:"free_bytes"`
}

func newDoctor(streams Streams) *cobra.Command {
	var jsonPath string
	var device deviceFlags
	var quick, selfTest bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine can do",
		Long: `Tell what this machine can do: processor features, memory, disk, the devices
that Lentil found, and how fast they are, measured with Lentil's own kernels.
With --device, only that one, and tiny models are trained and run on it: which ops
it has itself, and which run on the host because it lacks them.
With --self-test it takes two minutes or so: every op is compared with its definition,
20 steps of training with those of the processor, and the speed of training and of
answers is measured. What it finds is written to a file, to be sent with a report.`,
		Example: "  lentil doctor\n  lentil doctor --device cpu\n  lentil doctor --json machine.json\n  lentil doctor --self-test --device mlx",
		GroupID: groupInspect,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&jsonPath, "json", "", "also write the findings to this `file`")
		device.declare(f)
		f.BoolVar(&quick, "quick", false, "leave the measurements out")
		f.BoolVar(&selfTest, "self-test", false, "test the device that commands take, or that of --device, and write a file to send with a report")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := examine(streams)
		if selfTest {
			return c.testItself(cmd.Context(), streams, device, jsonPath)
		}
		if !cmd.Flags().Changed("device") {
			c.Devices = bench.Devices(cmd.Context(), device.Threads, quick)
		} else if err := c.try(cmd.Context(), streams, device, quick); err != nil {
			return err
		}
		for _, d := range c.Devices {
			if d.Name == "cpu" {
				c.Memory.Available = d.Memory
			}
		}
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		c.print(streams.Out)
		return writeFigures(jsonPath, c)
	}
	return cmd
}

// examine looks at everything but the devices.
func examine(streams Streams) doctorFigures {
	folder, err := os.Getwd()
	if err != nil {
		folder = "."
	}
	return doctorFigures{
		Version:    Version(),
		Go:         runtime.Version(),
		System:     runtime.GOOS + "/" + runtime.GOARCH,
		CPU:        cpuFacts{machine.Processor(), machine.Cores(), machine.Features()},
		Memory:     memoryFacts{Total: machine.TotalMemory()},
		Disk:       diskFacts{folder, machine.FreeDisk(folder)},
		ModelCache: modelCache(),
		Terminal:   streams.outIsTerminal(),
		GPUs:       machine.GPUs(),
	}
}

// try looks at one device.
func (c *doctorFigures) try(ctx context.Context, streams Streams, device deviceFlags, quick bool) error {
	d, err := bench.OneDevice(ctx, device.Device, device.Threads, quick)
	if err != nil {
		return err
	}
	c.Devices = []bench.Device{d}
	c.Ops, err = bench.Placements(ctx, device.opening(streams))
	return err
}

func (c doctorFigures) print(w io.Writer) {
	row := func(name, format string, args ...any) {
		text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n"+strings.Repeat(" ", 13)) // a remedy
		fmt.Fprintf(w, "%-12s %s\n", name, text)
	}
	orUnknown := func(n int64) string {
		if n <= 0 {
			return "unknown"
		}
		return run.Bytes(n)
	}
	row("lentil", "%s, %s, %s", c.Version, c.Go, c.System)
	row("processor", "%s, %d cores", c.CPU.Model, c.CPU.Cores)
	row("features", "%s", strings.Join(c.CPU.Features, " "))
	row("memory", "%s in all, %s available", orUnknown(c.Memory.Total), orUnknown(c.Memory.Available))
	if billions := float64(c.Memory.Available) / bytesPer4Bits / 1e9; billions >= 0.1 {
		row("room", "for the weights of a 4-bit model of %.1f billion parameters; training needs more, and tells how much first", billions)
	}
	row("disk", "%s free at %s", orUnknown(c.Disk.Free), c.Disk.Path)
	cached := "not there yet"
	if _, err := os.Stat(c.ModelCache); !errors.Is(err, os.ErrNotExist) {
		cached = fmt.Sprintf("models with weights: %d", len(cachedModels()))
	}
	row("model cache", "%s (%s)", c.ModelCache, cached)
	row("output", "%s", map[bool]string{true: "a terminal: runs show a live view", false: "not a terminal: runs print plain lines"}[c.Terminal])
	for _, d := range c.Devices {
		row("device", "%s", deviceLine(d))
	}
	if len(c.Ops) > 0 {
		row("ops", "%s", opsLine(c.Ops))
	}
	found := "none found"
	if len(c.GPUs) > 0 {
		found = strings.Join(c.GPUs, " ")
	}
	row("GPUs", "%s; --device names the device that a command works on", found)
	row("to begin", "%s demo", program())
}

// typeNames are those of types of activations in words.
var typeNames = map[string]string{"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

// bytesPer4Bits is what a weight of 4 bits takes, with its share of a 16-bit scale and bias for 64 of them.
const bytesPer4Bits = (4 + 32.0/64) / 8

// modelCache is where downloaded models are kept.
func modelCache() string {
	cfg, err := hub.FromEnv()
	if err != nil {
		return "unknown: " + err.Error()
	}
	return cfg.Cache
}

// noArguments is cobra.NoArgs with an error of ours.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fault.Of("%s takes no argument %q", cmd.CommandPath(), args[0]).Try("See: %s --help", cmd.CommandPath())
	}
	return nil
}

// opsLine tells which ops a device lacks.
func opsLine(ops []bench.Placement) string {
	var host []string
	for _, op := range ops {
		if op.Host > 0 {
			host = append(host, op.Op)
		}
	}
	if len(host) == 0 {
		return fmt.Sprintf("all %d that tiny models need run on the device", len(ops))
	}
	return fmt.Sprintf("of %d that tiny models need, the device lacks %d, which run on the host, slowly: %s", len(ops), len(host), strings.Join(host, " "))
}

// deviceLine tells of a device what is known.
func deviceLine(d bench.Device) string {
	text := d.Name
	if d.Detail != "" {
		text += " (" + d.Detail + ")"
	}
	if d.Threads > 0 {
		text += fmt.Sprintf(", %d threads", d.Threads)
	}
	if d.Memory > 0 {
		text += ", " + run.Bytes(d.Memory)
	}
	if d.GFLOPS > 0 {
		text += fmt.Sprintf(", %.1f GFLOP/s %s, %.1f GB/s", d.GFLOPS, typeNames[d.Type], d.Bandwidth)
	}
	if d.Error != "" {
		text += ", " + d.Error
	}
	return text
}
