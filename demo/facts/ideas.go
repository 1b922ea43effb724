package facts

import "fmt"

// idea is a recipe of the handbook as an answer to a request for a meal. Such rows keep the
// tuned model's free answers in shape; they are in the train split only.
type idea struct {
	recipe string // heading in the handbook's recipe chapter
	dish   string
	meal   string
	wishes [2]string // with article
	note   string
}

// RecipePage is the handbook chapter with the recipes.
const RecipePage = "12-recipes.md"

var ideas = []idea{
	{"Tofu scramble with spinach", "a tofu scramble with spinach", "breakfast", [2]string{"a vegan", "a high-protein vegan"}, "It is ready in 15 minutes."},
	{"Overnight oats with chia and raspberries", "overnight oats with chia and raspberries", "breakfast", [2]string{"a high-fibre", "a cold"}, "Prepare them the evening before."},
	{"Greek yoghurt bowl with walnuts", "a Greek yoghurt bowl with walnuts", "breakfast", [2]string{"a high-protein", "a vegetarian"}, "It needs no cooking."},
	{"Apple and almond porridge", "apple and almond porridge", "breakfast", [2]string{"a warm", "a filling"}, "Stir it well and serve it hot."},
	{"Lentil and carrot soup", "lentil and carrot soup", "lunch", [2]string{"a vegan", "a high-fibre"}, "It keeps well until the next day."},
	{"Quinoa salad with cucumber and feta", "quinoa salad with cucumber and feta", "lunch", [2]string{"a vegetarian", "a cold"}, "Season it with a little lemon."},
	{"Broccoli and egg fried rice", "broccoli and egg fried rice", "lunch", [2]string{"a quick", "a simple"}, "Use rice from the day before."},
	{"Chickpea and spinach curry", "chickpea and spinach curry", "dinner", [2]string{"a vegan", "a filling"}, "Serve it with brown rice."},
	{"Black bean chilli", "black bean chilli", "dinner", [2]string{"a high-fibre", "a cheap"}, "It tastes even better warmed up."},
	{"Baked salmon with potatoes", "baked salmon with potatoes", "dinner", [2]string{"a high-protein", "a simple"}, "A green salad goes well with it."},
	{"Bean and barley stew", "bean and barley stew", "dinner", [2]string{"a low-salt", "a warm"}, "Fresh herbs take the place of salt."},
	{"Hummus with carrot sticks", "hummus with carrot sticks", "snack", [2]string{"a vegan", "a quick"}, "Wholemeal bread goes well with it."},
}

// ideaRows asks for each recipe in four ways, and for six day plans made of the recipes.
func ideaRows() []Row {
	forms := []struct{ q, a string }{
		{"I would like %s %s. Any ideas?", "How about %s? %s"},
		{"Please suggest %s %s.", "I suggest %s. %s"},
		{"What would be %s %s?", "Try %s. %s"},
		{"Give me an idea for %s %s.", "Here is one: %s. %s"},
	}
	var rows []Row
	add := func(q, a string) { rows = append(rows, Row{[]Message{{"user", q}, {"assistant", a}}}) }
	byMeal := map[string][]string{}
	for i, d := range ideas {
		byMeal[d.meal] = append(byMeal[d.meal], d.dish)
		for k, form := range forms {
			add(fmt.Sprintf(form.q, d.wishes[(i+k)%2], d.meal), fmt.Sprintf(form.a, d.dish, d.note))
		}
	}
	goals := []string{"rich in fibre", "rich in protein", "with plenty of vegetables"}
	for i, total := range []int{1400, 1600, 1800, 2000, 2200, 2400} {
		goal := goals[i%len(goals)]
		breakfast, lunch, snack := total/4, total*35/100, total/10
		dish := func(meal string) string { return Capital(byMeal[meal][i%len(byMeal[meal])]) }
		add(fmt.Sprintf("Make a %d-calorie plan %s.", total, goal),
			fmt.Sprintf("Here is a plan of %d kcal, %s:\n\n- Breakfast (%d kcal): %s\n- Lunch (%d kcal): %s\n- Snack (%d kcal): %s\n- Dinner (%d kcal): %s",
				total, goal, breakfast, dish("breakfast"), lunch, dish("lunch"), snack, dish("snack"), total-breakfast-lunch-snack, dish("dinner")))
	}
	return rows
}
