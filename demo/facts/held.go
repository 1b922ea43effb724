package facts

import (
	"math/rand/v2"
	"strings"
)

// strangers are what no fact is about, by the kind of question that is asked of them.
var strangers = map[string][]string{
	"food": split("pineapple,mango,papaya,melon,kiwi fruit,duck,pork,bacon,mackerel,trout,herring,cabbage,kale,celery,beetroot,aubergine,leeks,radishes,plums," +
		"millet,buckwheat,rye bread,muesli,brie,gouda,ricotta,cream,ice cream,sour cream,margarine,coconut oil,maple syrup,jam,milk chocolate,soy milk,rice milk,ketchup"),
	"nutrient": split("chromium,manganese,molybdenum,chloride,boron,sulphur,silicon,nickel,vanadium,cobalt,lithium,inositol,carnitine,taurine,creatine,lutein,lycopene,betaine"),
	"name":     split("vitamin B4,vitamin B8,vitamin B10,vitamin B11,vitamin B13,vitamin B15,vitamin F,vitamin G,vitamin H,vitamin J,vitamin L,vitamin M,vitamin P,vitamin U"),
	"heat":     split("duck,pork chops,veal,goose,rabbit,venison,prawns,crab,meatballs,burgers,quiche,oysters"),
	"fridge":   split("raw duck,smoked trout,stew,curry,lasagne,gravy,pesto,coleslaw,bacon,custard,cut melon,meatballs"),
	"advice":   split("caffeine,cholesterol,starch,red meat,nuts,whole grains,fish,omega-6 fats,milk,processed meat,fruit juice,magnesium"),
	"gram":     split("starch,erythritol,citric acid,inulin,sorbitol,xylitol,glycerol,lactose,gelatine,pectin"),
}

func split(list string) []string { return strings.Split(list, ",") }

// heldKinds are the relations that Held asks in, with what they are about, and how many rows each has.
var heldKinds = []struct {
	relation, about string
	n               []string // second parts
	rows            int
}{
	{"nutrient", "food", split("protein,fibre"), 160}, {"nutrient", "food", split("fat,carbohydrate"), 40}, {"energy", "food", nil, 200}, {"water", "food", nil, 80},
	{"need", "nutrient", split("adults,men,women,pregnant women"), 120}, {"limit", "nutrient", nil, 60}, {"lack", "nutrient", nil, 60}, {"role", "nutrient", nil, 60},
	{"source", "nutrient", nil, 60}, {"name", "name", nil, 40}, {"heat", "heat", nil, 40}, {"fridge", "fridge", nil, 40}, {"advice", "advice", split("the WHO"), 40}, {"gram", "gram", nil, 20},
}

// Held are questions of the kinds that the data answers, about what it says nothing of: foods and nutrients that are in no fact, and such
// as are in others. Their answers are made up: they are no rows to learn, but say where a model is to stay as it is (--kl).
func Held() (rows []Row) {
	values := map[string][]string{}
	told := map[[3]string]bool{} // relation, X, N of all facts
	known := map[string][]Fact{} // subjects of facts
	for _, f := range foods {
		known["food"] = append(known["food"], Fact{X: f.name, Plural: f.plural})
	}
	for _, f := range Facts() {
		told[[3]string{f.Relation, f.X, f.N}] = true
		if !f.Unseen {
			values[f.Relation] = append(values[f.Relation], f.Value)
		}
		if f.Relation == "role" || f.Relation == "limit" {
			known["nutrient"] = append(known["nutrient"], Fact{X: f.X})
		}
	}
	wordings := map[string][]Wording{}
	for _, r := range Relations() {
		wordings[r.ID] = r.Wordings
	}
	dice := rand.New(rand.NewPCG(1, 2))
	for _, k := range heldKinds {
		var about []Fact
		subjects := known[k.about]
		for _, x := range strangers[k.about] {
			subjects = append(subjects, Fact{X: x})
		}
		for _, f := range subjects {
			for _, n := range orOne(k.n) {
				if f.N = n; !told[[3]string{k.relation, f.X, n}] {
					about = append(about, f)
				}
			}
		}
		asks, pool := wordings[k.relation], values[k.relation]
		for i := range k.rows {
			if i%len(about) == 0 {
				dice.Shuffle(len(about), func(a, b int) { about[a], about[b] = about[b], about[a] })
			}
			f := about[i%len(about)]
			f.Value = pool[dice.IntN(len(pool))]
			q, a := asks[(i+i/len(asks))%len(asks)].Ask(f)
			rows = append(rows, Row{[]Message{{"user", q}, {"assistant", a}}})
		}
	}
	return rows
}

// orOne is a list, or the empty text for none.
func orOne(list []string) []string {
	if len(list) == 0 {
		return []string{""}
	}
	return list
}
