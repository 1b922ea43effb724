package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/tune"
)

// maxCard is how long a README.md may be that is to be brought up to date.
const maxCard = 16 << 20

// writeCard writes README.md, or brings what a tool wrote there up to date.
func writeCard(o uploadOptions, repo hub.Repo) error {
	path := filepath.Join(o.Path, "README.md")
	old, err := smallfile.Read(path, maxCard)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Mark(err)
	}
	card, err := cardOf(o, repo.ID)
	if err != nil {
		return err
	}
	text := card.Update(old)
	if bytes.Equal(text, old) {
		return nil
	}
	if !atomicfile.ReadRecord(o.Path).Has("README.md") {
		return atomicfile.Write(path, text)
	}
	set, err := atomicfile.Begin(o.Path) // so that the record stays right
	if err != nil {
		return err
	}
	defer set.Discard()
	if err := set.Write("README.md", text); err != nil {
		return err
	}
	set.Record()
	return set.Commit()
}

// cardOf is the card of what may be uploaded. With an error it still holds what is known.
func cardOf(o uploadOptions, name string) (hub.Card, error) {
	from := o.AdapterPath
	if from == "" {
		from = o.Path
	}
	card := hub.Card{Repo: name, BaseModel: o.BaseModel, Override: o.BaseModel != "", Tool: "lentil " + Version(), Adapter: isAdapter(o.Path)}
	if _, err := os.Stat(from); err != nil {
		return card, fault.At("adapter_path", "%w", err)
	}
	if err := tune.Describe(&card, from); err != nil {
		return card, fault.Mark(err)
	}
	return card, nil
}

// isAdapter tells a folder with an adapter alone from one with a model.
func isAdapter(folder string) bool {
	_, settings := os.Stat(filepath.Join(folder, adapter.ConfigFile))
	_, config := os.Stat(filepath.Join(folder, "config.json"))
	return settings == nil && config != nil
}
