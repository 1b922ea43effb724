package making

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/filelock"
)

// CallsName is the log of what the model was asked and what it answered. It only grows, a whole line at a time; an answer
// is good for as long as model and prompt stay the same.
const CallsName = "calls.jsonl"

// A call is a line of it.
type call struct {
	Key string `json:"key"` // SHA-256 of model and prompt
	dataset.Completion
}

// calls are the answers that are known, and the log that new ones go to.
type calls struct {
	mu   sync.Mutex
	file *os.File // nil: nothing is kept
	have map[string]dataset.Completion

	spent int // tokens of prompts and answers in this process
}

// maxCalls bounds a log, in bytes: the answers of ten million calls are not one dataset's.
const maxCalls = 8 << 30

// openCalls opens the log of a folder, which is made if need be, and reads it. What a killed process had not written to its
// end is cut off.
func openCalls(dir string) (*calls, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, CallsName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	c := &calls{file: file, have: map[string]dataset.Completion{}}
	if err := c.read(path); err != nil {
		file.Close()
		return nil, err
	}
	return c, nil
}

func (c *calls) read(path string) error {
	if err := filelock.Try(c.file, 0); err != nil {
		return fault.Given("out", path, "another process is making a dataset there: %w", err).Try("Wait for it, or give another folder.")
	}
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCalls {
		return fault.Given("out", path, "this is no log of calls").Try("Give another folder.")
	}
	in := bufio.NewReaderSize(c.file, 1<<20)
	end := int64(0)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var one call
		if err := json.Unmarshal(bytes.TrimSpace(line), &one); err != nil || one.Key == "" {
			return fault.Of("%s:%d: not a call of a model: %w", path, number, cmpErr(err)).Try("Remove the file if it is not wanted; all that it has is asked again.")
		}
		c.have[one.Key] = one.Completion
		end += int64(len(line))
	}
	if end < info.Size() {
		if err := c.file.Truncate(end); err != nil {
			return err
		}
	}
	_, err = c.file.Seek(end, io.SeekStart)
	return err
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("there is no key")
	}
	return err
}

// Close syncs the log.
func (c *calls) Close() error {
	if c.file == nil {
		return nil
	}
	return errors.Join(c.file.Sync(), c.file.Close())
}

func keyOf(model string, p dataset.Prompt) (string, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(model+"\x00"), text...))
	return hex.EncodeToString(sum[:16]), nil
}

// errBudget says that the budget is spent.
var errBudget = errors.New("the budget is spent")

// ask gives the answer to a prompt: the known one, or a new one, which is known from then on.
func (c *calls) ask(ctx context.Context, model dataset.Completer, p dataset.Prompt, budget int) (out dataset.Completion, known bool, err error) {
	key, err := keyOf(model.Name(), p)
	if err != nil {
		return out, false, err
	}
	c.mu.Lock()
	out, known = c.have[key]
	spent := c.spent
	c.mu.Unlock()
	if known {
		return out, true, nil
	}
	if budget > 0 && spent >= budget {
		return out, false, errBudget
	}
	if out, err = model.Complete(ctx, p); err != nil {
		return out, false, err
	}
	line, err := json.Marshal(call{key, out})
	if err != nil {
		return out, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.have[key] = out
	c.spent += out.Prompt + out.Tokens
	if c.file != nil {
		if _, err := c.file.Write(append(line, '\n')); err != nil {
			return out, false, fmt.Errorf("%s: %w", CallsName, err)
		}
	}
	return out, false, nil
}

// mayStay tells the files of a dataset's folder that are its own, though no set wrote them.
func mayStay(name string, typ fs.FileMode) bool {
	return (name == CallsName || name == DecisionsName) && typ.IsRegular()
}
