// Package serve answers the clients of language models over HTTP: the APIs of OpenAI, Anthropic and Ollama, and a chat
// page. All answers run in one batch (generate.Batch).
//
//	s, err := serve.New(ctx, serve.Options{Models: []serve.Model{{Path: "./model", Adapter: "./adapters"}}})
//	err = s.Serve(ctx, listener)
//
// How a request comes to its answer:
//
//	guard.go     who may ask: hosts, origins, keys, sizes
//	openai.go …  one file per API: its request becomes a query, and what comes back its reply
//	answer.go    a query runs: sessions, choices, parts of the text, log probabilities
//	models.go    ids of models and adapters, what is loaded, sessions at rest
//
// Prompts and answers are in no log.
package serve
