package tune

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// stateDir is the folder, in that of an adapter, with what its run needs to go on: what
// package train writes there, and the run's identity.
const (
	stateDir     = "state"
	identityName = "identity.json"
	maxIdentity  = 1 << 20
)

// An identity is what decides, to the bit, how a run goes on. A run whose identity is
// another's does not go on from its state.
type identity struct {
	Version  string         `json:"version"`  // of Lentil
	Iters    int            `json:"iters"`    // that the run was to make
	Settings map[string]any `json:"settings"` // see Recipe.decisive
	Train    string         `json:"train"`    // hash of the rows, as tokens
	Valid    string         `json:"valid"`
	Weights  string         `json:"weights"` // of the base: see weights.Source
	Device   string         `json:"device"`
	Kernels  string         `json:"kernels"`
	Threads  int            `json:"threads"`
}

// An earlier run is one that can go on.
type earlierRun struct {
	was    identity
	state  *train.State
	done   train.Result // by it
	began  run.Manifest
	before []int // see run.Start.Earlier
	// checkpoints are the iterations of its numbered copies.
	checkpoints []int
}

// indecisive are settings that change no number of a run: names and places, what is said and kept, and what gives the
// same numbers in another way. Data and model are compared by what they are.
var indecisive = []string{
	"adapter_path", "chat_feature", "clear_cache_threshold", "completion_feature", "config", "data", "device", "eval_every", "eval_questions", "grad_checkpoint", "iters", "keep_checkpoints", "model",
	"no_frozen_cache", "project_name", "prompt_feature", "replay", "report_to", "save_every", "steps_per_report", "test", "test_batches", "text_feature",
	"threads", "train", "trust_remote_code",
}

