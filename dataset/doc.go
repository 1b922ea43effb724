// Package dataset reads the rows a model is trained and tested on, and turns them into tokens with a loss mask.
//
// [Load] reads a folder with train.jsonl, valid.jsonl and test.jsonl as mlx-lm does: each line is a JSON object that
// holds a conversation (messages), a prompt and its completion, or a text; rows of ShareGPT's and Alpaca's form become
// the first two. With Options.Preference rows are pairs of a chosen and a rejected answer, as TRL writes them. [FindLayout] finds the splits of a dataset of the Hugging Face hub among its files, Parquet, JSON or
// CSV, as the Python package datasets does, and [LoadParts] reads slices of them. Every row is checked before it is used,
// so that a mistake is told by file and line before any work starts, and what a file's rows take is bounded by its size.
//
// [Encoder] tokenises rows, exactly as mlx-lm does where that is right, and [Rows.Prepare] tells what came out: tokens,
// the longest row, how many will be cut, where nothing can be learnt, and what the chat template leaves out.
package dataset
