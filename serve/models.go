package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate/grammar"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
)

// A Model is one that a server may be asked for by id, with the adapter that it has where none is asked for.
//
// The id of a model is the last part of its path, or the name of its repository; that of an adapter on it is
// MODEL+ADAPTER, and MODEL+ADAPTER:0.5 is half of what it adds. MODEL alone is the model without an adapter, and the first
// model, with its adapter, is also called "default_model".
type Model struct {
	ID      string // "" is taken from Path
	Path    string // folder, .gguf file or repository
	Adapter string // folder of an adapter of this model; "" for none
}

// defaultModel is mlx-lm's id of the model that the server began with.
const defaultModel = "default_model"

// models are what can be asked for, and what is loaded.
type models struct {
	o        Options
	created  time.Time
	bases    []*base // the first is the default
	profiles *profiles
	load     sync.Mutex

	mu       sync.Mutex
	closed   bool
	sessions int   // at rest
	bytes    int64 // of sessions at rest
}

// A base is a model and all variants of it. The lock of models guards what is not fixed.
type base struct {
	Model
	engine   *engine.Engine // nil while it is not loaded
	bytes    int64
	used     time.Time
	variants map[string]*variant
	vocab    *grammar.Vocabulary // made when it is first needed

	wordsOnce sync.Once
	words     []string // of tokens, for answers that are written again
}

// A variant is a model with or without an adapter, ready to run.
type variant struct {
	*engine.Engine
	base    *base
	stamp   string // of the adapter's files
	users   int
	used    time.Time // released last
	retired bool      // newer files have taken its place
	idle    []*restingSession
	reading []*reading // answers under way, the oldest first
}

func newModels(o Options) (*models, error) {
	m := &models{o: o, created: time.Now()}
	var err error
	if m.profiles, err = newProfiles(o.Profiles, o.Data); err != nil {
		return nil, err
	}
	for _, model := range o.Models {
		if model.ID == "" {
			model.ID = idOf(model.Path)
		}
		if strings.ContainsAny(model.ID, "+@") || model.ID == defaultModel {
			return nil, fault.Given("model", model.ID, "an id may not contain + or @, nor be %s", defaultModel).Try("Give it another one: NAME=%s", model.Path)
		}
		if m.find(model.ID) != nil {
			return nil, fault.Given("model", model.ID, "two models have this id").Try("Give one of them another: NAME=%s", model.Path)
		}
		m.bases = append(m.bases, &base{Model: model, variants: map[string]*variant{}})
	}
	for _, path := range o.Adapters {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return nil, fault.Given("adapters", path, "this is a file, expected a folder of an adapter, or of several")
		}
	}
	if len(m.bases) == 0 {
		return nil, fault.Missing("model").Try("Give the folder of a model, a .gguf file, or a repository ORG/NAME.")
	}
	return m, nil
}

// idOf is the id of a model or an adapter in a path: that of a repository stays whole.
func idOf(path string) string {
	if _, err := os.Stat(path); err != nil && hub.LooksLikeRepo(path) {
		return path
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return strings.TrimSuffix(strings.NewReplacer("+", "-", "@", "-").Replace(filepath.Base(path)), ".gguf")
}

func (m *models) find(id string) *base {
	for _, b := range m.bases {
		if b.ID == id || b.Path == id {
			return b
		}
	}
	return nil
}

// adapters lists the adapters by name: those of models, those given, those in folders that are watched, and what
// training runs have saved so far in them.
func (m *models) adapters(b *base) map[string]string {
	found := map[string]string{}
	add := func(path string) bool {
		if _, err := os.Stat(filepath.Join(path, adapter.ConfigFile)); err != nil {
			return false
		}
		name := idOf(path)
		found[name] = path
		saves, _ := filepath.Glob(filepath.Join(path, "[0-9]*_"+adapter.File))
		for _, save := range saves {
			number, _, _ := strings.Cut(filepath.Base(save), "_")
			found[name+"/"+number] = save
		}
		return true
	}
	for _, path := range m.o.Adapters {
		if add(path) {
			continue
		}
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			add(filepath.Join(path, e.Name()))
		}
	}
	if b.Adapter != "" && !add(b.Adapter) {
		found[idOf(b.Adapter)] = b.Adapter // a GGUF file, or the error that it gives
	}
	return found
}

