//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// stopWithoutReader calls stop when nobody reads what the command prints any more, such as behind "| head". Without
// that the system would end the program at its next line, with nothing saved.
func stopWithoutReader(stop func()) {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	go func() {
		for range broken {
			// Connections break with the same signal, which is not about the output.
			if hasNoReader(os.Stdout) || hasNoReader(os.Stderr) {
				stop()
			}
		}
	}()
}

// hasNoReader tells a pipe that nobody reads.
func hasNoReader(file *os.File) bool {
	polled := []unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLOUT}}
	n, err := unix.Poll(polled, 0)
	return err == nil && n == 1 && polled[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
