package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
)

// normalize rewrites a command line from argparse's habits to pflag's: beginnings of long flags become
// whole flags, short forms of several letters become long ones, and a flag that takes several values is
// repeated for each. Mistyped commands and flags are caught here, with a suggestion.
func normalize(root *cobra.Command, args []string) ([]string, error) {
	if len(args) == 0 || strings.HasPrefix(args[0], "__complete") {
		return args, nil
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	if completion := subcommand(root, "completion"); completion != nil {
		for _, shell := range completion.Commands() {
			shell.Args = noArguments
		}
	}
	cmd, at := root, 0
	for at < len(args) && !strings.HasPrefix(args[at], "-") {
		next := subcommand(cmd, args[at])
		if next == nil {
			break
		}
		cmd, at = next, at+1
	}
	if cmd.Name() == "help" {
		return args, knowsTopic(root, args[at:])
	}
	if cmd.HasSubCommands() && at < len(args) && !strings.HasPrefix(args[at], "-") {
		return nil, unknownCommand(cmd, args[at])
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	rest, err := expand(cmd, args[at:])
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(args[:at]), rest...), nil
}

func subcommand(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name || c.HasAlias(name) {
			return c
		}
	}
	return nil
}

// knowsTopic refuses the name of a command that there is none of, to explain.
func knowsTopic(cmd *cobra.Command, names []string) error {
	for _, name := range names {
		next := subcommand(cmd, name)
		if next == nil && !strings.HasPrefix(name, "-") {
			return unknownCommand(cmd, name)
		}
		if next != nil {
			cmd = next
		}
	}
	return nil
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	remedy := "See: " + cmd.CommandPath() + " --help"
	if near := fault.Nearest(name, names); near != "" {
		remedy = "Did you mean: " + cmd.CommandPath() + " " + near
	}
	return fault.Of("unknown command %q", name).Try("%s", remedy)
}

// expand rewrites the flags that follow a command's name.
func expand(cmd *cobra.Command, args []string) ([]string, error) {
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(out, args[i:]...), nil
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			out = append(out, arg)
			continue
		}
		flag, text, hasValue, err := findFlag(cmd, arg)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
		if flag == nil || hasValue || flag.NoOptDefVal != "" {
			continue
		}
		if i+1 < len(args) {
			i++
			out = append(out, args[i])
		}
		for many := annotation(flag, manyKey) != ""; many && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"); {
			i++
			out = append(out, "--"+flag.Name, args[i])
		}
	}
	return out, nil
}

// findFlag finds the flag that arg begins, and gives arg with the flag's whole name. For a cluster of
// one-letter flags, the flag is nil unless the last one waits for a value.
func findFlag(cmd *cobra.Command, arg string) (flag *pflag.Flag, text string, hasValue bool, err error) {
	name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if !strings.HasPrefix(arg, "--") {
		return findShort(cmd, arg, name, value, hasValue)
	}
	flag, err = longFlag(cmd, name)
	if err != nil {
		return nil, "", false, err
	}
	text = "--" + flag.Name
	if hasValue {
		text += "=" + value
	}
	return flag, text, hasValue, nil
}

func findShort(cmd *cobra.Command, arg, name, value string, hasValue bool) (*pflag.Flag, string, bool, error) {
	var flag *pflag.Flag
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if annotation(f, shortKey) == name {
			flag = f
		}
	})
	if flag != nil {
		text := "--" + flag.Name
		if hasValue {
			text += "=" + value
		}
		return flag, text, hasValue, nil
	}
	for i := 0; i < len(name); i++ {
		f := cmd.Flags().ShorthandLookup(name[i : i+1])
		switch {
		case f == nil:
			return nil, "", false, fault.Of("unknown flag -%s", name[i:]).Try("See: %s --help", cmd.CommandPath())
		case f.NoOptDefVal == "":
			return f, arg, i+1 < len(name) || hasValue, nil
		}
	}
	return nil, arg, hasValue, nil
}

// longFlag finds the flag whose name is, or alone begins with, name.
func longFlag(cmd *cobra.Command, name string) (*pflag.Flag, error) {
	if f := cmd.Flags().Lookup(name); f != nil {
		return f, nil
	}
	var names []string
	var matches []*pflag.Flag
	wanted := strings.ReplaceAll(name, "_", "-")
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		names = append(names, f.Name)
		if wanted != "" && strings.HasPrefix(f.Name, wanted) {
			matches = append(matches, f)
		}
	})
	switch len(matches) {
	case 1:
		return matches[0], nil
	case 0:
		remedy := "See: " + cmd.CommandPath() + " --help"
		if other, ok := otherNames[wanted]; ok && cmd.Flags().Lookup(other.flag) != nil {
			if other.flag == "epochs" {
				return cmd.Flags().Lookup(other.flag), nil // its own error tells more
			}
			remedy = "It is --" + other.flag + " here" + other.how + "."
		} else if near := fault.Nearest(wanted, names); near != "" {
			remedy = "Did you mean: --" + near
		}
		return nil, fault.Of("unknown flag --%s", name).Try("%s", remedy)
	}
	could := make([]string, len(matches))
	for i, f := range matches {
		could[i] = "--" + f.Name
	}
	return nil, fault.Of("--%s could be %s", name, strings.Join(could, " or ")).Try("Write more of it.")
}
