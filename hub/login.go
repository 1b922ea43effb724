package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// ErrNoToken says that there is no token for something that needs one.
var ErrNoToken error = fault.Of("this needs a token").Try("Log in: lentil login, or set HF_TOKEN.")

// A tokenError is about a token that cannot be used, which is as good as none.
type tokenError struct{ error }

func (e *tokenError) Unwrap() error        { return e.error }
func (e *tokenError) Is(target error) bool { return target == ErrNoToken }

// needToken tells what is wrong if there is no token.
func (c *Client) needToken() error {
	if c.cfg.Token != "" {
		return nil
	}
	return cmp.Or(c.cfg.TokenError, ErrNoToken)
}

// An Account is whom a token belongs to.
type Account struct {
	Name      string // user
	TokenName string // as its owner called it; may be empty
	CanWrite  bool   // as far as the hub says
}

// WhoAmI asks whom the client's token belongs to.
func (c *Client) WhoAmI(ctx context.Context) (_ Account, err error) {
	defer func() { err = c.withoutToken(err) }()
	if err := c.needToken(); err != nil {
		return Account{}, err
	}
	var info struct {
		Name string `json:"name"`
		Auth struct {
			AccessToken struct {
				DisplayName string `json:"displayName"`
				Role        string `json:"role"`
			} `json:"accessToken"`
		} `json:"auth"`
	}
	_, err = c.call(ctx, request{method: http.MethodGet, url: c.cfg.Endpoint + "/api/whoami-v2"}, &info)
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusUnauthorized {
		return Account{}, fault.Of("%s does not know this token: %w", c.cfg.Endpoint, ErrDenied).Try("Make one at %s/settings/tokens", c.cfg.Endpoint)
	}
	if err != nil {
		return Account{}, err
	}
	if !namePattern.MatchString(info.Name) {
		return Account{}, fault.Advise(fmt.Errorf("%s/api/whoami-v2: the answer names nobody", c.cfg.Endpoint), "Is HF_ENDPOINT right?")
	}
	token := info.Auth.AccessToken
	return Account{info.Name, c.oneLine(token.DisplayName), token.Role != "read"}, nil
}

// Owned adds the owner of the token to a repository's name that has none.
func (c *Client) Owned(ctx context.Context, repo Repo) (Repo, error) {
	if strings.Contains(repo.ID, "/") {
		return repo, nil
	}
	account, err := c.WhoAmI(ctx)
	return Repo{repo.Type, account.Name + "/" + repo.ID}, err
}

// Login asks the hub whether a token is good, and keeps it in the token file and, under its name, among the
// stored tokens, where all Hugging Face tools find it. Others on this machine cannot read it.
func (c *Client) Login(ctx context.Context, token string) (Account, error) {
	token, err := cleanToken(token, "your input")
	if err != nil {
		return Account{}, err
	}
	cfg := c.cfg
	cfg.Token, cfg.TokenError = token, nil
	with, err := New(cfg)
	if err != nil {
		return Account{}, err
	}
	with.firstWait = c.firstWait
	account, err := with.WhoAmI(ctx)
	if err != nil {
		return Account{}, err
	}
	folder := filepath.Dir(c.cfg.TokenPath)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Account{}, err
	}
	if account.TokenName != "" {
		if err := storeToken(filepath.Join(folder, "stored_tokens"), account.TokenName, token); err != nil {
			return Account{}, err
		}
	}
	return account, private.Write(c.cfg.TokenPath, []byte(token))
}

// maxTokens is how long a file of tokens may be.
const maxTokens = 1 << 20

// private files are for their owner's eyes only.
var private = atomicfile.Options{Perm: 0o600}

// storeToken puts a token into the INI file of tokens, in the place of one of the same name. Other tokens stay as
// they are.
func storeToken(path, name, token string) error {
	old, err := smallfile.Read(path, maxTokens)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var b strings.Builder
	skip := false
	for line := range strings.Lines(string(old)) {
		if strings.HasPrefix(line, "[") {
			skip = strings.TrimSpace(line) == "["+name+"]"
		}
		if !skip {
			b.WriteString(line)
		}
	}
	text := strings.TrimRight(b.String(), "\n")
	if text != "" {
		text += "\n\n"
	}
	text += fmt.Sprintf("[%s]\nhf_token = %s\n\n", strings.NewReplacer("[", "", "]", "").Replace(name), token)
	return private.Write(path, []byte(text))
}
