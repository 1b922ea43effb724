// Command gen makes the demo's files from its tables:
//
//	go run ./demo/gen                                     rewrites demo/data and nothing else
//	go run ./demo/gen corpus --out DIR --rows N [--seed S]  writes train.jsonl and valid.jsonl to train the base model from
//	go run ./demo/gen base --out DIR                      writes the untrained base model: tokenizer, config, random weights
//	go run ./demo/gen pack --model DIR                    quantizes the trained base model into demo/model
//	lentil demo | go run ./demo/gen picture --out FILE    draws what a demo prints as an animated SVG: docs/demo.svg
//
// They give the same bytes every time. demo/base.yaml says how the base model was trained.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/lentil-lm/lentil/demo/corpus"
	"github.com/lentil-lm/lentil/demo/facts"
	"github.com/lentil-lm/lentil/internal/atomicfile"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "corpus":
			return writeCorpus(args[1:])
		case "base":
			return writeBase(args[1:])
		case "pack":
			return pack(args[1:])
		case "picture":
			return pictureFrom(args[1:])
		}
	}
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	out := flags.String("out", filepath.Join("demo", "data"), "folder for train.jsonl, valid.jsonl, test.jsonl, unseen.jsonl, questions.jsonl")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return writeData(*out)
}

// writeData writes the four splits of the facts table, and a question on each fact.
func writeData(dir string) error {
	if _, err := os.Stat(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("%w; run it from the repository's root or give --out", err)
	}
	s := facts.Make()
	for _, split := range []struct {
		name string
		rows []facts.Row
	}{{"train", s.Train}, {"valid", s.Valid}, {"test", s.Test}, {"unseen", s.Unseen}, {"held", facts.Held()}} {
		err := atomicfile.Stream(filepath.Join(dir, split.name+".jsonl"), func(w io.Writer) error {
			for _, row := range split.rows {
				if err := writeRow(w, row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Printf("%s: %d rows\n", split.name, len(split.rows))
	}
	questions := facts.Questions()
	fmt.Printf("questions: %d\n", len(questions))
	return atomicfile.Stream(filepath.Join(dir, "questions.jsonl"), func(w io.Writer) error {
		for _, q := range questions {
			if err := writeRow(w, q); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeCorpus writes the base model's training text; one document in 200 goes to the validation file,
// which comes from another seed.
func writeCorpus(args []string) error {
	flags := flag.NewFlagSet("gen corpus", flag.ContinueOnError)
	out := flags.String("out", "", "folder for train.jsonl and valid.jsonl")
	rows := flags.Int("rows", 200_000, "documents in train.jsonl")
	seed := flags.Uint64("seed", 1, "seed of the training documents")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *out == "":
		return errors.New("corpus: --out is missing: name the folder to write to")
	case *rows < 1:
		return fmt.Errorf("corpus: --rows is %d; expected at least 1", *rows)
	}
	if err := os.MkdirAll(*out, 0o777); err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		rows int
		seed uint64
	}{{"train.jsonl", *rows, *seed}, {"valid.jsonl", max(1, *rows/200), ^*seed}} {
		err := atomicfile.Stream(filepath.Join(*out, file.name), func(w io.Writer) error {
			left := file.rows
			for doc := range corpus.Documents(file.seed) {
				if left == 0 {
					break
				}
				left--
				if err := writeRow(w, facts.Row{Messages: doc.Messages}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Printf("%s: %d documents\n", file.name, file.rows)
	}
	return nil
}

func writeRow(w io.Writer, row any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(row)
}
