package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/dataset/making"
	"github.com/lentil-lm/lentil/endpoint"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/generate/grammar"
	"github.com/lentil-lm/lentil/run"
)

// writerTogether is how many rows' answers the engine decodes at a time.
const writerTogether = 16

// An engineWriter is a model in this process that writes rows.
type engineWriter struct {
	engine *engine.Engine
	batch  *generate.Batch
	stops  []int32
	name   string

	vocab    *grammar.Vocabulary
	mu       sync.Mutex
	grammars map[string]*grammar.Grammar // by their schema
}

func newEngineWriter(ctx context.Context, name string, o engine.Options) (*engineWriter, error) {
	e, err := engine.Open(ctx, name, o)
	if err != nil {
		return nil, err
	}
	w := &engineWriter{engine: e, batch: generate.NewBatch(generate.BatchOptions{Most: writerTogether, RowWise: true})}
	template, err := e.Template()
	if err == nil && template == nil {
		err = fault.Given("model", name, "it has no chat template, and cannot be told what to write").Try("Take a model that was trained to follow instructions.")
	}
	if err == nil {
		w.stops, err = e.Stops()
	}
	if err == nil {
		w.vocab, err = grammar.NewVocabulary(e.Tokenizer, e.Ends())
	}
	if err == nil {
		w.name, err = eval.Fingerprint(e.Source.Path())
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Name is the fingerprint of the weights.
func (w *engineWriter) Name() string { return w.name }

// Together is how many calls are worth having at a time.
func (w *engineWriter) Together() int { return writerTogether }

// Close frees the model.
func (w *engineWriter) Close() {
	w.batch.Close()
	w.engine.Close()
}

// grammar makes the grammar of a schema.
func (w *engineWriter) grammar(schema string) (*grammar.Grammar, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g, ok := w.grammars[schema]; ok {
		return g, nil
	}
	v, err := jinja.ParseJSON([]byte(schema))
	if err != nil {
		return nil, err
	}
	source, err := grammar.Schema(v)
	if err != nil {
		return nil, err
	}
	g, err := source.Compile(w.vocab)
	if err != nil {
		return nil, err
	}
	if w.grammars == nil {
		w.grammars = map[string]*grammar.Grammar{}
	}
	w.grammars[schema] = g
	return g, nil
}

// Complete answers a prompt. It is, to the bit, what the model answers alone, and fits the prompt's schema as far as it goes.
func (w *engineWriter) Complete(ctx context.Context, p dataset.Prompt) (out dataset.Completion, err error) {
	var messages []chat.Value
	if p.System != "" {
		messages = append(messages, chat.NewMessage("system", p.System))
	}
	kwargs := jinja.NewDict()
	kwargs.Set("enable_thinking", false)
	ids, err := w.engine.Prompt(append(messages, chat.NewMessage("user", p.User)), engine.PromptOptions{Kwargs: kwargs})
	if err != nil {
		return out, err
	}
	var text strings.Builder
	o := generate.Options{MaxTokens: p.MaxTokens, StopTokens: w.stops, Seed: p.Seed, Sampling: generate.Sampling{Temp: p.Temperature, TopP: 0.95}}
	if p.Schema != "" {
		g, err := w.grammar(p.Schema)
		if err != nil {
			return out, err
		}
		state, fed := g.Start(), 0
		o.Filter = func(answer []int32, logits []float32) error {
			for ; fed < len(answer); fed++ {
				if err := state.Accept(answer[fed]); err != nil {
					return err
				}
			}
			return state.Mask(logits, generate.Masked)
		}
	}
	for piece, err := range w.batch.Stream(ctx, w.engine.Model, w.engine.Tokenizer, ids, o) {
		if err != nil {
			return out, err
		}
		text.WriteString(piece.Text)
		out.Prompt, out.Tokens = len(ids), piece.Stats.GenerationTokens
		out.Cut = piece.Finish == generate.FinishLength
	}
	out.Text = text.String()
	return out, nil
}

// Embed gives the model's vector of a text.
func (w *engineWriter) Embed(ctx context.Context, text string) ([]float32, error) {
	return embedText(ctx, w.engine, text)
}

// mostEmbedded bounds a text whose vector is wanted, in tokens.
const mostEmbedded = 512

func embedText(ctx context.Context, e *engine.Engine, text string) ([]float32, error) {
	ids, err := e.Tokenizer.EncodePlain(text)
	if err != nil {
		return nil, err
	}
	return generate.Embed(ctx, e.Model, ids[:min(len(ids), mostEmbedded)])
}

// openVectors opens the model whose vectors rows are compared by, if there is one.
func (o *makeOptions) openVectors(ctx context.Context, streams Streams) (close func(), err error) {
	close = func() {}
	if o.Plan {
		return close, nil
	}
	if o.Vectors != "" {
		e, err := engine.Open(ctx, o.Vectors, streams.opening(o.Threads))
		if err != nil {
			return close, fault.Given("embeddings", o.Vectors, "%w", err)
		}
		o.Embed = func(ctx context.Context, text string) ([]float32, error) { return embedText(ctx, e, text) }
		return e.Close, nil
	}
	if o.Writer != nil {
		if w, ok := o.Writer.Model.(*engineWriter); ok {
			o.Embed = w.Embed
		}
	}
	return close, nil
}

// noModel says that rows are made without one.
const noModel = "none"

// openWriter opens the model that writes rows; nil for none. close frees it.
func (o *makeOptions) openWriter(ctx context.Context, streams Streams) (w *making.Writer, close func(), err error) {
	close = func() {}
	if o.Endpoint == "" && (o.Model == "" || o.Model == noModel) {
		return nil, close, nil
	}
	w = &making.Writer{Budget: o.Budget, MaxCopy: o.MaxCopy, Votes: o.Votes, Rows: o.Rows, Sample: o.Sample, Dir: o.Out}
	if o.Plan {
		w.Dir = ""
	}
	if w.Recipe, err = making.OpenRecipe(o.Recipe); err != nil {
		return nil, close, err
	}
	if o.Endpoint != "" {
		w.Model, err = o.openEndpoint(ctx)
	} else {
		fmt.Fprintf(streams.Out, "Loading model from %s...\n", o.Model)
		var e *engineWriter
		if e, err = newEngineWriter(ctx, o.Model, streams.opening(o.Threads)); err == nil {
			w.Model, close = e, e.Close
		}
	}
	if err != nil {
		return nil, close, err
	}
	return w, close, nil
}

// openEndpoint opens a model that others serve.
func (o *makeOptions) openEndpoint(ctx context.Context) (dataset.Completer, error) {
	const key = "LENTIL_ENDPOINT_KEY"
	client, err := endpoint.Open(ctx, o.Endpoint, o.EndpointModel, endpoint.Options{Setting: "endpoint", Naming: "endpoint_model", KeyFrom: key, Key: os.Getenv(key), Together: o.Concurrency})
	return making.Endpoint{Client: client}, err
}

// watchWriter shows how a writer comes along.
func watchWriter(streams Streams) (progress func(making.Progress), clear func()) {
	bar, began := streams.bar(nil), time.Now()
	return func(p making.Progress) {
		rejected := 0
		for _, n := range p.Rejected {
			rejected += n
		}
		seconds := max(time.Since(began).Seconds(), 0.1)
		bar.Set(fmt.Sprintf("Writing: %d rows, %d rejected, %.0f tokens/s", p.Rows, rejected, float64(p.Tokens)/seconds), p.Done, p.Total)
	}, bar.Clear
}

// printPlan tells what writing will take. A short answer measures how fast the model is.
func printPlan(ctx context.Context, streams Streams, w *making.Writer, p *making.Plan) error {
	began := time.Now()
	probe, err := w.Model.Complete(ctx, dataset.Prompt{User: "Count from one to twenty in words.", MaxTokens: 48})
	if err != nil {
		return err
	}
	rate := float64(max(probe.Tokens, 1)) / time.Since(began).Seconds()
	likely := float64(p.Tokens) * 2 / 3 // answers are rarely as long as they may be
	fmt.Fprintf(streams.Out, "The model would be asked %d times for about %d rows: %d tokens of prompts, at most %d of answers; about a third more to mend and to judge.\n"+
		"At the %.0f tokens a second of one call that is about %s, less with up to %d calls at a time.\n",
		p.Calls, p.Rows, p.Prompt, p.Tokens, rate, run.Duration(time.Duration(likely/rate*float64(time.Second))), w.Model.Together())
	return nil
}
