// Command lentil fine-tunes, tests, asks and fuses language models on one's own machine.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/lentil-lm/lentil/book/pdf"
	"github.com/lentil-lm/lentil/compute/mlx"
	"github.com/lentil-lm/lentil/internal/cli"
)

func main() {
	pdf.Serve() // this process may be one that reads a PDF file for another
	mlx.Serve() // or one that tries MLX's library
	ctx, cancel := context.WithCancel(context.Background())
	asked := requests(cancel)
	stopWithoutReader(cancel)
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Interrupts: asked}))
}

// requests gives the presses of Ctrl-C, and what else asks for an end: commands answer them. It calls stop when the
// terminal is closed.
func requests(stop func()) <-chan os.Signal {
	asked := make(chan os.Signal, 3)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	// A terminal that is closed says so several times: that is no second request. Who began with nohup wants to go on.
	closed := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(closed, syscall.SIGHUP)
	}
	go func() {
		for range closed {
			stop()
		}
	}()
	return asked
}
