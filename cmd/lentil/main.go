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
	stopOnSignals(cancel)
	stopWithoutReader(cancel)
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// stopOnSignals calls stop when the user or the system asks for an end: the command finishes its step, saves and says how
// to go on. A second request ends the program at once.
func stopOnSignals(stop func()) {
	asked := make(chan os.Signal, 2)
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
	go func() {
		<-asked
		stop()
		<-asked
		os.Exit(cli.ExitInterrupted)
	}()
}
