package eval

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/filelock"
)

// AnswersName is the file of answers in the folder of an evaluation.
const AnswersName = "answers.jsonl"

// Bounds of what is read of a file of answers.
const (
	maxAnswerLine = 4 << 20
	maxAnswers    = 4 << 30
)

// kept is one line of a file of answers.
type kept struct {
	By          string    `json:"lentil_answer_by"` // the key of weights, adapter and settings
	Question    string    `json:"question"`         // its key
	Answer      string    `json:"answer"`
	Likelihoods []float64 `json:"likelihoods,omitempty"`
}

// An AnswerFile keeps answers as they come, one line each, so that an evaluation that was killed goes on where it was. An
// answer is found by what was asked of which weights: questions may be added and facts changed in between.
type AnswerFile struct {
	file  *os.File
	known map[[2]string]kept
}

// OpenAnswers opens or makes the file of answers in dir. A file of that name that holds anything else is refused.
func OpenAnswers(setting fault.Setting, dir string) (*AnswerFile, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fault.At(setting, "%w", err)
	}
	path := filepath.Join(dir, AnswersName)
	if info, err := os.Stat(path); err == nil && (!info.Mode().IsRegular() || info.Size() > maxAnswers) {
		return nil, fault.Given(setting, dir, "%s is no file of answers", path).Try("Give another folder.")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.At(setting, "%w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fault.At(setting, "%w", err)
	}
	a := &AnswerFile{file: file, known: map[[2]string]kept{}}
	switch err := filelock.Try(file, 1<<40); {
	case errors.Is(err, filelock.ErrHeld):
		err = fault.Given(setting, dir, "another evaluation writes to it").Try("Wait for it, or give another folder.")
		return nil, errors.Join(err, file.Close())
	case err != nil && !errors.Is(err, filelock.ErrNone):
		return nil, errors.Join(err, file.Close())
	}
	if err := a.read(path, setting, dir); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return a, nil
}

// read takes in all whole lines, and cuts a last one off that a killed process left.
func (a *AnswerFile) read(path string, setting fault.Setting, dir string) error {
	in := bufio.NewReaderSize(a.file, maxAnswerLine)
	var whole int64
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			if len(line) == 0 {
				return nil
			}
			if begin := `{"lentil_answer_by"`; n == 1 && !strings.HasPrefix(string(line), begin[:min(len(line), len(begin))]) {
				return fault.Given(setting, dir, "%s was not written by an evaluation", path).Try("Give another folder.")
			}
			return a.file.Truncate(whole)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		var k kept
		if err := json.Unmarshal(line, &k); err != nil || k.By == "" {
			return fault.Given(setting, dir, "%s:%d was not written by an evaluation", path, n).Try("Give another folder.")
		}
		a.known[[2]string{k.By, k.Question}] = k
		whole += int64(len(line))
	}
}

func (a *AnswerFile) find(by, question string) (kept, bool) {
	if a == nil {
		return kept{}, false
	}
	k, ok := a.known[[2]string{by, question}]
	return k, ok
}

// add appends an answer, in one write.
func (a *AnswerFile) add(k kept) error {
	if a == nil {
		return nil
	}
	line, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if _, err := a.file.Write(append(line, '\n')); err != nil {
		return err
	}
	a.known[[2]string{k.By, k.Question}] = k
	return nil
}

// Close brings the answers to the disk.
func (a *AnswerFile) Close() error {
	if a == nil {
		return nil
	}
	return errors.Join(a.file.Sync(), a.file.Close())
}

// key names a combination of texts.
func key(parts ...string) string {
	hash := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(hash, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}
