package engine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/generate"
)

// The program is the one in the README, where a test runs it from another module.
func Example() {
	e, err := engine.Open(context.Background(), "./model", engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	answer, _, err := e.Answer(context.Background(), "What is fibre good for?", generate.Options{MaxTokens: 200})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}