// An entry is a model in a list.
type entry struct {
	id      string
	base    string
	adapter string // path; "" for none
	loaded  bool
	bytes   int64
}

// list names all that can be asked for.
func (m *models) list() (all []entry) {
	profiles := m.profiles.all()
	for _, b := range m.bases {
		m.mu.Lock()
		loaded, bytes := b.engine != nil, b.bytes
		m.mu.Unlock()
		add := func(id, path string) {
			all = append(all, entry{id, b.ID, path, loaded, bytes})
			for _, p := range profiles {
				if _, name, _ := strings.Cut(id, "+"); !strings.Contains(name, "/") && (p.Base == "" || p.Base == b.ID || p.Base == id || p.Base == name) {
					all = append(all, entry{id + "@" + p.ID, b.ID, path, loaded, bytes})
				}
			}
		}
		add(b.ID, "")
		adapters := m.adapters(b)
		names := make([]string, 0, len(adapters))
		for name := range adapters {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			add(b.ID+"+"+name, adapters[name])
		}
	}
	return all
}

// errNoModel says that no model has the id that is asked for.
var errNoModel = errors.New("no such model")

// resolve finds what an id stands for: a model, the path of its adapter or "", and how much of it.
func (m *models) resolve(id string) (b *base, path string, scale float64, err error) {
	id, _ = m.profiles.of(id)
	id = strings.TrimSuffix(id, ":latest") // Ollama's clients add it
	if id == "" || id == defaultModel {
		return m.bases[0], m.bases[0].Adapter, 1, nil
	}
	if b := m.find(id); b != nil {
		return b, "", 1, nil
	}
	model, name, _ := strings.Cut(id, "+")
	if b = m.find(model); b == nil || name == "" {
		return nil, "", 0, m.unknown(id)
	}
	scale = 1
	if head, by, ok := strings.Cut(name, ":"); ok {
		if scale, err = strconv.ParseFloat(by, 64); err != nil || !(scale >= -10 && scale <= 10) {
			return nil, "", 0, fault.Given("model", id, "behind : stands how much of the adapter is added: a number from -10 to 10")
		}
		name = head
	}
	path, ok := m.adapters(b)[name]
	if !ok {
		return nil, "", 0, m.unknown(id)
	}
	return b, path, scale, nil
}

func (m *models) unknown(id string) error {
	var known []string
	for _, e := range m.list() {
		known = append(known, e.id)
	}
	const most = 20
	listed := strings.Join(known[:min(len(known), most)], ", ")
	return fmt.Errorf("%w: %w", errNoModel, fault.Given("model", id, "the server has no model of this id").Try("It has: %s", listed))
}

// stampOf tells whether the files of an adapter are the ones that were loaded.
func stampOf(path string) string {
	if path == "" {
		return ""
	}
	text := ""
	for _, p := range []string{path, filepath.Join(path, adapter.File), filepath.Join(path, adapter.PEFTFile), filepath.Join(path, adapter.ConfigFile)} {
		if info, err := os.Stat(p); err == nil {
			text += fmt.Sprint(info.Size(), info.ModTime().UnixNano(), ";")
		}
	}
	return text
}

