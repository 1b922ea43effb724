package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lentil-lm/lentil/run/screen"
)

// built tells a program that `go run` has built, in a folder of its own or in Go's cache, from an installed one.
var built = regexp.MustCompile(`/go-build[^/]*/b\d+/exe/[^/]+$|/[0-9a-f]{2}/[0-9a-f]{64}-d/[^/]+$`)

// program is how the user began this program: what printed commands begin with.
func program() string {
	path, err := os.Executable()
	if err != nil {
		return "lentil"
	}
	return programAt(path)
}

func programAt(path string) string {
	const source = "cmd/lentil"
	switch {
	case !built.MatchString(filepath.ToSlash(path)):
		return "lentil"
	case isFile(filepath.Join(source, "main.go")):
		return "go run ./" + source
	}
	return "go run github.com/lentil-lm/lentil/" + source
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// typed writes the commands in a text, such as "lentil login", as this user types them.
func typed(text string) string { return typedAs(text, program()) }

func typedAs(text, program string) string {
	if program == "lentil" || !strings.Contains(text, "lentil ") {
		return text
	}
	// The program's name with a command, a placeholder for one, or a flag behind it.
	command := regexp.MustCompile("(^|[\\s`(])lentil (" + strings.Join(commandNames(), "|") + "|[A-Z]|--|\\[)")
	return command.ReplaceAllString(text, "${1}"+program+" $2")
}

func commandNames() []string {
	names := []string{"help", "completion"}
	for _, c := range commands(Streams{}) {
		names = append(names, regexp.QuoteMeta(c.Name()))
		names = append(names, c.Aliases...)
	}
	return names
}

// typedHelp writes the help of a command, with commands as this user types them.
func typedHelp(w io.Writer, help func(*cobra.Command, []string), cmd *cobra.Command, args []string) {
	var text strings.Builder
	cmd.SetOut(&text)
	help(cmd, args)
	cmd.SetOut(w)
	lines := strings.SplitAfter(typed(text.String()), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, " ") { // what is indented is a table or to be copied
			lines[i] = screen.Wrap(line, helpColumns())
		}
	}
	io.WriteString(w, strings.Join(lines, "")) // there is nobody to tell
}
