package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// ManifestName is the file name of the manifest in a run folder.
const ManifestName = "run.json"

// maxManifestBytes bounds what ReadManifest reads.
const maxManifestBytes = 16 << 20

// A Manifest tells how a run was made.
type Manifest struct {
	Version  string         `json:"version"` // of Lentil
	Command  []string       `json:"command"` // the command line, without secrets
	Started  time.Time      `json:"started"`
	Machine  string         `json:"machine,omitempty"` // that it was made on
	Model    string         `json:"model"`
	Data     []DataFile     `json:"data"`
	Settings map[string]any `json:"settings"`
	Best     *BestSaved     `json:"best,omitempty"` // of the validations, whose weights are kept
}

// A DataFile names one file that a run read.
type DataFile struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	// Splits are those with rows of the file: train, valid, test.
	Splits []string `json:"splits,omitempty"`
}

// Folder is a run folder that this process alone writes to, from [OpenFolder] to Close.
// It is a Reporter: events go to the log.
type Folder struct {
	dir  string
	lock *lock
	log  *eventLog
}

// OpenFolder makes dir if need be, takes its lock and opens its event log. While another process has
// the folder open, the error is a *LockedError that names it.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	held, err := takeLock(filepath.Join(dir, "run.lock"))
	if err != nil {
		return nil, err
	}
	log, err := openLog(filepath.Join(dir, LogName))
	if err != nil {
		return nil, errors.Join(err, held.release())
	}
	return &Folder{dir: dir, lock: held, log: log}, nil
}

// Report appends the event to the log. A failed write (disk full) does not stop the run: Close tells of it.
func (f *Folder) Report(e Event) { f.log.Report(e) }

// Path is the path of the named file in the folder.
func (f *Folder) Path(name string) string { return filepath.Join(f.dir, name) }

// WriteManifest writes run.json, replacing an earlier one in one step.
// Secrets are taken out of the command line first.
func (f *Folder) WriteManifest(m Manifest) error {
	text, err := m.Text()
	if err != nil {
		return err
	}
	return atomicfile.Write(f.Path(ManifestName), text)
}

// Text is the manifest as run.json has it, without secrets in its command line.
func (m Manifest) Text() ([]byte, error) {
	m.Command = Redact(m.Command)
	text, err := json.MarshalIndent(m, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ManifestName, err)
	}
	return append(text, '\n'), nil
}

// Close closes the log and gives the folder free.
func (f *Folder) Close() error {
	return errors.Join(f.log.Close(), f.lock.release())
}

// ReadManifest reads the manifest of a run folder.
func ReadManifest(dir string) (Manifest, error) {
	path := filepath.Join(dir, ManifestName)
	text, err := smallfile.Read(path, maxManifestBytes)
	if err != nil {
		return Manifest{}, err
	}
	var m Manifest
	err = jsonpos.Error(path, text, json.Unmarshal(text, &m))
	return m, err
}

// HashFile gives the size and SHA-256 of a file.
func HashFile(path string) (DataFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return DataFile{}, err
	}
	defer file.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, file)
	if err != nil {
		return DataFile{}, fmt.Errorf("%s: %w", path, err)
	}
	return DataFile{Path: path, Bytes: n, SHA256: hex.EncodeToString(hash.Sum(nil))}, nil
}

// Redact copies a command line without its secrets: the values of flags whose name tells of a token, key,
// password or secret, values that look like access tokens, and passwords in URLs.
func Redact(args []string) []string {
	out := make([]string, len(args))
	hideNext := false
	for i, arg := range args {
		name, value, hasValue := strings.Cut(arg, "=")
		isFlag := strings.HasPrefix(arg, "-") && secretFlag(name)
		switch {
		case hideNext:
			out[i] = "***"
		case isFlag && hasValue:
			out[i] = name + "=***"
		case hasValue && strings.HasPrefix(arg, "-"):
			out[i] = name + "=" + redactValue(value)
		default:
			out[i] = redactValue(arg)
		}
		hideNext = isFlag && !hasValue && !hideNext
	}
	return out
}

// secretFlag tells whether the flag's last words name a secret: --hf-token, --api-key, but not
// --max-tokens or --eos-token, which hold no secret.
func secretFlag(flag string) bool {
	name := strings.ToLower(strings.ReplaceAll(strings.TrimLeft(flag, "-"), "_", "-"))
	if strings.HasSuffix(name, "eos-token") {
		return false
	}
	for _, word := range []string{"token", "api-key", "apikey", "password", "passwd", "secret"} {
		if name == word || strings.HasSuffix(name, "-"+word) {
			return true
		}
	}
	return false
}

func redactValue(value string) string {
	if strings.HasPrefix(value, "hf_") || strings.HasPrefix(value, "sk-") {
		return "***"
	}
	scheme, rest, ok := strings.Cut(value, "://")
	if !ok {
		return value
	}
	authority, path, _ := strings.Cut(rest, "/")
	if user, host, ok := strings.Cut(authority, "@"); ok && user != "" {
		return scheme + "://***@" + strings.TrimSuffix(host+"/"+path, "/")
	}
	return value
}
