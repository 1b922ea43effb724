package mlx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
	"github.com/lentil-lm/lentil/fault"
)

// probeEnv tells a process that it is to try the library of that path for the one that started it.
const probeEnv = "LENTIL_MLX_PROBE"

// served tells that this program's processes can try a library for it.
var served bool

// Serve is called at the very begin of main. In a process that was started to try a library it does so and does not
// return; in any other one it only notes that such processes can be started.
func Serve() {
	path := os.Getenv(probeEnv)
	if path == "" {
		served = true
		return
	}
	if err := try(path, func(name string) { fmt.Println(name) }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// probePatience is how long a library may take. MLX compiles for the GPU at first.
const probePatience = time.Minute

var (
	probeMu sync.Mutex
	probed  = map[string]error{}
)

// probe tries a library once, in a process of its own where the program can: functions that take other arguments than
// they are called with end the process.
func probe(path string) error {
	probeMu.Lock()
	defer probeMu.Unlock()
	if err, ok := probed[path]; ok {
		return err
	}
	stamp := ""
	if served {
		stamp = stampOf(path)
	}
	if stamp != "" && tried(stamp) {
		probed[path] = nil
		return nil
	}
	err := probeChild(path)
	if probed[path] = err; err == nil && stamp != "" {
		remember(stamp)
	}
	return err
}

func probeChild(path string) error {
	program, err := os.Executable()
	if !served || err != nil {
		return try(path, func(string) {})
	}
	ctx, cancel := context.WithTimeout(context.Background(), probePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), probeEnv+"="+path)
	var said, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &wrong
	err = cmd.Run()
	if err == nil {
		return nil
	}
	lines := strings.Fields(said.String())
	last := "the beginning"
	if len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fault.Of("%s: a trial of MLX did not end within %v, at %s", path, probePatience, last).Try(reinstall)
	case errors.As(err, &exit) && exit.ExitCode() == 1: // it told
		return fault.Of("%s", strings.TrimSpace(wrong.String()))
	}
	return fault.Of("%s: a trial of MLX crashed at %s: the library takes other arguments than mlx-c 0.6 and 0.7 do", path, last).Try(reinstall)
}

const reinstall = "Install mlx-c and mlx anew, of versions that belong together: brew reinstall mlx mlx-c."

// try runs a small known case of each function whose arguments may change, and tells its name before.
func try(path string, begin func(name string)) error {
	lib, err := mlxc.Open(path)
	if err != nil {
		return err
	}
	lib.Do(func() { err = tryAll(lib, begin) })
	if err != nil {
		return fault.Of("%s: a trial of MLX failed: %w", path, err).Try(reinstall)
	}
	return nil
}

