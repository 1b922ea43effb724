package interop

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// Training through MLX itself: the arithmetic is that of mlx-lm's own library.
func TestTrainingThroughMLX(t *testing.T) {
	t.Parallel()
	need(t, "MLX")
	library, err := filepath.Abs("../.interop/mlx/lib/libmlxc.so")
	if err != nil {
		t.Fatal(err)
	}
	h := hubHome{env: append(os.Environ(), "LENTIL_MLXC="+library)}
	for name, tolerance := range map[string]float64{
		"defaults": lossTolerance, "mask": lossTolerance, "accumulate": lossTolerance, "adamw": lossTolerance,
		"sgd": lossTolerance, "muon": lossTolerance, "adafactor": lossTolerance, "adafactor-schedule": lossTolerance,
		"short": lossTolerance, "full": lossTolerance,
		"dora": lossTolerance, "dora-dense": lossTolerance, "dora-bf16": bf16Tolerance,
		"bf16": bf16Tolerance, "dropout": dropoutTolerance, "mixtral": lossTolerance, "qwen3_moe": lossTolerance,
	} {
		t.Run(name, func(t *testing.T) {
			want := readTraining(t, name)
			folder := t.TempDir()
			options := maps.Clone(want.Options)
			options["device"] = "mlx"
			sameCurve(t, h.train(t, options, folder), want, tolerance)
			sameAdapter(t, folder, name, want)
		})
	}
}
