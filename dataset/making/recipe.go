package making

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/profile"
)

// A Recipe says what a model is to ask of passages, and for whom.
type Recipe struct {
	Name         string            `json:"name"`
	About        string            `json:"about"`  // what the books are on
	System       string            `json:"system"` // system message of the rows, if the user gives none
	Kinds        map[Written]int   `json:"kinds"`  // weights
	Audiences    []string          `json:"audiences"`
	Difficulties []string          `json:"difficulties"`
	Profiles     []json.RawMessage `json:"profiles"` // of the kind profile, as package profile reads them
	Rules        []string          `json:"rules"`    // more of them for the writer

	profiles []*profile.Profile
}

// Written is the kind of a question that a model writes.
type Written string

// The kinds, with what the writer is told of each.
var writtenKinds = map[Written]string{
	"fact":          "asks for one fact",
	"numbers":       "asks for a figure; the answer has it with its unit",
	"why":           "asks for a reason",
	"how-to":        "asks how something is done; the answer gives the steps",
	"compare":       "asks to compare two things",
	"list":          "asks for several things; the answer lists them",
	"plan":          "describes a situation and asks what to do",
	"multi-hop":     "can be answered only from both passages together",
	"misconception": "assumes something wrong, which the answer corrects",
	"unanswerable":  `sounds as if the passage told it, but neither passage nor common books on the subject do; the answer says that it does not know; "quote" is empty`,
	"follow-up":     `has a second turn: "follow_question" goes on from the answer, "follow_answer" answers it`,
	"profile":       "depends on what is known of the user; the answer keeps to it",
}

//go:embed recipes
var ownRecipes embed.FS

// RecipeNames are the recipes that come with Lentil.
func RecipeNames() (names []string) {
	entries, err := fs.ReadDir(ownRecipes, "recipes")
	if err != nil {
		return nil // they are embedded
	}
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	return names
}

// maxRecipe bounds the file of a recipe.
const maxRecipe = 1 << 20

// OpenRecipe reads a recipe by the name of one of Lentil's, or by the path of a file.
func OpenRecipe(name string) (*Recipe, error) {
	path, data, err := name, []byte(nil), error(nil)
	if slices.Contains(RecipeNames(), name) {
		path = "recipes/" + name + ".json"
		data, err = ownRecipes.ReadFile(path)
	} else if strings.HasSuffix(name, ".json") {
		data, err = smallfile.Read(name, maxRecipe)
	} else {
		return nil, fault.Value("recipe", name, strings.Join(RecipeNames(), ", ")+", or a file .json")
	}
	if err != nil {
		return nil, fault.At("recipe", "%w", err)
	}
	var r Recipe
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, fault.At("recipe", "%w", jsonpos.Error(path, data, err))
	}
	return &r, r.check(path)
}

func (r *Recipe) check(path string) error {
	known := slices.Sorted(maps.Keys(writtenKinds))
	sum := 0
	for k, n := range r.Kinds {
		if _, ok := writtenKinds[k]; !ok {
			return fault.Given("recipe", path, "the kind %q is none; there are %v", k, known)
		}
		if n < 0 || n > 1000 {
			return fault.Given("recipe", path, "the weight of %q is %d, expected 0 to 1000", k, n)
		}
		sum += n
	}
	for i, text := range r.Profiles {
		one, err := profile.Parse(fmt.Sprintf("%s: profile %d", path, i+1), text)
		if err != nil {
			return fault.At("recipe", "%w", err).Try(`Profiles are objects: {"id": "anna", "diet": ["vegetarian"], "avoid": ["gluten"]}`)
		}
		r.profiles = append(r.profiles, one)
	}
	switch {
	case sum == 0:
		return fault.Given("recipe", path, "it has no kinds").Try(`Give weights: "kinds": {"fact": 2, "why": 1}`)
	case len(r.Audiences) == 0 || len(r.Difficulties) == 0:
		return fault.Given("recipe", path, `"audiences" and "difficulties" have at least one entry each`)
	case r.Kinds["profile"] > 0 && len(r.Profiles) == 0:
		return fault.Given("recipe", path, `questions of the kind "profile" need "profiles"`)
	}
	return nil
}
