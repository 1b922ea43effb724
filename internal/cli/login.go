package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
)

func newLogin(streams Streams) *cobra.Command {
	var token string
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Keep a token of the hub, for private models and uploads",
		Long: `Ask for a token of the Hugging Face hub, try it, and keep it where all its tools find
it: in HF_TOKEN_PATH, or in the file token in HF_HOME. A piped token is read from
standard input.`,
		Example: "  lentil login\n  lentil login < token.txt",
		GroupID: groupUse,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&token, "token", "", "the `token`, instead of asking for it; others can see it in the list of processes")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return login(cmd.Context(), streams, token)
	}
	return cmd
}

func login(ctx context.Context, streams Streams, token string) error {
	client, err := newHub(streams, "")
	if err != nil {
		return err
	}
	cfg := client.Config()
	if token == "" {
		if token, err = askToken(streams, cfg.Endpoint); err != nil {
			return err
		}
	}
	account, err := client.Login(ctx, token)
	if err != nil {
		return hub.Mark(err)
	}
	fmt.Fprintf(streams.Out, "Logged in as %s. The token is kept in %s.\n", account.Name, cfg.TokenPath)
	if !account.CanWrite {
		fmt.Fprintln(streams.Err, "This token is for reading only: uploads need one that may write.")
	}
	if os.Getenv("HF_TOKEN") != "" {
		fmt.Fprintln(streams.Err, "HF_TOKEN is set and comes before the token that was just kept.")
	}
	return nil
}

// askToken reads a token from standard input, without showing it if that is a terminal.
func askToken(streams Streams, endpoint string) (string, error) {
	if file, ok := streams.In.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprintf(streams.Err, "Make a token at %s/settings/tokens and put it in here (it is not shown): ", endpoint)
		token, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(streams.Err)
		return string(token), err
	}
	line, err := bufio.NewReader(io.LimitReader(streams.In, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line == "" {
		return "", fault.Of("there is no token on standard input").Try("Run lentil login in a terminal, or give --token.")
	}
	return line, nil
}
