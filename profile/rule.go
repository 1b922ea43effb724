package profile

import "strings"

// A Rule is an allergen or a diet that foods can break: "milk", "vegan".
type Rule string

// Allergens are those of Regulation (EU) No 1169/2011, Annex II, in its order.
var Allergens = []Rule{
	"gluten", "crustaceans", "eggs", "fish", "peanuts", "soy", "milk", "nuts", "celery", "mustard", "sesame", "sulphites", "lupin", "molluscs",
}

// Diets are the diets that the lexicon knows.
var Diets = []Rule{"vegetarian", "vegan", "keto", "low-fodmap", "halal", "kosher"}

// ruleNames are how people say a rule that has a longer name.
var ruleNames = map[Rule]string{
	"gluten": "gluten (wheat, rye, barley, oats, spelt)", "crustaceans": "crustaceans (prawns, crab, lobster)", "soy": "soya",
	"milk": "milk (all dairy, lactose included)", "nuts": "tree nuts (almonds, hazelnuts, walnuts, cashews, pecans, Brazil nuts, pistachios, macadamias)",
	"sulphites": "sulphites (wine, dried fruit that was sulphured)", "molluscs": "molluscs (mussels, oysters, squid)",
	"low-fodmap": "low-FODMAP",
}

// otherNames are words that profiles have for a rule.
var otherNames = map[string]Rule{
	"wheat": "gluten", "coeliac": "gluten", "celiac": "gluten", "gluten-free": "gluten", "crustacean": "crustaceans", "prawns": "crustaceans", "shrimp": "crustaceans",
	"egg": "eggs", "peanut": "peanuts", "soya": "soy", "soybeans": "soy", "dairy": "milk", "dairy-free": "milk", "nut": "nuts", "tree nuts": "nuts", "tree-nuts": "nuts",
	"sulfites": "sulphites", "lupine": "lupin", "mollusks": "molluscs", "mollusc": "molluscs", "fodmap": "low-fodmap", "fodmaps": "low-fodmap",
	"ketogenic": "keto", "veggie": "vegetarian",
}

// A group is what people call foods of several kinds, which are no rule of their own.
type group struct {
	classes  string // of the lexicon
	spoken   string // what the model is told
	allergen bool
}

// groups by the word for them, as normal gives it.
var groups = map[string]group{
	"shellfish": {"crustaceans molluscs", "shellfish (prawns, crab, lobster, mussels, oysters, squid)", true},
	"seafood":   {"fish crustaceans molluscs", "seafood (fish, prawns, crab, lobster, mussels, oysters, squid)", true},
	"meat":      {"meat pork", "meat (poultry, sausages and ham included)", false},
	"pork":      {"pork", "pork (bacon, ham and lard included)", false},
	"alcohol":   {"alcohol", "alcohol (wine and liqueur in food included)", false},
	"lactose":   {"lactose", "lactose (milk, yogurt, cream, soft cheese)", false},
	"gelatine":  {"gelatine", "gelatine", false},
	"gelatin":   {"gelatine", "gelatine", false},
}

// set is the classes of a group; 0 for the zero value.
func (g group) set() classSet {
	set, _, err := theLexicon().set(g.classes)
	if err != nil {
		panic(err) // a test makes all sets
	}
	return set
}

// ruleOf reads the name of a rule in a profile.
func ruleOf(word string) (Rule, bool) {
	word = strings.ToLower(strings.Join(strings.Fields(word), " "))
	if r, ok := otherNames[word]; ok {
		return r, true
	}
	_, ok := ruleBits[Rule(word)]
	return Rule(word), ok
}

// say is the rule as a person reads it.
func (r Rule) say() string {
	if name, ok := ruleNames[r]; ok {
		return name
	}
	return string(r)
}

// A ruleSet is a set of rules, a bit each.
type ruleSet uint32

var (
	allRules = append(append([]Rule{}, Allergens...), Diets...)
	ruleBits = func() map[Rule]ruleSet {
		bits := map[Rule]ruleSet{}
		for i, r := range allRules {
			bits[r] = 1 << i
		}
		return bits
	}()
)
