package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/report"
	"github.com/lentil-lm/lentil/run"
)

// folderArguments takes the folders of adapters.
func folderArguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fault.Of("found %d folders of adapters, expected %s", len(args), map[bool]string{true: "one", false: fmt.Sprintf("%d or more", least)}[most == 1]).Try("Usage: %s", cmd.UseLine())
		}
		return nil
	}
}

func newReport(streams Streams) *cobra.Command {
	var out string
	var pictures, overwrite bool
	cmd := &cobra.Command{
		Use:   "report ADAPTER",
		Short: "Write a page on a run: curves, data, answers before and after",
		Long: `Write one HTML file on the run that filled an adapter's folder: what was trained on
what, curves, answers before and after, what was forgotten, and the commands to do it
again. It needs no network, prints, and carries its numbers with it. Each run writes
one at its end, report.html in its folder; write it again after an evaluation.`,
		Example: `  lentil report ./adapters
  lentil report ./adapters --out run.html --png`,
		GroupID: groupTrain,
		Args:    folderArguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := pageOf(args[0])
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(args[0], report.PageName)
			}
			if err := p.Write(out, overwrite); err != nil {
				return err
			}
			fmt.Fprintf(streams.Out, "Wrote %s\n", out)
			if !pictures {
				return nil
			}
			names, err := p.WritePictures(strings.TrimSuffix(out, filepath.Ext(out)), overwrite)
			for _, name := range names {
				fmt.Fprintf(streams.Out, "Wrote %s\n", name)
			}
			return err
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&out, "out", "", "`file` to write; default: report.html in the adapter's folder")
		f.BoolVar(&pictures, "png", false, "also write its charts as pictures beside it")
		f.BoolVar(&overwrite, "overwrite", false, "replace files of these names that are no reports")
	})
	return cmd
}

// pageOf is the report on the run in a folder.
func pageOf(folder string) (*report.Page, error) {
	r, err := report.Load(folder)
	if err != nil {
		return nil, err
	}
	return &report.Page{Run: r, Commands: nextCommands(r)}, nil
}

// nextCommands are those that go on from a run, as they work when they are typed.
func nextCommands(r *report.Run) []report.Command {
	at := fmt.Sprintf(" --model %s --adapter-path %s", quoted(r.Manifest.Model), quoted(r.Folder))
	return []report.Command{
		{What: "Measure it", Line: program() + " eval" + at + " --questions questions.jsonl"},
		{What: "Ask it", Line: program() + " chat" + at},
		{What: "Fuse it", Line: program() + " fuse" + at + " --save-path " + quoted(filepath.Clean(r.Folder)+"-fused")},
	}
}

// quoted writes an argument for a shell.
func quoted(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n\"'\\$&;|<>*?()[]{}~#!`") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// writeReport writes the page of a run that has ended. What stands in its way is no reason to fail.
func writeReport(streams Streams, folder string) {
	p, err := pageOf(folder)
	if err == nil {
		err = p.Write(filepath.Join(folder, report.PageName), false)
	}
	if err != nil {
		fmt.Fprintf(streams.Err, "Warning: the run has no report: %s\n", fault.Text(err, flagName))
	}
}

// sayWhatNext ends a training with the commands that go on from it.
func sayWhatNext(streams Streams, folder string) {
	p, err := pageOf(folder)
	if err != nil {
		return // writeReport has told why
	}
	for _, c := range append([]report.Command{{What: "Look at it", Line: filepath.Join(folder, report.PageName)}}, p.Commands...) {
		fmt.Fprintf(streams.Out, "%-12s%s\n", c.What+":", c.Line)
	}
}

// noteFused logs what fusing left of an adapter's update where the adapter has a log, for its report. A folder that cannot be written to
// loses a line of the report, no more.
func noteFused(adapterPath string, r export.FuseReport) {
	if _, err := run.ReadManifest(adapterPath); err != nil {
		return
	}
	folder, err := run.OpenFolder(adapterPath)
	if err != nil {
		return
	}
	defer folder.Close()
	event := run.Fused{Path: r.Path, Survival: r.Survival}
	if worst, ok := r.Worst(); ok {
		event.Worst, event.WorstSurvival = worst.Module, worst.Survival
	}
	folder.Report(event)
}

func newRuns(streams Streams) *cobra.Command {
	var out, jsonPath string
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "runs ADAPTER ADAPTER...",
		Short: "Compare runs: settings that differ, losses, answers",
		Long: `Put runs side by side: the settings that differ, their losses, and the scores of
their evaluations. --out writes a page with their curves over each other.`,
		Example: `  lentil runs ./adapters ./adapters-rank16
  lentil runs ./a ./b ./c --out runs.html`,
		GroupID: groupTrain,
		Args:    folderArguments(2, 64),
		RunE: func(_ *cobra.Command, args []string) error {
			var runs []*report.Run
			for _, folder := range args {
				r, err := report.Load(folder)
				if err != nil {
					return err
				}
				runs = append(runs, r)
			}
			c := report.Compare(runs)
			printRuns(streams, c)
			if err := writeFigures(jsonPath, map[string]any{"folders": args, "rows": c.Rows}); err != nil || out == "" {
				return err
			}
			return c.Write(out, overwrite)
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&out, "out", "", "also write a page to this `file`")
		f.BoolVar(&overwrite, "overwrite", false, "replace a file of that name that is no report")
		f.StringVar(&jsonPath, "json", "", "also write the table to this `file`")
	})
	return cmd
}

// printRuns prints the table of a comparison.
func printRuns(streams Streams, c *report.Comparison) {
	const widest = 40
	rows := [][]string{{""}}
	for _, r := range c.Runs {
		rows[0] = append(rows[0], r.Name())
	}
	for _, row := range c.Rows {
		rows = append(rows, append([]string{row.Name}, row.Values...))
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			if len([]rune(cell)) > widest {
				row[i] = string([]rune(cell)[:widest-1]) + "…"
			}
			width[i] = max(width[i], len([]rune(row[i])))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", width[i]-len([]rune(cell))+2)
		}
		fmt.Fprintln(streams.Out, strings.TrimRight(line, " "))
	}
}

func newWatch(streams Streams) *cobra.Command {
	port := 0
	cmd := &cobra.Command{
		Use:   "watch ADAPTER",
		Short: "Show a run in the browser while it goes on",
		Long: `Serve the report of a run on this machine, and bring it up to date as the run goes
on. Nothing but this machine can read it. Ctrl-C ends it; the run does not notice.`,
		Example: `  lentil watch ./adapters
  lentil watch ./adapters --port 8090`,
		GroupID: groupTrain,
		Args:    folderArguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if port < 0 || port > 65535 {
				return fault.Value("port", port, "0 to 65535")
			}
			return watch(cmd.Context(), streams, args[0], port)
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.IntVar(&port, "port", port, "`port` to serve on; 0 takes a free one")
	})
	return cmd
}

func watch(ctx context.Context, streams Streams, folder string, port int) error {
	if _, err := pageOf(folder); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fault.Given("port", port, "%w", err).Try("Give another one, or 0 for one that is free.")
	}
	fmt.Fprintf(streams.Out, "The report on %s is at http://%s (Ctrl-C ends this, not the run)\n", folder, listener.Addr())
	const headerTime = 10 * time.Second
	server := &http.Server{
		Handler: &report.Watch{Folder: folder, Page: func() (*report.Page, error) { return pageOf(folder) }}, ReadHeaderTimeout: headerTime,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
