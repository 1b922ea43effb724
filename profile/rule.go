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