func tryAll(lib *mlxc.Library, begin func(name string)) error {
	begin("stream")
	gpu, err := lib.Metal()
	if err != nil {
		return err
	}
	s, err := lib.NewStream(gpu)
	if err != nil {
		return err
	}
	defer lib.FreeStream(s)
	g := lib.NewGraph(s)
	for _, c := range trials {
		begin(c.name)
		got := make([]float32, len(c.want))
		g.Read(g.As(c.build(g), mlxc.F32), compute.FloatBytes(got))
		if err := g.Close(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for i := range got {
			if d := math.Abs(float64(got[i] - c.want[i])); !(d <= trialTolerance) {
				return fmt.Errorf("%s: it gives %v, expected %v", c.name, got, c.want)
			}
		}
	}
	return nil
}

// trialTolerance is for a few float32 operations on values of about 1; GPUs may take shorter factors.
const trialTolerance = 1e-2

// A trial is a small case and its result.
type trial struct {
	name  string
	build func(g *mlxc.Graph) mlxc.Array
	want  []float32
}

var trials = []trial{
	{"matmul", func(g *mlxc.Graph) mlxc.Array {
		return g.MatMul(floats(g, []float32{1, 2, 3, 4}, 2, 2), g.Transpose(floats(g, []float32{1, 0, 1, 1}, 2, 2), 1, 0))
	}, []float32{1, 3, 3, 7}},
	{"quantized_matmul", func(g *mlxc.Graph) mlxc.Array { return g.QuantizedMatMul(ramp(g, 32), quantized(g), true) }, []float32{0.5 * 528, 1.5 * 528}},
	{"quantized_matmul_not_transposed", func(g *mlxc.Graph) mlxc.Array {
		return g.Sum(g.QuantizedMatMul(floats(g, []float32{1, 2}, 1, 2), quantized(g), false), -1, false)
	}, []float32{32 * 3.5}},
	{"dequantize", func(g *mlxc.Graph) mlxc.Array { return g.Sum(g.Dequantize(quantized(g), mlxc.F32), -1, false) }, []float32{16, 48}},
	{"rms_norm", func(g *mlxc.Graph) mlxc.Array {
		return g.RMSNorm(floats(g, []float32{1, 7}, 1, 2), floats(g, []float32{1, 2}, 2), 0)
	}, []float32{0.2, 2.8}},
	{"attention", func(g *mlxc.Graph) mlxc.Array { return g.Attention(zeroKeys(g), zeroKeys(g), values(g), 1, true, 0) }, rows(1, 1.5)},
	{"attention_mask", func(g *mlxc.Graph) mlxc.Array {
		return g.Attention(zeroKeys(g), zeroKeys(g), values(g), 1, false, g.New([]byte{1, 0, 0, 1}, mlxc.Bool, 2, 2))
	}, rows(1, 2)},
	{"slice_update", func(g *mlxc.Graph) mlxc.Array {
		return g.Update(floats(g, []float32{1, 2, 3, 4}, 2, 2), floats(g, []float32{9}, 1, 1), []int{1, 0}, []int{2, 1})
	}, []float32{1, 2, 9, 4}},
	{"slice", func(g *mlxc.Graph) mlxc.Array {
		return g.Slice(floats(g, []float32{1, 2, 3, 4, 5}, 5), []int{1}, []int{5}, []int{2})
	}, []float32{2, 4}},
	{"scatter_add", func(g *mlxc.Graph) mlxc.Array {
		return g.ScatterAdd(floats(g, []float32{1, 2}, 1, 2), g.Reshape(g.Int(1), 1, 1), floats(g, []float32{5}, 1, 1), 1)
	}, []float32{1, 7}},
	{"take", func(g *mlxc.Graph) mlxc.Array {
		x := floats(g, []float32{1, 2, 3, 4}, 2, 2)
		return g.TakeAlong(g.Take(x, g.Reshape(g.Int(1), 1), 0), g.Reshape(g.Int(0), 1, 1), 1)
	}, []float32{3}},
	{"softmax", func(g *mlxc.Graph) mlxc.Array { return g.Softmax(floats(g, []float32{7, 7, 7, 7}, 2, 2), -1) }, []float32{0.5, 0.5, 0.5, 0.5}},
	{"cumsum", func(g *mlxc.Graph) mlxc.Array { return g.CumSum(floats(g, []float32{1, 2, 4}, 1, 3), -1) }, []float32{1, 3, 7}},
	{"round", func(g *mlxc.Graph) mlxc.Array { return g.Round(floats(g, []float32{0.5, 1.5, -0.7}, 3)) }, []float32{0, 2, -1}},
	{"concatenate", func(g *mlxc.Graph) mlxc.Array {
		return g.Concatenate(0, floats(g, []float32{1}, 1), g.BroadcastTo(g.Float(2), 2), g.Zeros(mlxc.F32, 1))
	}, []float32{1, 2, 2, 0}},
	{"reductions", func(g *mlxc.Graph) mlxc.Array {
		x := floats(g, []float32{0, 0, 5}, 3)
		return g.Concatenate(0, g.LogSumExp(g.Where(g.Equal(x, g.Float(5)), g.Float(0), x), 0, true), g.As(g.ArgMax(x, 0, true), mlxc.F32))
	}, []float32{float32(math.Log(3)), 2}},
}

func floats(g *mlxc.Graph, v []float32, shape ...int) mlxc.Array {
	return g.New(compute.FloatBytes(v), mlxc.F32, shape...)
}

// ramp is 1 to n in a row.
func ramp(g *mlxc.Graph, n int) mlxc.Array {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i + 1)
	}
	return floats(g, v, 1, n)
}

// quantized is a matrix [2, 32] of 4 bits: all 1 and all 3, halved.
func quantized(g *mlxc.Graph) mlxc.Quantized {
	words := slices.Concat(slices.Repeat([]uint32{0x11111111}, 4), slices.Repeat([]uint32{0x33333333}, 4))
	data := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 4*len(words))
	return mlxc.Quantized{
		Packed: g.New(data, mlxc.U32, 2, 4), Scales: floats(g, []float32{0.5, 0.5}, 2, 1), Biases: floats(g, []float32{0, 0}, 2, 1),
		Group: 32, Bits: 4, Mode: "affine",
	}
}

// trialHead is a size of heads that GPUs have their own attention for.
const trialHead = 64

// zeroKeys are two of zeros, which give all values the same weight.
func zeroKeys(g *mlxc.Graph) mlxc.Array { return g.Zeros(mlxc.F32, 1, 1, 2, trialHead) }

// values are all 1 and all 2.
func values(g *mlxc.Graph) mlxc.Array { return floats(g, rows(1, 2), 1, 1, 2, trialHead) }

// rows are a head full of a and one full of b.
func rows(a, b float32) []float32 {
	return slices.Concat(slices.Repeat([]float32{a}, trialHead), slices.Repeat([]float32{b}, trialHead))
}
