package tune_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lentil-lm/lentil/tune"
)

// The program is the one in the README, where a test runs it from another module.
func Example() {
	r := tune.New() // mlx-lm's defaults
	r.Model, r.Data, r.AdapterPath = "./model", "./data", "./adapters"
	r.Train, r.Test, r.MaskPrompt = true, true, true
	r.Iters, r.NumLayers, r.LearningRate = 100, 4, 1e-4
	result, err := tune.Run(context.Background(), r, tune.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("learnt %d tokens, test perplexity %.3f\n", result.Trained.TrainedTokens, result.Tested.Perplexity())
}
