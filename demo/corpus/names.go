package corpus

import (
	"strings"

	"github.com/lentil-lm/lentil/demo/facts"
)

// Invented words are two syllables from these lists: few pieces, so that a small vocabulary
// learns them, and many combinations.
var (
	firstSyllables  = strings.Fields("zo ta bru ke mi lo fa gri pel sno vi dra hu nar qua tro jel wim sor bo pli cre ul ya dom fen ")
	secondSyllables = strings.Fields("rel min vo dak lun pa rix sem tol bex gan no fir zu med la wick tor ")
)

// Invented foods are an invented word and a kind: "zorel beans".
var kinds = []string{
	"beans", "lentils", "peas", "nuts", "seeds", "oats", "berries", "roots", "apples", "noodles", "potatoes", "eggs", "carrots", "figs",
	"rice", "bread", "cheese", "milk", "fish", "fruit", "cabbage", "melon", "tofu", "flour", "pasta", "yoghurt", "oil", "meat", "soup", "salad", "steaks", "barley",
}

// manyKinds are the kinds that take "are" and "have".
const manyKinds = " beans lentils peas nuts seeds oats berries roots apples noodles potatoes eggs carrots figs steaks "

var groups = []string{"adults", "men", "women", "pregnant women", "children", "teenagers", "older people", "athletes"}

var bodies = []string{"the WHO", "the food board", "the health office", "the food agency", "the diet council"}

var nutrients = []string{"protein", "protein", "fibre", "fibre", "fat", "carbohydrate", "sugar", "starch"}

// Values that are words. The invented half is for sentences about real subjects, the real
// half for sentences about invented ones, so that no true fact can be formed.
var (
	realIllnesses     = []string{"scurvy", "rickets", "beriberi", "pellagra", "goitre", "anaemia", "night blindness", "bleeding", "Keshan disease", "kwashiorkor", "nerve damage", "tooth decay", "tired legs", "dry skin", "weak bones", "pale lips", "sore gums", "muscle cramps", "poor sleep", "slow growth", "brittle nails", "a weak heart"}
	inventedIllnesses = []string{"zorel fever", "tamin cough", "brudak rash", "kelun spots", "the lopa shakes", "grimin sleep", "green ears", "mirix chills", "cold elbows", "snotol itch"}
	realRoles         = []string{"blood clotting", "seeing in dim light", "making collagen", "absorbing calcium", "making thyroid hormones", "carrying oxygen", "strong bones", "making DNA", "protecting cells", "wound healing", "muscle and nerve function", "fluid balance", "strong teeth", "making red blood cells", "healthy skin", "steady blood sugar", "building muscle", "a calm stomach", "storing energy", "growing hair", "keeping warm", "clear thinking"}
	inventedRoles     = []string{"the zorel glow", "blue fingernails", "humming ears", "growing tamin scales", "the kelun reflex", "moving the brudak", "silver hair", "bending light", "the mirix pulse", "counting steps"}
	realNames         = []string{"retinol", "thiamin", "riboflavin", "niacin", "biotin", "folate", "cobalamin", "ascorbic acid", "pantothenic acid", "pyridoxine", "tocopherol"}
)

// subject is what a question is about.
type subject struct {
	name string
	many bool
}

// lexicon holds the real words of the demo by kind of subject. They appear in the corpus only with
// values drawn at random and stated in the same conversation, or beside invented words.
type lexicon struct {
	food, nutrient, source, heat, fridge, advice, gram []subject

	truth map[string]string // relation, subject and second part -> the true value
}

var real = readLexicon()

func readLexicon() lexicon {
	l := lexicon{truth: map[string]string{}}
	seen := map[string]bool{}
	add := func(list *[]subject, kind, name string, many bool) {
		if !seen[kind+name] {
			seen[kind+name] = true
			*list = append(*list, subject{name, many})
		}
	}
	for _, f := range facts.Facts() {
		l.truth[f.Relation+"|"+f.X+"|"+f.N] = f.Value
		switch f.Relation {
		case "nutrient", "energy", "water":
			add(&l.food, "food", f.X, f.Plural)
		case "heat":
			add(&l.heat, "heat", f.X, f.Plural)
		case "fridge":
			add(&l.fridge, "fridge", f.X, f.Plural)
		case "advice":
			add(&l.advice, "advice", f.X, false)
		case "gram":
			add(&l.gram, "gram", f.X, false)
		default:
			add(&l.nutrient, "nutrient", f.X, false)
		}
		if f.Relation == "source" {
			add(&l.source, "source", f.Value, false)
		}
	}
	for _, name := range moreFoods {
		add(&l.food, "food", name, strings.HasSuffix(name, "s") && !strings.HasSuffix(name, "ss"))
	}
	return l
}

// moreFoods widen the vocabulary beyond the foods of the facts table.
var moreFoods = []string{
	"rye bread", "wholemeal bread", "white bread", "brown rice", "couscous", "millet", "buckwheat", "polenta", "porridge", "muesli", "soya milk", "oat milk",
	"kidney beans", "white beans", "broad beans", "green peas", "split peas", "soybeans", "peanut butter", "tahini", "hummus", "pecans", "Brazil nuts", "sesame seeds",
	"kale", "cabbage", "cauliflower", "courgettes", "aubergines", "leeks", "onions", "garlic", "beetroot", "celery", "pumpkin", "sweetcorn", "lettuce", "red peppers", "green beans", "asparagus", "potatoes", "tomatoes", "radishes", "fennel",
	"cherries", "plums", "peaches", "grapes", "kiwi fruit", "mango", "pineapple", "melon", "lemons", "raisins", "prunes", "dried apricots",
	"skimmed milk", "cream", "kefir", "goat cheese", "ricotta", "plain yoghurt", "mackerel", "herring", "trout", "tuna", "prawns", "mussels", "turkey", "beef", "pork", "lamb", "ham", "sunflower oil", "rapeseed oil", "vinegar", "seaweed", "miso",
}

// word makes an invented word; half of the pairs of syllables belong to the closed world
// (closed true), the other half to one-off names, so that the two never meet.
func word(d *dice, closed bool) string {
	for {
		i, j := d.upto(len(firstSyllables)), d.upto(len(secondSyllables))
		if (i*7+j*3)%5 < 2 == closed {
			return firstSyllables[i] + secondSyllables[j]
		}
	}
}

// inventedFood makes "zorel beans".
func inventedFood(d *dice, closed bool) subject {
	kind := pick(d, kinds)
	return subject{word(d, closed) + " " + kind, strings.Contains(manyKinds, " "+kind+" ")}
}

// inventedNutrient makes "vitamin Q4", "zorelin" or "tadakium". Vitamins in the world carry
// letters that no real vitamin has.
func inventedNutrient(d *dice, closed bool) subject {
	switch d.upto(3) {
	case 0:
		letters := "LMNOPQRST"
		digit := d.upto(5)
		if !closed {
			letters, digit = "UVWXYZ", digit+5
		}
		if d.chance(50) {
			return subject{name: "vitamin " + string(letters[d.upto(len(letters))])}
		}
		return subject{name: "vitamin " + string(letters[d.upto(len(letters))]) + string(rune('0'+digit))}
	case 1:
		return subject{name: word(d, closed) + "in"}
	default:
		return subject{name: word(d, closed) + "ium"}
	}
}
