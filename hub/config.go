package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// defaultEndpoint is where repositories are looked for unless HF_ENDPOINT says otherwise.
const defaultEndpoint = "https://huggingface.co"

// Config is where the hub is, where things are kept, and how patient to be.
type Config struct {
	Endpoint  string // without a slash at the end
	Cache     string // folder of the cached repositories
	TokenPath string // file of the token that [Client.Login] writes
	Token     string // sent to Endpoint; empty: none
	Offline   bool   // use the cache only

	// TokenError is why the token that is set cannot be used. It stops only what needs one.
	TokenError error

	// NoSymlinks makes snapshots of plain files, for file systems without symbolic links.
	NoSymlinks bool

	Quiet   bool          // show no progress bars
	Timeout time.Duration // longest silence of a server before a request is tried again

	// Notice hears what is waited for when that takes long, if it is not nil: a silent or slow server, or one that asks to
	// come back later. Downloads and uploads whose progress is heard tell it there.
	Notice func(text string) `json:"-"`
}

// FromEnv reads the settings that the Hugging Face tools take from the environment: HF_ENDPOINT, HF_HOME,
// HF_HUB_CACHE (formerly HUGGINGFACE_HUB_CACHE), HF_TOKEN (HUGGING_FACE_HUB_TOKEN), HF_TOKEN_PATH,
// HF_HUB_OFFLINE (TRANSFORMERS_OFFLINE), HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_DISABLE_SYMLINKS,
// HF_HUB_DISABLE_PROGRESS_BARS, HF_HUB_DOWNLOAD_TIMEOUT and XDG_CACHE_HOME. Without HF_TOKEN, the token is read from the token file.
func FromEnv() (Config, error) {
	home, err := hubHome()
	if err != nil {
		return Config{}, err
	}
	c := Config{
		Endpoint:   strings.TrimRight(firstEnv(defaultEndpoint, "HF_ENDPOINT"), "/"),
		Cache:      expand(firstEnv(filepath.Join(home, "hub"), "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")),
		TokenPath:  expand(firstEnv(filepath.Join(home, "token"), "HF_TOKEN_PATH")),
		Offline:    isTrue(firstEnv("", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
		NoSymlinks: isTrue(os.Getenv("HF_HUB_DISABLE_SYMLINKS")),
		Quiet:      isTrue(os.Getenv("HF_HUB_DISABLE_PROGRESS_BARS")),
		Timeout:    10 * time.Second,
	}
	if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return Config{}, fault.Of("HF_ENDPOINT is not an http or https address").Try("Set it to something like %s, or unset it.", defaultEndpoint)
	}
	if text := os.Getenv("HF_HUB_DOWNLOAD_TIMEOUT"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			return Config{}, fmt.Errorf("HF_HUB_DOWNLOAD_TIMEOUT=%q is not a number of seconds", text)
		}
		c.Timeout = time.Duration(n) * time.Second
	}
	if c.Cache, err = filepath.Abs(c.Cache); err != nil {
		return Config{}, err
	}
	if isTrue(os.Getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return c, nil
	}
	c.Token, c.TokenError = findToken(c.TokenPath)
	return c, nil
}

// hubHome is HF_HOME: the folder of everything the Hugging Face tools keep.
func hubHome() (string, error) {
	if home := os.Getenv("HF_HOME"); home != "" {
		return expand(home), nil
	}
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(expand(cache), "huggingface"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fault.Of("cannot tell where the model cache is: %w", err).Try("Set HF_HOME to a folder.")
	}
	return filepath.Join(home, ".cache", "huggingface"), nil
}

// findToken gives the token of the environment, else of the token file, else "".
func findToken(path string) (string, error) {
	token := firstEnv("", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
	from := "HF_TOKEN"
	if token == "" {
		from = path
		text, err := smallfile.ReadAny(path, maxTokens)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", &tokenError{fault.Of("the token file cannot be read: %w", err).Try("Log in again with lentil login, or set HF_TOKEN.")}
		}
		token = string(text)
	}
	return cleanToken(token, from)
}

// cleanToken takes line ends and spaces off a token. What cannot be sent in a header is refused, without
// repeating it.
func cleanToken(token, from string) (string, error) {
	token = strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(token))
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", &tokenError{fault.Of("the token in %s has characters that a token cannot have", from).Try("Log in again with lentil login, or set HF_TOKEN anew.")}
		}
	}
	return token, nil
}

func firstEnv(fallback string, names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return fallback
}

// isTrue reads a switch as the Python tools do.
func isTrue(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// expand replaces a leading ~ and $VARIABLES in a path.
func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if home, err := os.UserHomeDir(); err == nil {
			path = home + rest
		}
	}
	return os.ExpandEnv(path)
}
