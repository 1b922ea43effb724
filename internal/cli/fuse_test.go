package cli

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestFuseRemedies: what fuse advises where an update is lost does help.
func TestFuseRemedies(t *testing.T) {
	t.Parallel()
	source, data := tinyModel(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	adapter := func(model string) string {
		path := model + "-adapter"
		mustRun(t, "", "lora", "--train", "--model", model, "--data", data, "--adapter-path", path, "--iters", "1", "--learning-rate", "1e-6", "--num-layers", "-1", "--threads", "1")
		return path
	}
	fuse := func(model, adapter string, flags ...string) (report string, survival float64) {
		t.Helper()
		report = mustRun(t, "", append([]string{"fuse", "--model", model, "--adapter-path", adapter, "--save-path", filepath.Join(t.TempDir(), "fused")}, flags...)...)
		m := regexp.MustCompile(`update ([0-9.]+) % is in`).FindStringSubmatch(report)
		if m == nil {
			t.Fatalf("no share in\n%s", report)
		}
		survival, _ = strconv.ParseFloat(m[1], 64)
		return report, survival
	}
	mustRun(t, "", "convert", "--model", source, "--mlx-path", at("bf16"), "--dtype", "bfloat16")
	mustRun(t, "", "convert", "--model", at("bf16"), "--mlx-path", at("q4"), "-q", "--q-bits", "4", "--q-group-size", "32", "--dtype", "bfloat16")
	from := adapter(at("bf16"))
	for _, flags := range [][]string{nil, {"--dequantize"}} {
		report, before := fuse(at("bf16"), from, flags...)
		if before > 50 {
			t.Fatalf("%v: %.1f %% survives: the update is too large for this test\n%s", flags, before, report)
		}
		_, advice, ok := strings.Cut(report, "is smaller than the steps of 16-bit numbers. Fuse it into the base in float32, which this makes:\nlentil convert ")
		advice, _, _ = strings.Cut(advice, "\n")
		if !ok || strings.Contains(report, "--keep-bits") || strings.Contains(report, "layers got") {
			t.Fatalf("%v: the report is\n%s", flags, report)
		}
		args := append([]string{"convert"}, strings.Fields(advice)...)
		made := "bf16-float32"
		for i := range args {
			if args[i] == made {
				args[i] = filepath.Join(t.TempDir(), made)
				made = args[i]
				break
			}
		}
		mustRun(t, "", args...)
		if report, after := fuse(made, from); after < 99 || strings.Contains(report, "lost") {
			t.Errorf("%v: after `%s`\n%s", flags, advice, report)
		}
	}
	report, _ := fuse(at("q4"), adapter(at("q4")), "--keep-bits")
	if !strings.Contains(report, "Much of it is lost: leave --keep-bits out, or give --dequantize.") {
		t.Errorf("with --keep-bits:\n%s", report)
	}
}
