package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/run/screen"
)

// Streams are the standard streams of a command. Commands look at whether Out is a terminal.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Interrupts tells of each Ctrl-C and each SIGTERM. Nil: there are none.
	Interrupts <-chan os.Signal

	presses *presses // answers them; nil where there are none
}

// display is where a run shows its events: a live view if Out is a terminal, else plain lines.
func (s Streams) display() screen.Display {
	out, errFile := fileOf(s.Out), fileOf(s.Err)
	if out == nil {
		return s.lines()
	}
	if errFile == nil {
		errFile = os.Stderr
	}
	d := speller{screen.New(out, errFile)}
	if s.outIsTerminal() {
		s.presses.shows(d)
	}
	return d
}

// lines shows the events of a run as lines, wherever Out goes.
func (s Streams) lines() screen.Display { return speller{screen.NewClassic(s.Out)} }

// bar shows progress on Err, if that is a terminal.
func (s Streams) bar(amount func(int64) string) *screen.Bar {
	file := fileOf(s.Err)
	if file == nil {
		return nil
	}
	return screen.NewBar(file, amount)
}

// outIsTerminal tells whether Out is a terminal that can redraw lines.
func (s Streams) outIsTerminal() bool {
	file := fileOf(s.Out)
	return file != nil && screen.IsTerminal(file)
}

// clean has Out and Err, where they are terminals, show text alone: what models, files and servers say must not steer
// the terminal. Elsewhere it stays as it is, to the byte.
func (s Streams) clean() Streams {
	for _, w := range []*io.Writer{&s.Out, &s.Err} {
		if file, ok := (*w).(*os.File); ok {
			if c, ok := screen.NewCleaner(file); ok {
				*w = c
			}
		}
	}
	return s
}

// fileOf is the file or terminal behind Out or Err; nil for none.
func fileOf(w io.Writer) *os.File {
	switch w := w.(type) {
	case *os.File:
		return w
	case *screen.Cleaner:
		return w.File
	}
	return nil
}

// rewrite writes a line of our own over the one on the terminal behind Out.
func (s Streams) rewrite(line string) { fmt.Fprint(fileOf(s.Out), "\r"+line) }

// Main runs one command line, without the program's name, and gives the exit code. When ctx ends, the
// command saves what it has and stops.
func Main(ctx context.Context, args []string, streams Streams) int {
	streams = streams.clean()
	if streams.Interrupts != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithCancel(ctx)
		defer stop()
		done := make(chan struct{})
		defer close(done)
		streams.presses = newPresses(stop, streams)
		go streams.presses.listen(streams.Interrupts, done)
	}
	root := newRoot(streams)
	err := execute(ctx, root, args)
	if err != nil && !errors.Is(err, errSaid) {
		text := errorText(err)
		if file := fileOf(streams.Err); file != nil {
			text = screen.Wrap(text, screen.Width(file))
		}
		fmt.Fprint(streams.Err, text)
	}
	return exitCode(err)
}

// errSaid marks an error that the command has told the user about already.
var errSaid = errors.New("already reported")

func execute(ctx context.Context, root *cobra.Command, args []string) error {
	args, err := normalize(root, args)
	if err != nil {
		return err
	}
	root.SetArgs(append([]string{}, args...)) // never nil, for which cobra takes the arguments of the process
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil {
		err = &usageError{err, cmd.CommandPath()}
	}
	return err
}

// The groups of commands in the help.
const (
	groupTrain   = "train"
	groupUse     = "use"
	groupInspect = "inspect"
)

func newRoot(streams Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "lentil",
		Short: "Fine-tune, test, ask and fuse language models on this machine",
		Long: `Lentil fine-tunes open language models on your own data and your own machine,
measures what they learned, and lets you ask them. It reads and writes mlx-lm's
files and takes its flags.`,
		Example: `  lentil demo
  lentil train --model ./model --data ./data --iters 600
  lentil test --model ./model --data ./data
  lentil generate --model ./model --adapter-path ./adapters --prompt "What is fibre good for?"
  lentil fuse --model ./model --save-path ./fused`,
		Args:          cobra.NoArgs,
		Version:       Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			tellIgnored(cmd, streams.Err)
			f := cmd.Flags().Lookup("json")
			if f == nil {
				return nil
			}
			return checkFigures(f.Value.String())
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	root.AddGroup(
		&cobra.Group{ID: groupTrain, Title: "Fine-tune and measure:"},
		&cobra.Group{ID: groupUse, Title: "Ask and share:"},
		&cobra.Group{ID: groupInspect, Title: "Look inside:"},
	)
	root.SetHelpCommandGroupID(groupInspect)
	root.SetCompletionCommandGroupID(groupInspect)
	root.AddCommand(commands(streams)...)
	root.SetUsageTemplate(usageTemplate)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) { typedHelp(streams.Out, help, cmd, args) })
	completeFlags(root)
	return root
}

func commands(streams Streams) []*cobra.Command {
	return []*cobra.Command{
		newDemo(streams),
		newLoRA(streams, "lora", runLoRA),
		newLoRA(streams, "train", runLoRA),
		newLoRA(streams, "test", runLoRA),
		newEval(streams),
		newEvaluate(streams),
		newReport(streams),
		newRuns(streams),
		newWatch(streams),
		newPerplexity(streams),
		newDataset(streams),
		newGenerate(streams),
		newChat(streams),
		newServe(streams, "serve", serveTokens),
		newServe(streams, "server", serverTokens),
		newCachePrompt(streams),
		newFuse(streams),
		newConvert(streams),
		newAdapters(streams),
		newDownload(streams),
		newUpload(streams),
		newLogin(streams),
		newScanCache(streams),
		newCache(streams),
		newManage(streams),
		newDoctor(streams),
		newBenchmark(streams),
		newTokenize(streams),
		newRender(streams),
		newProfile(streams),
		newVersion(streams),
	}
}
