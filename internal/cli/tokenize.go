package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/tokenizer"
)

type tokenizeOptions struct {
	Model      string
	AddSpecial bool
	Strings    string
	JSON       string
}

func newTokenize(streams Streams) *cobra.Command {
	var o tokenizeOptions
	cmd := &cobra.Command{
		Use:   "tokenize --model DIR (TEXT | - | --strings FILE.json)",
		Short: "Show the tokens of a text",
		Long: `Show how a model's tokenizer cuts a text: one line per token with its id and its
piece of the vocabulary. With - the text is read from standard input. With
--strings, a JSON list of strings is turned into a JSON list of lists of ids.`,
		Example: `  lentil tokenize --model ./model "Chickpeas are high in protein."
  lentil tokenize --model model.gguf --add-special-tokens - < notes.txt
  lentil tokenize --model ./model --strings strings.json > ids.json`,
		GroupID: groupInspect,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.Strings != "" && len(args) > 0:
				return fault.Of("give a text or --strings, not both")
			case o.Strings == "" && len(args) != 1:
				return fault.Of("expected one text, found %d", len(args)).Try("Put the text in quotes, or give - to read standard input.")
			}
			return nil
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "`folder` or .gguf file with the tokenizer (required)")
		f.BoolVar(&o.AddSpecial, "add-special-tokens", false, "add the special tokens that the tokenizer puts around a text")
		f.StringVar(&o.Strings, "strings", "", "`file` with a JSON list of strings; their ids go to standard output as JSON")
		f.StringVar(&o.JSON, "json", "", "also write ids and pieces to this `file`")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tok, err := engine.OpenTokenizer(cmd.Context(), o.Model, streams.opening(0))
		if err != nil {
			return err
		}
		return tokenize(streams, tok, o, args)
	}
	return cmd
}

// tokenizeFigures is what tokenize's --json writes of a text.
type tokenizeFigures struct {
	IDs    []int32  `json:"ids"`
	Pieces []string `json:"pieces"`
}

func tokenize(streams Streams, tok *tokenizer.Tokenizer, o tokenizeOptions, args []string) error {
	if o.Strings != "" {
		return tokenizeStrings(streams.Out, tok, o)
	}
	text := args[0]
	if text == "-" {
		in, err := io.ReadAll(streams.In)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		text = string(in)
	}
	ids, err := tok.Encode(text, o.AddSpecial)
	if err != nil {
		return err
	}
	result := pieces(tok, ids)
	var b strings.Builder
	for i, id := range result.IDs {
		fmt.Fprintf(&b, "%7d  %q\n", id, result.Pieces[i])
	}
	if _, err := io.WriteString(streams.Out, b.String()); err != nil {
		return err
	}
	return writeFigures(o.JSON, result)
}

func pieces(tok *tokenizer.Tokenizer, ids []int32) tokenizeFigures {
	t := tokenizeFigures{IDs: ids, Pieces: make([]string, len(ids))}
	for i, id := range ids {
		t.Pieces[i] = tok.Piece(id)
	}
	return t
}

func tokenizeStrings(out io.Writer, tok *tokenizer.Tokenizer, o tokenizeOptions) error {
	text, err := smallfile.ReadAny(o.Strings, maxText)
	if err != nil {
		return fault.At("strings", "%w", err)
	}
	var list []string
	if err := json.Unmarshal(text, &list); err != nil {
		return fault.At("strings", "%w", jsonpos.Error(o.Strings, text, err)).Try("Expected a JSON list of strings.")
	}
	ids := make([][]int32, len(list))
	results := make([]tokenizeFigures, len(list))
	for i, s := range list {
		if ids[i], err = tok.Encode(s, o.AddSpecial); err != nil {
			return fault.At("strings", "text %d: %w", i+1, err)
		}
		results[i] = pieces(tok, ids[i])
	}
	line, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s\n", line); err != nil {
		return err
	}
	return writeFigures(o.JSON, results)
}
