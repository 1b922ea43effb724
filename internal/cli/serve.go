package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/serve"
)

// apiKeyVariable has keys that are not to be seen among the arguments of processes.
const apiKeyVariable = "LENTIL_API_KEY"

// serveOptions are mlx_lm.server's flags, and Lentil's own.
type serveOptions struct {
	Models, Adapters, Books      []string
	Profiles                     []string
	AdapterPath                  string
	Host                         string
	Port                         int
	Keys, Hosts, Origins         []string
	Draft                        draftFlags
	Sampling                     generate.Sampling
	MaxTokens                    int
	TemplateArgs                 string
	Answers, Queue, Prefill      int
	CacheSize                    int
	Memory, CacheBytes, KVMemory byteSize
	MaxKVSize                    int
	KV                           kvFlags
	Exact                        bool
	Deadline, Drain              time.Duration
	LogLevel, Data, Dataset      string
	dataFlag                     *pflag.Flag
	deviceFlags
}

// serverTokens is mlx_lm.server's default of --max-tokens; serve's leaves room for long answers.
const (
	serverTokens = 512
	serveTokens  = 4096
)

// newServe makes lentil serve and, for scripts of mlx-lm, lentil server, which differ in a default.
func newServe(streams Streams, name string, maxTokens int) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   name,
		Short: "Serve models to apps and browsers",
		Long: `Serve models to apps: with the APIs of OpenAI, Anthropic and Ollama, and a chat page.
Answers of all clients are written together. A model with an adapter is
MODEL+ADAPTER, with half of what the adapter adds MODEL+ADAPTER:0.5; /v1/models lists
all. Nobody but this machine reaches the server unless --host says so, and then a key
is needed. Ctrl-C lets answers under way come to their end.`,
		Example: `  lentil serve --model ./model --adapter-path ./adapters
  lentil serve --model ./model --adapters ./runs --port 9000
  LENTIL_API_KEY=secret lentil serve --model ./model --host 0.0.0.0 --allowed-hosts nas.local`,
		GroupID: groupUse,
		Args:    noArguments,
	}
	if name == "server" {
		cmd.Short = "Serve models, with the defaults of mlx_lm.server"
	}
	o.declare(cmd, maxTokens)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := refuseUnsupported(cmd); err != nil {
			return err
		}
		return runServe(cmd.Context(), streams, o)
	}
	return cmd
}