// acquire makes what an id stands for ready to run, and keeps it so until release.
func (m *models) acquire(ctx context.Context, id string) (*variant, error) {
	b, path, scale, err := m.resolve(id)
	if err != nil {
		return nil, err
	}
	key, stamp := fmt.Sprintf("%s\x00%g", path, scale), stampOf(path)
	if v, err := m.ready(b, key, stamp); v != nil || err != nil {
		return v, err
	}
	m.load.Lock() // one is loaded at a time, and what is ready does not wait for it
	defer m.load.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if v, err := m.ready(b, key, stamp); v != nil || err != nil { // another request has loaded it
		return v, err
	}
	if err := m.loadBase(ctx, b); err != nil {
		return nil, err
	}
	fresh := &variant{Engine: b.engine, base: b, stamp: stamp, users: 1}
	if path == "" {
		fresh.Engine, err = b.engine.With("")
	} else if fresh.Engine, err = b.engine.With(path); err == nil && scale != 1 {
		if err = fresh.ScaleAdapter(scale); err != nil {
			fresh.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := b.variants[key]; old != nil {
		m.retire(old)
	}
	b.variants[key] = fresh
	m.trim(b)
	return fresh, nil
}

// mostVariants bounds how many variants of a model are kept: there are any number of shares of an adapter.
const mostVariants = 32

// trim lets go of variants that were used least and that nobody uses, where there are too many.
func (m *models) trim(b *base) {
	for len(b.variants) > mostVariants {
		oldest := ""
		for key, v := range b.variants {
			if v.users == 0 && (oldest == "" || v.used.Before(b.variants[oldest].used)) {
				oldest = key
			}
		}
		if oldest == "" {
			return
		}
		m.retire(b.variants[oldest])
		delete(b.variants, oldest)
	}
}

// ready is a variant that is loaded, and in use from now on; nil if there is none.
func (m *models) ready(b *base, key, stamp string) (*variant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosing
	}
	b.used = time.Now()
	v := b.variants[key]
	if v == nil || v.stamp != stamp {
		return nil, nil
	}
	v.users++
	return v, nil
}

// loadBase loads a model, for which others make room that nobody uses.
func (m *models) loadBase(ctx context.Context, b *base) error {
	if b.engine != nil {
		return nil
	}
	path, err := engine.Find(ctx, b.Path, hub.ModelPatterns, m.o.Open)
	if err != nil {
		return err
	}
	bytes, err := weightBytes(path)
	if err != nil {
		return err
	}
	if err := m.makeRoom(bytes); err != nil {
		return err
	}
	o := m.o.Open
	if b != m.bases[0] {
		o.Draft = "" // it is the first model's
	}
	e, err := engine.Open(ctx, path, o)
	if err != nil {
		return err
	}
	m.mu.Lock()
	b.engine, b.bytes = e, bytes
	m.mu.Unlock()
	return nil
}

// weightBytes is the size of a model's files of weights.
func weightBytes(path string) (n int64, err error) {
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if ext := filepath.Ext(p); ext != ".safetensors" && ext != ".gguf" {
			return nil
		}
		info, err := os.Stat(p) // of the file behind a link
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// makeRoom unloads models, the least used first, until one more fits into the memory for models.
func (m *models) makeRoom(bytes int64) error {
	if m.o.Memory <= 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		held := int64(0)
		var oldest *base
		for _, b := range m.bases {
			if b.engine == nil {
				continue
			}
			held += b.bytes
			if !b.busy() && (oldest == nil || b.used.Before(oldest.used)) {
				oldest = b
			}
		}
		switch {
		case held+bytes <= m.o.Memory:
			return nil
		case bytes > m.o.Memory:
			return fault.At("memory", "the model's weights take %s, all models may take %s", run.Bytes(bytes), run.Bytes(m.o.Memory))
		case oldest == nil:
			return fmt.Errorf("%w: other models are in use, and there is no memory beside them", errBusy)
		}
		m.unload(oldest)
	}
}

// vocabulary is a model's tokens, prepared for masks.
func (m *models) vocabulary(v *variant) (_ *grammar.Vocabulary, err error) {
	m.load.Lock()
	defer m.load.Unlock()
	if v.base.vocab == nil {
		v.base.vocab, err = grammar.NewVocabulary(v.Tokenizer, v.Ends())
	}
	return v.base.vocab, err
}

func (b *base) busy() bool {
	for _, v := range b.variants {
		if v.users > 0 {
			return true
		}
	}
	return false
}

// unload frees a model that nobody uses.
func (m *models) unload(b *base) {
	for key, v := range b.variants {
		m.retire(v)
		delete(b.variants, key)
	}
	b.engine.Close()
	b.engine, b.bytes = nil, 0
}

// retire frees a variant as soon as nobody uses it.
func (m *models) retire(v *variant) {
	v.retired = true
	for len(v.idle) > 0 {
		m.drop(v.idle[0])
	}
	if v.users == 0 {
		v.Close()
	}
}

// release ends the use of a variant.
func (m *models) release(v *variant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v.used = time.Now()
	v.base.used = v.used
	if v.users--; v.users == 0 && v.retired {
		v.Close()
	}
}

// close frees all models, once nobody uses them.
func (m *models) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, b := range m.bases {
		if b.engine != nil {
			m.unload(b)
		}
	}
}
