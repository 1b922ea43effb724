package pdf

import (
	"bufio"
	"encoding/gob"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"time"
)

// workerEnv tells a process that it is to read a PDF for the one that started it.
const workerEnv = "LENTIL_PDF_WORKER"

// served tells that this program's processes can read PDF files for it.
var served bool

// Serve is called at the very begin of main. In a process that was started to read a file it does so and does not
// return; in any other one it only notes that such processes can be started.
func Serve() {
	if os.Getenv(workerEnv) == "" {
		served = true
		return
	}
	// The collector waits for code that PDFium never comes back from, and all else with it: it runs between pages, so
	// that the watch can end this process.
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
	in, out := gob.NewDecoder(bufio.NewReader(os.Stdin)), bufio.NewWriter(os.Stdout)
	work(in, gob.NewEncoder(out), out)
	os.Exit(0)
}

// A request is a call of an engine, a reply its result.
type request struct {
	Op   byte // 's'tart, 'o'pen, 'h'ead, 'p'age or 'd'raw
	Data []byte
	Page int
	DPI  int
}

// limit is how long a request may take. The first start on a machine makes machine code, for as long as that takes on a busy one.
func (q *request) limit() time.Duration {
	if q.Op == 's' {
		return startTime
	}
	return pageTime
}

type reply struct {
	Err  string
	Head Head
	Page *Page
	PNG  []byte
}

// work answers requests until there are no more.
func work(in *gob.Decoder, replies *gob.Encoder, out *bufio.Writer) {
	var f pdfium
	watch := time.AfterFunc(time.Hour, func() { os.Exit(1) }) // its parent may be gone
	for {
		var q request
		if in.Decode(&q) != nil {
			return
		}
		watch.Reset(2 * q.limit())
		var r reply
		var err error
		switch q.Op {
		case 's':
			_, err = unstoppable()
		case 'o':
			err = f.open(q.Data)
		case 'h':
			r.Head, err = f.head()
		case 'p':
			r.Page, err = f.page(q.Page)
		case 'd':
			r.PNG, err = f.png(q.Page, q.DPI)
		}
		if err != nil {
			r.Err = err.Error()
		}
		watch.Reset(time.Hour)
		if replies.Encode(r) != nil || out.Flush() != nil {
			return
		}
		var m runtime.MemStats
		if runtime.ReadMemStats(&m); m.HeapAlloc > 256<<20 {
			runtime.GC()
		}
	}
}

// child is an engine in a process of its own.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *gob.Decoder
	req *gob.Encoder
}

func (c *child) open(data []byte) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	c.cmd = exec.Command(program)
	c.cmd.Env = append(os.Environ(), workerEnv+"=1")
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		c.cmd = nil
		return err
	}
	c.out, c.req = gob.NewDecoder(bufio.NewReader(out)), gob.NewEncoder(c.in)
	if _, err := c.call(request{Op: 's'}); err != nil {
		return err
	}
	_, err = c.call(request{Op: 'o', Data: data})
	return err
}

// call sends a request and waits for its reply, not for ever.
func (c *child) call(q request) (reply, error) {
	if c.cmd == nil {
		return reply{}, ErrBroken
	}
	process := c.cmd.Process
	timer := time.AfterFunc(q.limit(), func() { process.Kill() })
	err := c.req.Encode(q)
	var r reply
	if err == nil {
		err = c.out.Decode(&r)
	}
	if late := !timer.Stop(); late {
		c.close()
		return reply{}, ErrTime
	}
	if err != nil {
		c.close()
		return reply{}, ErrBroken // it ended: out of memory, say
	}
	for _, known := range reasons {
		if r.Err == known.Error() {
			return r, known
		}
	}
	if r.Err != "" {
		return r, errors.New(r.Err)
	}
	return r, nil
}

func (c *child) head() (Head, error) {
	r, err := c.call(request{Op: 'h'})
	return r.Head, err
}

func (c *child) page(i int) (*Page, error) {
	r, err := c.call(request{Op: 'p', Page: i})
	if err == nil && r.Page == nil {
		err = ErrBroken
	}
	return r.Page, err
}

func (c *child) png(i, dpi int) ([]byte, error) {
	r, err := c.call(request{Op: 'd', Page: i, DPI: dpi})
	return r.PNG, err
}

func (c *child) close() {
	if c.cmd != nil {
		c.in.Close()
		c.cmd.Process.Kill()
		c.cmd.Wait()
		c.cmd = nil
	}
}
