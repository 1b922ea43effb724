// Package run keeps what a long job says about itself: a folder with a manifest (run.json), an append-only
// event log (run.jsonl) and a lock, and the reporters that show the same events on a screen.
//
// A job makes events and hands them to a [Reporter]. [Folder] writes them to the log, [Classic] prints the
// lines that log scrapers of mlx-lm know, [Live] draws a view in place on a terminal, and [Multi] joins them.
//
// Units: losses in nats per token, times in seconds, memory in bytes unless a field says otherwise.
package run
