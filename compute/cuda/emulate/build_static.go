//go:build static

package emulate

// static says that programs open no libraries.
const static = true
