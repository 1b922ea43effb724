// Command lentil fine-tunes, tests, asks and fuses language models on one's own machine.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/lentil-lm/lentil/internal/cli"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel() // the first one: finish the step, save, say how to go on
		<-signals
		os.Exit(cli.ExitInterrupted) // the second one: at once
	}()
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
