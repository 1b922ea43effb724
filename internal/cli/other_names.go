package cli

// An otherName is the flag that stands for one of older versions of mlx-lm or of other tools.
type otherName struct{ flag, how string }

// otherNames are those flags, and keys of configs with their dashes as underscores.
var otherNames = map[string]otherName{
	// older mlx-lm
	"lora-layers":  {flag: "num-layers"},
	"adapter-file": {flag: "adapter-path", how: ", and the folder of the file"},
	"de-quantize":  {flag: "dequantize"},
	// other trainers
	"lora-rank":        {flag: "rank"},
	"lora-r":           {flag: "rank"},
	"lora-scale":       {flag: "scale"},
	"lora-alpha":       {flag: "scale", how: ", alpha divided by the rank"},
	"alpha":            {flag: "scale", how: ", alpha divided by the rank"},
	"lora-dropout":     {flag: "dropout"},
	"target-modules":   {flag: "keys"},
	"num-epochs":       {flag: "epochs"},
	"num-train-epochs": {flag: "epochs"},
	"epochs":           {flag: "epochs"},
	"max-steps":        {flag: "iters"},
	"steps":            {flag: "iters"},
	"lr":               {flag: "learning-rate"},
	"cutoff-len":       {flag: "max-seq-length"},
	// other programs that answer
	"temperature": {flag: "temp"},
	"n-predict":   {flag: "max-tokens"},
}
