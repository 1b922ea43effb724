package main

// stopWithoutReader has nothing to do: a write to a pipe that nobody reads is an error here and ends nothing.
func stopWithoutReader(func()) {}
