package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/dataset/making"
	"github.com/lentil-lm/lentil/fault"
)

type reviewOptions struct {
	port int
	makeOptions
}

func newDatasetReview(streams Streams) *cobra.Command {
	o := reviewOptions{makeOptions: makeOptions{Options: making.New(), Recipe: "general", Concurrency: 1}}
	cmd := &cobra.Command{
		Use:   "review DATA",
		Short: "Go through the rows of a dataset in the browser: passage left, row right",
		Long: `Serve a page on this machine that shows each row beside its page of the book: accept it,
edit it, reject it, or (with --model or --endpoint) have it written again. Decisions are
kept in review.jsonl as they are made; "Write the files" changes the rows by them, and so
does lentil dataset make when it makes them anew. Ctrl-C ends it.`,
		Example: `  lentil dataset review ./data
  lentil dataset review ./data --port 8091 --endpoint http://localhost:8080/v1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.Of("found %d datasets, expected one", len(args)).Try("Usage: %s", cmd.UseLine())
			}
			return nil
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.IntVar(&o.port, "port", 0, "`port` to serve on; 0 takes a free one")
		f.StringVar(&o.Model, "model", noModel, "`folder` or .gguf file of a model that writes rows again, or its repository")
		f.StringVar(&o.Endpoint, "endpoint", "", "instead of it the `address` of an endpoint with OpenAI's API\n(key in LENTIL_ENDPOINT_KEY)")
		f.StringVar(&o.EndpointModel, "endpoint-model", "", "its `name` at the endpoint; default: the first one there")
		f.IntVar(&o.Threads, "threads", 0, "worker `threads` of a model; 0 for one per core")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.port < 0 || o.port > 65535 {
			return fault.Value("port", o.port, "0 to 65535")
		}
		return runDatasetReview(cmd.Context(), streams, args[0], &o)
	}
	return cmd
}

func runDatasetReview(ctx context.Context, streams Streams, data string, o *reviewOptions) error {
	review, err := making.OpenReview(data)
	if err != nil {
		return err
	}
	page := &making.ReviewServer{Review: review}
	o.Plan = true // keeps no log of calls
	writer, closeWriter, err := o.openWriter(ctx, streams)
	if err != nil {
		return err
	}
	defer closeWriter()
	if writer != nil {
		var seed atomic.Uint64
		page.Regenerate = func(r *http.Request, row making.Reviewed, passage string) (string, string, error) {
			return making.Rewrite(r.Context(), writer.Model, row, passage, seed.Add(1))
		}
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port)))
	if err != nil {
		return fault.Given("port", o.port, "%w", err).Try("Give another one, or 0 for one that is free.")
	}
	streams.presses.stopping("Stopping: what was decided is kept in review.jsonl.")
	fmt.Fprintf(streams.Out, "%d rows of %s are at http://%s (Ctrl-C ends this)\n", review.Len(), data, listener.Addr())
	const headerTime = 10 * time.Second
	server := &http.Server{Handler: page, ReadHeaderTimeout: headerTime, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
