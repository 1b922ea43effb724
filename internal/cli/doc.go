// Package cli is the command line: one file per command, each turning flags into an options struct and
// making one call. It alone knows all other packages.
//
// Flags and defaults are mlx-lm's where mlx-lm has the command, and so are the habits of its parser:
// any unique beginning of a long flag will do, and underscores may stand for dashes.
package cli
