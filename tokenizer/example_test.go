package tokenizer_test

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/tokenizer"
)

func ExampleTrain() {
	text := "lentils and beans and peas and lentils"
	tok, err := tokenizer.Train(slices.Values([]string{text}), tokenizer.TrainOptions{
		VocabSize:     300,
		SpecialTokens: []string{"<|end|>"},
		EOS:           "<|end|>",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ids, err := tok.Encode("lentils and peas<|end|>", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	var pieces []string
	for _, id := range ids {
		pieces = append(pieces, tok.Piece(id))
	}
	fmt.Printf("%q\n", pieces)
	text, err = tok.Decode(ids, true)
	fmt.Println(text, err)
	// Output:
	// ["lentils" "Ġand" "Ġ" "p" "e" "a" "s" "<|end|>"]
	// lentils and peas <nil>
}

func ExampleTokenizer_Stream() {
	tok, err := tokenizer.Train(slices.Values([]string{""}), tokenizer.TrainOptions{VocabSize: 256})
	if err != nil {
		fmt.Println(err)
		return
	}
	ids, err := tok.Encode("é!", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	stream := tok.Stream() // every token is one byte here
	for _, id := range ids {
		fmt.Printf("%q ", stream.Add(id))
	}
	fmt.Printf("%q\n", stream.Flush())
	// Output: "" "é" "!" ""
}
