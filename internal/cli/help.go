package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/run/screen"
)

func init() {
	cobra.AddTemplateFunc("flagGroups", flagGroups)
}

// helpWidth is where the descriptions of flags are wrapped, on terminals that are so wide.
const helpWidth = 100

func helpColumns() int {
	if width := screen.Width(os.Stdout); width > 0 {
		return min(helpWidth, width-1)
	}
	return helpWidth
}

// usageTemplate lays out --help: cobra's, with examples first and the flags in groups.
const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND [flags]{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{if not .AllChildCommandsHaveGroup}}

Commands:{{range $cmds}}{{if (and (eq .GroupID "") .IsAvailableCommand)}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{range flagGroups .}}

{{.}}{{end}}{{if .HasAvailableSubCommands}}

Use "{{.CommandPath}} COMMAND --help" for more about a command.{{end}}{{if .HasParent}}

Exit status: 0 done, 1 failure, 2 a mistake in the command or its input, 130 interrupted.{{end}}
`

// groupKey marks the help group of a flag; flags without one come last.
const groupKey = "lentil.group"

// manyKey marks a flag that takes all values up to the next flag (argparse's nargs="+").
const manyKey = "lentil.many"

// shortKey holds a short form of more than one letter, such as "qa".
const shortKey = "lentil.short"

// ignoredKey holds why a flag of mlx-lm's changes nothing here.
const ignoredKey = "lentil.ignored"

// ignore marks a flag that is accepted for the sake of mlx-lm's command lines.
func ignore(f *pflag.Flag, why string) {
	f.Usage = "accepted for mlx-lm's sake; " + why
	annotate(f, ignoredKey, why)
}

// tellIgnored says which flags of the command line change nothing.
func tellIgnored(cmd *cobra.Command, w io.Writer) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if why := annotation(f, ignoredKey); why != "" {
			fmt.Fprintf(w, "Note: --%s changes nothing: %s.\n", f.Name, why)
		}
	})
}

// noRemoteCode is why --trust-remote-code changes nothing.
const noRemoteCode = "Lentil never runs code from a model folder"

// group adds the flags that declare makes to cmd, under a title in the help.
func group(cmd *cobra.Command, title string, declare func(*pflag.FlagSet)) {
	flags := pflag.NewFlagSet(title, pflag.ContinueOnError)
	flags.SortFlags = false
	declare(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		annotate(f, groupKey, title)
		cmd.Flags().AddFlag(f)
	})
	cmd.Flags().SortFlags = false
}

func annotate(f *pflag.Flag, key, value string) {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[key] = []string{value}
}

func annotation(f *pflag.Flag, key string) string {
	if values := f.Annotations[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// flagGroups gives the help text of each group of flags, in order of declaration.
func flagGroups(cmd *cobra.Command) []string {
	var titles []string
	sets := map[string]*pflag.FlagSet{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		title := annotation(f, groupKey)
		if sets[title] == nil {
			sets[title] = pflag.NewFlagSet(title, pflag.ContinueOnError)
			sets[title].SortFlags = false
			if title != "" {
				titles = append(titles, title)
			}
		}
		usage := *f
		usage.Usage = strings.ReplaceAll(f.Usage, "\n", " ") // one break a line, the wrapping's
		sets[title].AddFlag(&usage)
	})
	if sets[""] != nil {
		titles = append(titles, "")
	}
	var out []string
	for _, title := range titles {
		text := strings.TrimRight(sets[title].FlagUsagesWrapped(helpColumns()), "\n")
		if title == "" {
			title = "Other flags"
			if len(titles) == 1 {
				title = "Flags"
			}
		}
		out = append(out, title+":\n"+text)
	}
	return out
}
