package cli

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/bench"
)

// readBenchmark reads what --json wrote.
func readBenchmark(t *testing.T, path string) (b benchmarked) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBenchmark(t *testing.T) {
	t.Parallel()
	folder, _ := tinyModel(t)
	path := filepath.Join(t.TempDir(), "figures.json")
	out := mustRun(t, "", "benchmark", "--model", folder, "-p", "12", "-g", "5", "-b", "2", "-n", "2", "--delay", "0.01", "--threads", "1", "--profile", "--json", path)
	n := `\d+\.\d{3}`
	trial := `prompt_tps=` + n + `, generation_tps=` + n + `, peak_memory=` + n
	want := `^Running warmup..
Timing with prompt_tokens=12, generation_tokens=5, batch_size=2.
Trial 1:  ` + trial + `, total_time=` + n + `
Trial 2:  ` + trial + `, total_time=` + n + `
Averages: ` + trial + `
Achieved, prompt: .* GFLOP/s, .* GB/s
Achieved, generation: .* GFLOP/s, .* GB/s
Measured peak: .* 1 threads\)

prompt, per op:
op `
	if !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("printed\n%s\nwant\n%s", out, want)
	}
	got := readBenchmark(t, path)
	if len(got.Trials) != 2 || len(got.Achieved) != 2 || len(got.Profile) != 2 {
		t.Fatalf("figures %+v", got)
	}
	// Two answers of four further tokens through two blocks of seven projections, and the head. How many passes they share
	// is a matter of time.
	const pass = 2*7 + 1
	passes := []int{1, 4} // if they share all
	for i, p := range got.Profile {
		all := bench.Sum(p.Ops)
		if all.Seconds > p.Seconds || all.FLOPs != bench.Sum(got.Achieved[i].Ops).FLOPs {
			t.Errorf("%s: ops take %+v of %g s; counted before %+v", p.Name, all, p.Seconds, bench.Sum(got.Achieved[i].Ops))
		}
		for _, op := range p.Ops {
			if n := op.Calls / pass; op.Name == "linear" && (op.Calls%pass != 0 || n < passes[i] || n > 2*passes[i]) {
				t.Errorf("%s: %d linears, want those of %d to %d passes", p.Name, op.Calls, passes[i], 2*passes[i])
			}
		}
		if rate := float64(all.FLOPs) / p.Seconds / 1e9; !(math.Abs(p.GFLOPS/rate-1) <= 1e-9) {
			t.Errorf("%s: %g GFLOP/s, want %g", p.Name, p.GFLOPS, rate)
		}
	}
	for _, tr := range got.Trials {
		if !(tr.PromptTPS > 0) || !(tr.GenerationTPS > 0) {
			t.Errorf("trial %+v", tr)
		}
	}
}

func TestBenchmarkOfTraining(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("package bench tests what is measured, TestBenchmark how it is printed")
	}
	folder, _ := tinyModel(t)
	path := filepath.Join(t.TempDir(), "figures.json")
	out := mustRun(t, "", "benchmark", "--model", folder, "--train", "-b", "3", "--seq-length", "20", "--num-layers", "1", "-n", "2", "--threads", "1", "--json", path)
	if !regexp.MustCompile(`(?m)^Trial 2:  train_tps=\d+\.\d{3}, peak_memory=\d+\.\d{3}, total_time=\d+\.\d{3}$`).MatchString(out) {
		t.Errorf("printed\n%s", out)
	}
	got := readBenchmark(t, path)
	if len(got.Trials) != 2 || got.Trials[0].TrainLoss != got.Trials[1].TrainLoss || !(got.Averages.TrainTPS > 0) {
		t.Errorf("figures %+v: want two equal losses: the model stays as it is", got)
	}
	// With random tokens and weights the loss is that of guessing, ln 320, or a little more.
	if loss := got.Trials[0].TrainLoss; loss < math.Log(320)-0.5 || loss > math.Log(320)+2 {
		t.Errorf("loss %g, want about %g", loss, math.Log(320))
	}
}

// TestBenchmarkOfRows: rows of their own lengths take the place of equal ones.
func TestBenchmarkOfRows(t *testing.T) {
	t.Parallel()
	folder, _ := tinyModel(t)
	path := filepath.Join(t.TempDir(), "figures.json")
	out := mustRun(t, "", "benchmark", "--model", folder, "--train", "--rows", "20,7", "--num-layers", "1", "-n", "1", "--threads", "1", "--json", path)
	if !strings.Contains(out, "Timing with rows=[20 7], num_layers=1.") {
		t.Errorf("printed\n%s", out)
	}
	got := readBenchmark(t, path)
	if tokens := got.Trials[0].TrainTPS * got.Trials[0].Seconds; !(math.Abs(tokens-27) <= 0.01) || got.BatchSize != 2 || got.SeqLength != 0 {
		t.Errorf("%.2f tokens were learnt, want 27; figures %+v", tokens, got)
	}
}

// TestBenchmarkDevice: a device that is not here is told before weights are written.
func TestBenchmarkDevice(t *testing.T) {
	t.Parallel()
	code, _, errOut := lentil(t, "", "benchmark", "--shape", "smollm2-135m", "--device", "abacus")
	if code != ExitUsage || !strings.Contains(errOut, "abacus") || strings.Contains(errOut, "Writing") {
		t.Errorf("exit %d, %s", code, errOut)
	}
}

func TestBenchmarkMistakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--shape", "gpt-5"}, "smollm2-135m"},
		{[]string{"--shape", "smollm2-135m", "--model", "x"}, "both"},
		{[]string{"--shape", "smollm2-135m", "--q-bits", "9"}, "9 bits"},
		{[]string{"--shape", "smollm2-135m", "--q-group-size", "128"}, "multiple"},
		{[]string{"--model", filepath.Join(t.TempDir(), "none")}, "no such folder"},
		{[]string{"--model", "x", "-n", "0"}, "--num-trials"},
		{[]string{"--model", "x", "--delay", "-1"}, "--delay"},
		{[]string{"--model", "x", "--save-path", "y"}, "--shape"},
		{[]string{"--model", "x", "--rows", "3"}, "--train"},
		{[]string{"--model", "x", "--rows", "1", "--train"}, "--rows"},
		{[]string{"--pipeline"}, "not supported"},
		{[]string{"-qa"}, "not supported"},
	} {
		code, _, errOut := lentil(t, "", append([]string{"benchmark"}, test.args...)...)
		if code != ExitUsage || !strings.Contains(errOut, test.want) {
			t.Errorf("%v: exit %d, %s", test.args, code, errOut)
		}
	}
}
