// Package run keeps what a long job says about itself: a folder with a manifest (run.json), an append-only
// event log (run.jsonl) and a lock.
//
// A job makes events and hands them to a [Reporter]. [Folder] writes them to the log, package screen shows
// them, and [Multi] joins reporters.
//
// Units: losses in nats per token, times in seconds, memory in bytes unless a field says otherwise.
package run
