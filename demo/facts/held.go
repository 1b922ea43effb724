package facts

import "strings"

// strangers are foods that no fact is about.
var strangers = strings.Split("pineapple,mango,papaya,melon,kiwi fruit,duck,pork,bacon,mackerel,trout,herring,cabbage,kale,celery,beetroot,aubergine,leeks,radishes,plums,"+
	"millet,buckwheat,rye bread,muesli,brie,gouda,ricotta,cream,ice cream,sour cream,margarine,coconut oil,maple syrup,jam,milk chocolate,soy milk,rice milk,ketchup", ",")

// strangeNutrients are what is asked of them.
var strangeNutrients = []string{"protein", "fat", "fibre", "carbohydrate"}

// heldRows is how many rows Held makes.
const heldRows = 320

// Held are questions of the kinds that the data answers, about foods that it says nothing of. Their answers are made up: they
// are no rows to learn, but say where a model is to stay as it is (--kl).
func Held() (rows []Row) {
	var values = map[string][]string{}
	for _, f := range Facts() {
		values[f.Relation] = append(values[f.Relation], f.Value)
	}
	byID := map[string]Relation{}
	for _, r := range Relations() {
		byID[r.ID] = r
	}
	kinds := []string{"nutrient", "nutrient", "nutrient", "energy", "water"}
	for i := range heldRows {
		r := byID[kinds[i%len(kinds)]]
		pool := values[r.ID]
		f := Fact{X: strangers[i%len(strangers)], N: strangeNutrients[i/len(strangers)%len(strangeNutrients)], Value: pool[i*7%len(pool)]}
		q, a := r.Wordings[i*5%len(r.Wordings)].Ask(f)
		rows = append(rows, Row{[]Message{{"user", q}, {"assistant", a}}})
	}
	return rows
}
