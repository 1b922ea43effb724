// Package screen shows the events of a run, and how far other work has come, on a terminal.
//
// [New] chooses between a view that is redrawn in place and the lines that log scrapers of mlx-lm know;
// a [Bar] shows one task.
package screen