// decisive are the settings that the numbers of a run follow from, as JSON has them.
func (r *Recipe) decisive() (map[string]any, error) {
	all := map[string]any{}
	for _, s := range r.settings() {
		if !slices.Contains(indecisive, s.name) {
			all[s.name] = plain(s.value())
		}
	}
	if r.FineTuneType != "full" {
		for _, s := range r.LoRA.settings() {
			all[keyLoRA+"."+s.name] = plain(s.value())
		}
	}
	if r.LRSchedule != nil {
		all[keyLRSchedule] = plain(mapping(scheduleSettings(r.LRSchedule)))
		delete(all, "learning_rate")
	}
	optimizer, err := r.optimizer()
	if err != nil {
		return nil, err
	}
	all[keyOptimizerConfig] = map[string]any{}
	for name, v := range optimizer.Options {
		all[keyOptimizerConfig].(map[string]any)[name] = plain(v)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	clear(all)
	return all, json.Unmarshal(text, &all)
}

// hasState tells whether the folder of an adapter holds a run that may go on.
func hasState(dir string) bool { return isThere(filepath.Join(dir, stateDir, identityName)) }

// goOn is lookBack for all workers: the others follow the first one.
func (j *Job) goOn() (*earlierRun, error) {
	r := j.options.Reduce
	if j.options.first() {
		if _, err := atomicfile.Settle(j.Recipe.AdapterPath); err != nil { // what a killed run left
			return nil, err
		}
		e, err := j.lookBack()
		if err != nil || r == nil {
			return e, err
		}
		done := []float64{0}
		if e != nil {
			done[0] = float64(e.done.Iterations)
		}
		if err := r.Sum(done); err != nil {
			e.close()
			return nil, err
		}
		return e, nil
	}
	done := []float64{0}
	if err := r.Sum(done); err != nil || done[0] == 0 {
		return nil, err
	}
	return j.lookBack()
}

// lookBack finds the run at AdapterPath that this one goes on from; nil where it begins. A
// run with other settings is refused.
func (j *Job) lookBack() (*earlierRun, error) {
	r := &j.Recipe
	switch {
	case j.options.Overwrite || !hasState(r.AdapterPath):
		return nil, nil
	case r.ResumeAdapterFile != "" && !j.options.Resume && sameFolder(filepath.Dir(r.ResumeAdapterFile), r.AdapterPath):
		// A new run begins with these weights, unless they are those that the run there began with.
		e, err := readEarlier(r.AdapterPath)
		if err != nil || e.finished() || e.was.Settings["resume_adapter_file"] != r.ResumeAdapterFile {
			e.close()
			return nil, nil
		}
		e.close()
	}
	e, err := readEarlier(r.AdapterPath)
	if err == nil {
		err = j.sameSettings(e)
	} else {
		err = j.cannotGoOn(err)
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (j *Job) cannotGoOn(err error) error {
	return fault.At("adapter_path", "the run there cannot go on: %w", err).Try("%v", j.others())
}

// Waiting tells whether a run with the settings of a recipe lies at its AdapterPath and has not come to its end. The
// recipe goes on with it, if data, model and machine are the same as well.
func Waiting(r Recipe) bool {
	e, err := readEarlier(r.AdapterPath)
	if err != nil {
		return false
	}
	defer e.close()
	return !e.finished() && r.Iters == e.was.Iters && (&Job{Recipe: r}).sameSettings(e) == nil
}

// readEarlier reads what a run has left in a folder.
func readEarlier(dir string) (e *earlierRun, err error) {
	e = &earlierRun{}
	path := filepath.Join(dir, stateDir, identityName)
	text, err := smallfile.Read(path, maxIdentity)
	if err != nil {
		return nil, err
	}
	if err := jsonpos.Error(path, text, json.Unmarshal(text, &e.was)); err != nil {
		return nil, err
	}
	if e.began, err = run.ReadManifest(dir); err != nil {
		return nil, err
	}
	if e.state, err = train.OpenState(filepath.Join(dir, stateDir)); err != nil {
		return nil, err
	}
	if e.done = e.state.Result(); e.done.Iterations > e.was.Iters {
		e.close()
		return nil, fmt.Errorf("%s: %d iterations are done of the %d that %s tells of", filepath.Join(dir, stateDir), e.done.Iterations, e.was.Iters, identityName)
	}
	records, err := run.ReadLog(filepath.Join(dir, run.LogName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.close()
		return nil, err
	}
	for _, r := range records {
		switch event := r.Event.(type) {
		case run.Start:
			e.before = event.Earlier
			if event.FirstIteration <= 1 {
				e.checkpoints = nil
			}
		case run.Saved:
			if event.Checkpoint != "" && event.Iteration < e.done.Iterations {
				e.checkpoints = append(e.checkpoints, event.Iteration)
			}
		}
	}
	e.checkpoints = append(e.checkpoints, e.done.Iterations) // of which the log may not have been told any more
	return e, nil
}

func (e *earlierRun) close() {
	if e != nil && e.state != nil {
		e.state.Close()
		e.state = nil
	}
}

// finished tells whether the run has come to its end.
func (e *earlierRun) finished() bool { return e.done.Early || e.done.Iterations >= e.was.Iters }

// others tells what to do where a run cannot go on.
func (j *Job) others() fault.Note {
	return fault.Say("Give another folder, %v to begin anew, or %v %s to begin with the weights that are there.",
		fault.Setting("overwrite"), fault.Setting("resume_adapter_file"), filepath.Join(j.Recipe.AdapterPath, adapter.File))
}

// sameSettings refuses to go on with other settings than those of the run.
func (j *Job) sameSettings(e *earlierRun) error {
	now, err := j.Recipe.decisive()
	if err != nil {
		return err
	}
	standard := New()
	usual, err := standard.decisive() // for what a run did not know yet
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		was, known := e.was.Settings[name]
		if !known {
			was = usual[name]
		}
		if !reflect.DeepEqual(was, now[name]) {
			return j.otherSetting(name, now[name], was)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.was.Settings)) {
		if _, known := now[name]; !known {
			return j.otherSetting(name, nil, e.was.Settings[name])
		}
	}
	return nil
}

func (j *Job) otherSetting(name string, now, was any) error {
	setting := fault.Setting(name)
	mistake := fault.At(setting, "it is %s, and the run in %s was begun with %s", inWords(now), j.Recipe.AdapterPath, inWords(was))
	if was == nil || was == "" {
		return mistake.Try("Leave %v out to go on with it. %v", setting, j.others())
	}
	return mistake.Try("Give %v %s to go on with it. %v", setting, inWords(was), j.others())
}

// inWords writes a value of a setting.
func inWords(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		return cmp.Or(v, "none")
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// identify tells what decides the numbers of the job's run.
func (j *Job) identify(rows, valid train.Examples) (id identity, err error) {
	info := j.Engine.Model.Device().Info()
	id = identity{Version: j.options.Version, Iters: j.Recipe.Iters, Device: info.Name, Kernels: info.Detail, Threads: info.Threads, Weights: j.Engine.Model.Source().Fingerprint()}
	if id.Settings, err = j.Recipe.decisive(); err != nil {
		return id, err
	}
	if id.Train, err = train.Hash(rows); err != nil {
		return id, err
	}
	id.Valid, err = train.Hash(valid)
	return id, err
}

// sameRun refuses to go on with other data, another model, or a processor that rounds in another way.
func (j *Job) sameRun(e *earlierRun, now identity) error {
	was, dir := e.was, j.Recipe.AdapterPath
	switch {
	case was.Weights != now.Weights:
		return fault.Given("model", j.Recipe.Model, "these are other weights than those that the run in %s was begun with", dir).
			Try("Give that model to go on with it. %v", j.others())
	case was.Train != now.Train:
		return j.otherRows(e, j.Data.Train)
	case was.Valid != now.Valid:
		return j.otherRows(e, j.Data.Valid)
	case was.Threads != now.Threads:
		return fault.Given("threads", now.Threads, "the run in %s was begun with %d, and sums are rounded in another way with another number", dir, was.Threads).
			Try("Give %v %d to go on with it. %v", fault.Setting("threads"), was.Threads, j.others())
	case was.Device != now.Device || was.Kernels != now.Kernels:
		return fault.Of("the run in %s was begun on %s with the kernels %s, and this is %s with %s, which rounds in another way", dir, was.Device, was.Kernels, now.Device, now.Kernels).
			Try("Go on with it where it was begun. %v", j.others())
	}
	if was.Version != now.Version {
		j.options.report(run.Warning{Text: fault.Say("the run was begun by Lentil %s, this is %s: the numbers may not be those of a run without a stop", was.Version, now.Version)})
	}
	return j.moreIters(e)
}

// otherRows is the error for a split whose rows are not those of the run.
func (j *Job) otherRows(e *earlierRun, split *dataset.Split) error {
	why := "its files are the same, so the tokenizer or the chat template is another"
	for _, path := range split.Files {
		file, err := run.HashFile(path)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(e.began.Data, func(d run.DataFile) bool { return d.SHA256 == file.SHA256 }) {
			why = path + " has changed"
			break
		}
	}
	return fault.At("data", "the %s set is not that of the run in %s: %s", split.Name, j.Recipe.AdapterPath, why).
		Try("Bring it back to go on with the run. %v", j.others())
}

// moreIters checks that a run that was to make another number of iterations can go on as if it had been this one.
func (j *Job) moreIters(e *earlierRun) error {
	r := &j.Recipe
	done, was, now := e.done.Iterations, e.was.Iters, r.Iters
	if now == was || e.done.Early && now > done {
		return nil
	}
	if now < done || now == done && !e.finished() {
		return fault.Value("iters", now, fmt.Sprintf("more than %d, which the run in %s has done of its %d", done, r.AdapterPath, was)).
			Try("Give %v %d to go on with it. %v", fault.Setting("iters"), was, j.others())
	}
	if !e.finished() {
		return nil
	}
	why := ""
	switch {
	case done%r.GradAccumulation != 0 && !r.compatMLX():
		why = fmt.Sprintf("updated the weights after its last one, within the %d of an update", r.GradAccumulation)
	case j.Data.Valid.Len() > 0 && r.ValBatches != 0 && done > 1 && done%r.StepsPerEval != 0:
		why = fmt.Sprintf("validated before its last one, which is no multiple of %d, and drew random numbers for that", r.StepsPerEval)
	default:
		return nil
	}
	return fault.Given("iters", now, "the run in %s has come to its end after %d iterations and %s: it would not become the run of %d", r.AdapterPath, done, why, now).
		Try("%v", j.others())
}

// finish is Train where the run has come to its end before. An adapter that was deleted since is there again.
func (j *Job) finish(e *earlierRun) (Result, error) {
	j.options.say("The run in %s has come to its end after %d iterations: nothing is left to be trained. Give a larger %v to go on with it, another folder, or %v to begin anew.",
		j.Recipe.AdapterPath, e.done.Iterations, fault.Setting("iters"), fault.Setting("overwrite"))
	if err := j.Recipe.makeTrainable(j.Engine.Model); err != nil {
		return Result{}, err
	}
	if err := e.state.Restore(j.Engine.Model); err != nil {
		return Result{}, j.cannotGoOn(err)
	}
	if path := filepath.Join(j.Recipe.AdapterPath, adapter.File); j.options.first() && !isThere(path) {
		if err := adapter.SaveWeights(j.Engine.Model, path); err != nil {
			return Result{}, err
		}
	}
	j.trained = &e.done
	return Result{Trained: &e.done}, nil
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// writeState puts what the run needs to go on into a set.
func (j *Job) writeState(set *atomicfile.Set, s train.Snapshot) error {
	if err := s.WriteState(set, stateDir); err != nil {
		return err
	}
	text, err := json.MarshalIndent(j.identity, "", "    ")
	if err != nil {
		return fmt.Errorf("%s: %w", identityName, err)
	}
	return set.Write(stateDir+"/"+identityName, append(text, '\n'))
}

// forget removes the state of an earlier run, before a new one begins.
func forget(dir string) error {
	if !hasState(dir) {
		return nil
	}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return err
	}
	defer set.Discard()
	for _, name := range append(train.StateFiles(), identityName) {
		set.Remove(stateDir + "/" + name)
	}
	if m, err := run.ReadManifest(dir); err == nil && m.Best != nil {
		set.Remove(bestDir+"/"+adapter.File, bestDir+"/"+adapter.ConfigFile)
	}
	if err := set.Commit(); err != nil {
		return err
	}
	for _, name := range []string{stateDir, bestDir} {
		os.Remove(filepath.Join(dir, name)) // unless others have files there
	}
	return nil
}
