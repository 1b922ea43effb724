package facts

import "strings"

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

// heldKinds are the relations that Held asks in, each as often as its share of the rows, with the strangers that it is about.
var heldKinds = []struct {
	relation, about string
	n               []string // second parts
}{
	{"nutrient", "food", split("protein,fat,fibre,carbohydrate")}, {"energy", "food", nil}, {"need", "nutrient", split("adults,men,women,pregnant women")},
	{"limit", "nutrient", nil}, {"nutrient", "food", split("protein,fibre")}, {"lack", "nutrient", nil}, {"name", "name", nil}, {"energy", "food", nil},
	{"role", "nutrient", nil}, {"source", "nutrient", nil}, {"water", "food", nil}, {"need", "nutrient", split("adults,men,women,pregnant women")},
	{"heat", "heat", nil}, {"fridge", "fridge", nil}, {"advice", "advice", split("the WHO")}, {"gram", "gram", nil},
}

// heldRows is how many rows Held makes.
const heldRows = 640

// Held are questions of the kinds that the data answers, about what it says nothing of, in other wordings than those of the tests.
// Their answers are made up: they are no rows to learn, but say where a model is to stay as it is (--kl).
func Held() (rows []Row) {
	values := map[string][]string{}
	for _, f := range Facts() {
		if !f.Unseen {
			values[f.Relation] = append(values[f.Relation], f.Value)
		}
	}
	wordings := map[string][]Wording{}
	for _, r := range Relations() {
		for _, w := range r.Wordings {
			if w.Use != Test && w.Use != Demo {
				wordings[r.ID] = append(wordings[r.ID], w)
			}
		}
	}
	for i := range heldRows {
		k, turn := heldKinds[i%len(heldKinds)], i/len(heldKinds)
		about, pool, asks := strangers[k.about], values[k.relation], wordings[k.relation]
		f := Fact{X: about[(turn+i)%len(about)], Value: pool[(i*7+turn)%len(pool)]}
		if len(k.n) > 0 {
			f.N = k.n[(turn+turn/len(about))%len(k.n)]
		}
		q, a := asks[(i*5+turn)%len(asks)].Ask(f)
		rows = append(rows, Row{[]Message{{"user", q}, {"assistant", a}}})
	}
	return rows
}
