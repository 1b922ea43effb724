package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/profile"
)

// newProfile is the group of commands about profiles.
func newProfile(streams Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "Check profiles of what people eat, and texts against them",
		Long: `A profile is a file (YAML or JSON) with what a person does and does not eat: diets,
allergies, goals, dislikes. generate, chat, serve, eval and dataset make take one with
--profile; docs/profiles.md tells what is in it. ` + profile.NoAdvice,
		Example: `  lentil profile check anna.yaml
  lentil profile check anna.yaml answers.txt
  lentil profile show anna.yaml
  lentil profile foods tahini`,
		GroupID: groupInspect,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	check := &cobra.Command{
		Use:   "check FILE [TEXT]",
		Short: "Check a profile, or a text file against it",
		Long: `Check that a profile can be read. With a text file, or - for standard input, list the
foods in it that break the profile; exit code 1 means that there are some.`,
		Example: `  lentil profile check anna.yaml
  lentil generate --model ./model --prompt "A cake, please" --verbose False | lentil profile check anna.yaml -`,
		Args: between(1, 2, "a profile, and maybe a text"),
		RunE: func(_ *cobra.Command, args []string) error { return runProfileCheck(streams, args) },
	}
	show := &cobra.Command{
		Use:     "show FILE",
		Short:   "Show a profile as models are told it",
		Long:    `Show the text that models are told of a profile, the same in training and in serving.`,
		Example: `  lentil profile show anna.yaml`,
		Args:    between(1, 1, "one profile"),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := profile.Read(args[0])
			if err != nil {
				return fault.Mark(err)
			}
			_, err = fmt.Fprintln(streams.Out, p.Render())
			return err
		},
	}
	foods := &cobra.Command{
		Use:   "foods [WORD]",
		Short: "List the foods that the scanner knows, with what they break",
		Long: `List the entries of the lexicon: food, other names of it, the rules that it breaks, and
how that is known. With a word, those that have it in one of their names.`,
		Example: `  lentil profile foods tahini
  lentil profile foods | wc -l`,
		Args: between(0, 1, "one word at most"),
		RunE: func(_ *cobra.Command, args []string) error {
			return listFoods(streams.Out, strings.ToLower(strings.Join(args, "")))
		},
	}
	cmd.AddCommand(check, show, foods)
	return cmd
}

// between wants so many arguments.
func between(least, most int, wanted string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fault.Of("found %d arguments, expected %s", len(args), wanted).Try("See: %s --help", cmd.CommandPath())
		}
		return nil
	}
}

// maxScanned is the largest text that check reads, in bytes.
const maxScanned = 64 << 20

func runProfileCheck(streams Streams, args []string) error {
	p, err := profile.Read(args[0])
	if err != nil {
		return fault.Mark(err)
	}
	if len(args) == 1 {
		fmt.Fprintf(streams.Out, "%s is a profile: %s\n", p.ID, summary(p))
		if own := p.Literal(); len(own) > 0 {
			fmt.Fprintf(streams.Out, "Looked for by that name alone, not by its kinds or what is made of it: %s\n", strings.Join(own, ", "))
		}
		_, err := fmt.Fprintln(streams.Out, p.Notice())
		return err
	}
	var text []byte
	if args[1] == "-" {
		text, err = io.ReadAll(io.LimitReader(streams.In, maxScanned+1))
		if err == nil && len(text) > maxScanned {
			err = fault.Of("standard input: more than %d bytes", maxScanned).Try("Give it in parts.")
		}
	} else {
		text, err = smallfile.ReadAny(args[1], maxScanned)
	}
	if err != nil {
		return fault.Mark(err)
	}
	hits := p.Scan(string(text))
	line, begin, at := 1, 0, 0
	for _, h := range hits {
		between := text[at:h.Start]
		line += bytes.Count(between, []byte("\n"))
		if i := bytes.LastIndexByte(between, '\n'); i >= 0 {
			begin = at + i + 1
		}
		at = h.Start
		fmt.Fprintf(streams.Out, "%s:%d:%d: %s\n", args[1], line, h.Start-begin+1, sayHit(h))
	}
	if len(hits) > 0 {
		return fmt.Errorf("%w: %d foods break the profile", errSaid, len(hits))
	}
	_, err = fmt.Fprintf(streams.Out, "Nothing in it breaks %s, as far as the scanner can tell. %s\n", p.ID, p.Notice())
	return err
}

// summary tells a profile in a line.
func summary(p *profile.Profile) string {
	var parts []string
	for _, a := range p.Avoid {
		parts = append(parts, fmt.Sprintf("%s (%s)", a, p.SeverityOf(a)))
	}
	parts = append(parts, p.Diet...)
	for _, d := range p.Dislikes {
		parts = append(parts, fmt.Sprintf("%s (dislike)", d))
	}
	if len(parts) == 0 {
		return "it avoids nothing"
	}
	return strings.Join(parts, ", ")
}

// sayHit tells a hit in a few words.
func sayHit(h profile.Hit) string {
	if strings.EqualFold(h.Text, string(h.Rule)) {
		return fmt.Sprintf("%q (%s)", h.Text, h.Severity)
	}
	return fmt.Sprintf("%q breaks %s (%s)", h.Text, h.Rule, h.Severity)
}

func listFoods(out io.Writer, word string) error {
	n := 0
	for _, f := range profile.Foods() {
		if !strings.Contains(f.Name, word) && !slices.ContainsFunc(f.Synonyms, func(s string) bool { return strings.Contains(s, word) }) {
			continue
		}
		n++
		name := f.Name
		if len(f.Synonyms) > 0 {
			name += " (" + strings.Join(f.Synonyms, ", ") + ")"
		}
		rules := make([]string, len(f.Rules))
		for i, r := range f.Rules {
			rules[i] = string(r)
		}
		if _, err := fmt.Fprintf(out, "%s: %s; %s\n", name, strings.Join(rules, ", "), f.Source); err != nil {
			return err
		}
	}
	if n == 0 {
		return fault.Of("no food has %q in its name", word)
	}
	return nil
}

// profileFlag is the flag of commands that ask a model for one person.
type profileFlag struct {
	path string
	*profile.Profile
}

func (p *profileFlag) declare(f *pflag.FlagSet) {
	f.StringVar(&p.path, "profile", "", "`file` of a profile, which the model is told and answers are\nscanned for (see lentil profile)")
}

// read reads the file, if there is one.
func (p *profileFlag) read() (err error) {
	if p.path == "" {
		return nil
	}
	if p.Profile, err = profile.Read(p.path); err != nil {
		return fault.At("profile", "%w", err)
	}
	return nil
}

// hits scans an answer.
func (p *profileFlag) hits(text string) []profile.Hit {
	if p.Profile == nil {
		return nil
	}
	return p.Scan(text)
}

// tellHits says which foods of an answer break a profile, each once.
func tellHits(out io.Writer, id string, hits []profile.Hit) {
	seen := map[string]bool{}
	for _, h := range hits {
		said := sayHit(h)
		if !seen[said] {
			seen[said] = true
			fmt.Fprintf(out, "Not for %s: %s\n", id, said)
		}
	}
}
