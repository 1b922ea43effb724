// Command openai-go asks a server of Lentil's through OpenAI's client for Go. It is a module of its own, so that the client is no
// dependency of Lentil's. It prints "ok NAME" for each thing that went as the client documents it.
//
//	go run . URL MODEL BASE
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/openai/openai-go"
	"github.com/openai/openai-go/option"
	"github.com/openai/openai-go/responses"
)

func ok(name string, good bool, found any) {
	if !good {
		fmt.Fprintf(os.Stderr, "%s: %+v\n", name, found)
		os.Exit(1)
	}
	fmt.Println("ok", name)
}

func main() {
	url, model, base := os.Args[1], os.Args[2], os.Args[3]
	ctx := context.Background()
	client := openai.NewClient(option.WithBaseURL(url+"v1"), option.WithAPIKey("none"), option.WithMaxRetries(0))
	question := openai.ChatCompletionNewParams{
		Model: model, MaxTokens: openai.Int(20), Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("What is fibre good for?")},
	}

	list, err := client.Models.List(ctx)
	ok("go models", err == nil && slices.ContainsFunc(list.Data, func(m openai.Model) bool { return m.ID == base }), err)

	whole, err := client.Chat.Completions.New(ctx, question)
	ok("go chat", err == nil && whole.Choices[0].Message.Content != "" && whole.Usage.TotalTokens > 10, err)
	text := whole.Choices[0].Message.Content

	stream := client.Chat.Completions.NewStreaming(ctx, question)
	var sum openai.ChatCompletionAccumulator
	for stream.Next() {
		sum.AddChunk(stream.Current())
	}
	ok("go stream", stream.Err() == nil && sum.Choices[0].Message.Content == text, stream.Err())

	formed := question
	formed.MaxTokens = openai.Int(60)
	formed.ResponseFormat.OfJSONSchema = &openai.ResponseFormatJSONSchemaParam{JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{
		Name: "meal", Strict: openai.Bool(true),
		Schema: map[string]any{"type": "object", "properties": map[string]any{"kind": map[string]any{"enum": []string{"vegan", "other"}}}, "required": []string{"kind"}, "additionalProperties": false},
	}}
	meal, err := client.Chat.Completions.New(ctx, formed)
	var v struct{ Kind string }
	ok("go schema", err == nil && json.Unmarshal([]byte(meal.Choices[0].Message.Content), &v) == nil && (v.Kind == "vegan" || v.Kind == "other"), err)

	answer, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model: model, MaxOutputTokens: openai.Int(20), Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("What is fibre good for?")},
	})
	ok("go responses", err == nil && answer.OutputText() == text, err)

	vectors, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: model, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"beans", "rice"}}})
	ok("go embeddings", err == nil && len(vectors.Data) == 2 && len(vectors.Data[0].Embedding) > 0, err)

	question.Model = "gpt"
	_, err = client.Chat.Completions.New(ctx, question)
	var known *openai.Error
	ok("go unknown model", errors.As(err, &known) && known.StatusCode == 404 && known.Code == "model_not_found" && known.Param == "model", err)
}