func (o *serveOptions) declare(cmd *cobra.Command, maxTokens int) {
	group(cmd, "Models", func(f *pflag.FlagSet) {
		f.StringArrayVar(&o.Models, "model", nil, "`folder`, .gguf file or repository of a model; NAME=FOLDER\ngives it an id; may be repeated")
		f.StringVar(&o.AdapterPath, "adapter-path", "", "`folder` of an adapter to put on the first model")
		f.StringArrayVar(&o.Adapters, "adapters", nil, "`folder` of an adapter, or of several, which is watched:\nwhat a training run saves can be asked for at once;\nmay be repeated")
		f.StringArrayVar(&o.Profiles, "profile", nil, "`file` of a profile (see lentil profile), NAME=FILE, or a\nfolder of them: MODEL@NAME answers by it; may be repeated")
		f.Var(&o.Memory, "memory", "`bytes` that weights of models may take, such as 8GB:\nthose used least make room; 0 for no limit")
		f.BoolVar(new(bool), "trust-remote-code", false, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
		f.BoolVar(new(bool), "use-default-chat-template", false, "")
		ignore(f.Lookup("use-default-chat-template"), "the tokenizer's own template is always used")
	})
	group(cmd, "Who may ask", func(f *pflag.FlagSet) {
		f.StringVar(&o.Host, "host", "127.0.0.1", "`address` to listen on; 0.0.0.0 for the network")
		f.IntVar(&o.Port, "port", 8080, "`port` to listen on; 0 takes a free one")
		f.StringArrayVar(&o.Keys, "api-key", nil, "`key` that requests must have; NAME=KEY names it, and\nsha256:HASH stands for a key that is written nowhere; may\nbe repeated, or stand in "+apiKeyVariable)
		f.StringSliceVar(&o.Hosts, "allowed-hosts", nil, "`names` that the server is reached by, with commas")
		f.StringSliceVar(&o.Origins, "allowed-origins", nil, "web `pages` that may ask, such as https://example.org,\nwith commas; * for all")
	})
	group(cmd, "Chat page", func(f *pflag.FlagSet) {
		f.StringArrayVar(&o.Books, "books", nil, "`folder` of books, or one: the passages nearest to an\nanswer are shown with it; may be repeated")
		f.StringVar(&o.Dataset, "dataset", "", "`folder` of a dataset: chats may begin with questions of it,\nand without --books the places that its rows are from are\nshown with answers; default: what the adapter was trained on")
		f.StringVar(&o.Data, "data", dataFolder(), "`folder` that keeps the page's chats and feedback.jsonl;\nempty for no page")
		o.dataFlag = f.Lookup("data")
	})
	group(cmd, "Answers", func(f *pflag.FlagSet) {
		f.Float64Var(&o.Sampling.Temp, "temp", 0, "sampling `temperature` where a request has none")
		f.Float64Var(&o.Sampling.TopP, "top-p", 1, "keep the likeliest tokens that add up to this `share`")
		f.IntVar(&o.Sampling.TopK, "top-k", 0, "keep only the `n` likeliest tokens; 0 for all")
		f.Float64Var(&o.Sampling.MinP, "min-p", 0, "drop tokens below this `share` of the likeliest one's probability")
		f.IntVar(&o.MaxTokens, "max-tokens", maxTokens, "end answers after this many `tokens` where a request\ndoes not say; -1 for no limit")
		f.StringVar(&o.TemplateArgs, "chat-template-args", "", "JSON `object` with more variables for the chat template")
	})
	group(cmd, "Load", func(f *pflag.FlagSet) {
		f.IntVar(&o.Answers, "decode-concurrency", 32, "`answers` that are written at a time")
		f.IntVar(&o.Queue, "queue", 256, "`answers` that may wait; others are told to come again")
		f.IntVar(&o.Prefill, "prefill-step-size", 2048, "read at most this many `tokens` of a prompt at a time")
		f.Var(&o.KVMemory, "kv-memory", "`bytes` that keys and values of all answers may take;\n0 for no limit")
		f.IntVar(&o.CacheSize, "prompt-cache-size", 10, "`conversations` that are remembered for their next message")
		f.Var(&o.CacheBytes, "prompt-cache-bytes", "`bytes` that those may take")
		f.DurationVar(&o.Deadline, "deadline", 0, "cut an answer off after this `time`, and give it up if it\nhas not begun by then; 0 for never")
		f.DurationVar(&o.Drain, "drain", 30*time.Second, "`time` that answers under way get at the end")
		f.IntVar(new(int), "prompt-concurrency", 8, "")
		ignore(f.Lookup("prompt-concurrency"), "prompts are read together as far as they fit into a step")
	})
	group(cmd, "Engine", func(f *pflag.FlagSet) {
		f.IntVar(&o.MaxKVSize, "max-kv-size", 0, "remember at most this many `tokens`; 0 for no limit")
		o.KV.declare(f)
		f.BoolVar(&o.Exact, "exact", false, "float32 all the way, instead of 8-bit activations and a 16-bit cache")
		o.deviceFlags.declare(f)
		f.StringVar(&o.LogLevel, "log-level", "INFO", "`level`: INFO tells of each request, but not what was\nasked; WARNING of none")
	})
	group(cmd, "Draft", o.Draft.declare)
	o.CacheBytes = 1 << 30
	declareUnsupported(cmd, "chat-template")
	cmd.Flags().Bool("pipeline", false, "")
	annotate(cmd.Flags().Lookup("pipeline"), unsupportedKey, "1")
	cmd.Flags().Lookup("pipeline").Hidden = true
}

// dataFolder is where chats are kept: with the user's other data.
func dataFolder() string {
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "lentil", "serve")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "lentil", "serve")
}

// byteSize is a number of bytes, as people write it: 512MB, 1.5GiB.
type byteSize int64

func (b *byteSize) String() string {
	if *b == 0 {
		return "0"
	}
	return strconv.FormatInt(int64(*b), 10)
}
func (b *byteSize) Type() string { return "bytes" }

func (b *byteSize) Set(text string) error {
	units := []struct {
		name string
		size float64
	}{{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"TIB", 1 << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"B", 1}}
	number, size := strings.ToUpper(strings.TrimSpace(text)), 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v >= 0 && v*size < math.MaxInt64) {
		return fault.Of("expected a size such as 512MB or 1.5GiB")
	}
	*b = byteSize(v * size)
	return nil
}

// models reads what --model gives: paths, or NAME=PATH.
func (o *serveOptions) models() (out []serve.Model) {
	for _, text := range o.Models {
		m := serve.Model{Path: text}
		if name, path, ok := strings.Cut(text, "="); ok && name != "" && path != "" && !strings.ContainsAny(name, `/\`) {
			m = serve.Model{ID: name, Path: path}
		}
		out = append(out, m)
	}
	if len(out) > 0 {
		out[0].Adapter = o.AdapterPath
	}
	return out
}

// profiles reads what --profile gives: paths, or NAME=PATH.
func (o *serveOptions) profiles() (out []serve.Profile) {
	for _, text := range o.Profiles {
		p := serve.Profile{Path: text}
		if name, path, ok := strings.Cut(text, "="); ok && name != "" && path != "" && !strings.ContainsAny(name, `/\`) {
			p = serve.Profile{ID: name, Path: path}
		}
		out = append(out, p)
	}
	return out
}

// keys are those of the flag and of the environment.
func (o *serveOptions) keys() (out []serve.Key, err error) {
	all := o.Keys
	if env := os.Getenv(apiKeyVariable); env != "" {
		all = append(all, strings.Split(env, ",")...)
	}
	for i, text := range all {
		name, secret, ok := strings.Cut(text, "=")
		if !ok || name == "" || secret == "" {
			name, secret = fmt.Sprintf("key %d", i+1), text
		}
		k, err := serve.NewKey(name, secret)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

func (o *serveOptions) check() error {
	switch {
	case o.Port < 0 || o.Port > 65535:
		return fault.Value("port", o.Port, "0 to 65535")
	case o.Answers < 1:
		return fault.Value("decode_concurrency", o.Answers, "1 or more")
	case o.Queue < 1:
		return fault.Value("queue", o.Queue, "1 or more")
	case o.Prefill < 1:
		return fault.Value("prefill_step_size", o.Prefill, "1 or more")
	case o.CacheSize < 1:
		return fault.Value("prompt_cache_size", o.CacheSize, "1 or more")
	case o.Deadline < 0:
		return fault.Value("deadline", o.Deadline, "0 or more")
	case o.MaxTokens < -1:
		return fault.Value("max_tokens", o.MaxTokens, "0 or more, or -1 for no limit")
	}
	if slices.Contains(o.Keys, "") { // of a variable that is not set: the server would let all in
		return fault.At("api_key", "the key is empty").Try("Give a key, or leave the flag out; here is a new one: %s", serve.NewSecret())
	}
	for _, text := range append(o.Keys, os.Getenv(apiKeyVariable)) {
		if strings.TrimSpace(text) != text {
			return fault.At("api_key", "a key has white space at its end")
		}
	}
	for _, origin := range o.Origins {
		if u, err := url.Parse(origin); origin != "*" && origin != "null" && (err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin) {
			return fault.Value("allowed_origins", origin, "an address such as https://example.org, as browsers send it, or *")
		}
	}
	keys, err := o.keys()
	if err != nil {
		return err
	}
	if !serve.Loopback(o.Host) && len(keys) == 0 {
		return fault.Given("host", o.Host, "everybody in the network could ask the server").
			Try("Give a key too, with %v or in %s; here is a new one: %s", fault.Setting("api_key"), apiKeyVariable, serve.NewSecret())
	}
	switch strings.ToUpper(o.LogLevel) {
	case "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL":
	default:
		return fault.Choice("log_level", o.LogLevel, "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
	}
	if err := o.KV.check(o.MaxKVSize); err != nil {
		return err
	}
	return o.Draft.check(o.MaxKVSize)
}

func (o *serveOptions) options(streams Streams) serve.Options {
	keys, _ := o.keys() // which check has seen
	opening := o.opening(streams)
	opening.Draft = o.Draft.Model
	out := serve.Options{
		Models: o.models(), Adapters: o.Adapters, Profiles: o.profiles(), Books: o.Books, Dataset: o.Dataset, Open: opening, Memory: int64(o.Memory),
		Batch:         generate.BatchOptions{Most: o.Answers, Waiting: o.Queue, PrefillStep: min(o.Prefill, 256), Memory: int64(o.KVMemory)},
		CacheSessions: o.CacheSize, CacheBytes: int64(o.CacheBytes),
		Keys: keys, Hosts: o.Hosts, Origins: o.Origins,
		MaxTokens: o.MaxTokens, Deadline: o.Deadline, Sampling: o.Sampling, TemplateArgs: o.TemplateArgs, Data: o.Data,
	}
	out.Session.MaxKVSize, out.Session.KV, out.Session.Exact, out.Session.DraftTokens = o.MaxKVSize, o.KV.KVBits, o.Exact, o.Draft.Tokens
	if level := strings.ToUpper(o.LogLevel); level == "INFO" || level == "DEBUG" {
		out.Log = func(text string) {
			fmt.Fprintf(streams.Err, "%s %s\n", time.Now().Format(time.DateTime), text)
		}
	}
	return out
}

func runServe(ctx context.Context, streams Streams, o serveOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)))
	if err != nil { // before a model is loaded for nothing
		return fault.Given("port", o.Port, "%w", err).Try("Give another %v, or 0 for a free one.", fault.Setting("port"))
	}
	defer listener.Close()
	server, err := serve.New(ctx, o.options(streams))
	if fault.SettingOf(err) == "data" && !o.dataFlag.Changed {
		fmt.Fprintf(streams.Err, "There is no chat page: %s\n", fault.Text(err, flagName))
		o.Data = ""
		server, err = serve.New(ctx, o.options(streams))
	}
	if err != nil {
		return err
	}
	defer server.Close()
	for _, path := range o.Adapters {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(streams.Err, "%s: there is no such folder yet; it is looked for with every request\n", flagName("adapters")+" "+path)
		}
	}
	streams.presses.stopping("Answers under way come to their end, new ones are refused. Ctrl-C again ends at once.")
	what := "the API alone, at /v1"
	if o.Data != "" {
		what = "chat page; API at /v1"
	}
	fmt.Fprintf(streams.Out, "Serving at http://%s (%s; Ctrl-C ends)\n", listener.Addr(), what)
	if err := server.Serve(ctx, listener, o.Drain); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Fprintln(streams.Out, "The server has ended.")
	return nil
}
