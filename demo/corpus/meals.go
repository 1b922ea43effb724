package corpus

import (
	"fmt"
	"strings"

	"github.com/lentil-lm/lentil/demo/facts"
)

// Dishes by meal, in words that fit both a plan and a suggestion.
var dishes = map[string][]string{
	"breakfast": {
		"Greek yoghurt with berries and pumpkin seeds", "scrambled tofu with spinach and wholemeal toast", "porridge with chia seeds and a sliced banana",
		"boiled eggs with rye bread and tomatoes", "cottage cheese with peaches and walnuts", "an omelette with mushrooms and feta", "overnight oats with apple and hazelnuts",
		"muesli with plain yoghurt and pears", "toast with peanut butter and strawberries", "a smoothie of soya milk, oats and cherries", "warm millet with plums and almonds", "toast with avocado and a boiled egg",
	},
	"lunch": {
		"a lentil salad with carrots and feta", "a bowl of quinoa, black beans and red peppers", "tomato soup with white beans and rye bread", "a wrap with hummus, lettuce and cucumber",
		"pasta with broccoli and chickpeas", "a baked potato with cottage cheese and chives", "a salad of tuna, green beans and eggs", "couscous with roasted courgettes and almonds", "split pea soup with wholemeal bread",
		"brown rice with tofu and cabbage", "a bulgur salad with parsley and tomatoes",
	},
	"dinner": {
		"a chickpea curry with spinach and brown rice", "baked salmon with potatoes and green beans", "stir-fried tofu with broccoli and noodles", "a bean chilli with sweetcorn", "roast chicken with carrots and barley",
		"lentil bolognese with wholemeal pasta", "stuffed peppers with quinoa and feta", "baked cod with leeks and millet", "a vegetable stew with white beans", "mushroom omelette with a large green salad", "tempeh with cauliflower and rice",
	},
	"snack": {
		"an apple and a handful of almonds", "carrot sticks with hummus", "plain yoghurt with raspberries", "a pear and some walnuts", "popcorn without sugar", "a slice of rye bread with cottage cheese", "dried figs and cashews",
		"an orange and pumpkin seeds", "a cup of kefir", "edamame with a little salt",
	},
}

var wishes = []string{
	"high-protein", "high-fibre", "high-fiber", "vegetarian", "vegan", "quick", "cheap", "light", "filling", "low-salt", "low-sugar", "high-protein vegetarian", "high-fibre vegan", "simple", "warm", "cold", "healthy",
}

var closings = []string{
	"Drink water or tea with it.", "Adjust the portion to your appetite.", "Add fresh herbs if you like.", "It keeps well until the next day.", "Season it with a little lemon.", "Fruit makes a good end to it.",
	"Vary it through the week.", "It takes about 15 minutes.", "You can prepare it the evening before.", "I hope you enjoy it.",
}

var mealNames = []string{"breakfast", "lunch", "dinner", "snack"}

// meals answers requests for dishes, recipes and plans.
func meals(d *dice) []facts.Message {
	switch d.upto(6) {
	case 0, 1, 2:
		return suggestion(d)
	case 3, 4:
		return plan(d)
	default:
		return cooking(d)
	}
}

// article puts "a" or "an" before a word.
func article(word string) string {
	if strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}

func suggestion(d *dice) []facts.Message {
	meal, wish := pick(d, mealNames), pick(d, wishes)
	request := fmt.Sprintf(pick(d, []string{
		"Can you suggest %s %s?", "Please suggest %s %s.", "I would like %s %s. Any ideas?", "What would be %s %s?", "Give me an idea for %s %s.", "Could you recommend %s %s?", "I need %s %s for tomorrow.",
	}), article(wish), meal)
	choice := some(d, dishes[meal], 3)
	var b strings.Builder
	switch d.upto(3) {
	case 0:
		fmt.Fprintf(&b, "For %s %s, try %s. Another idea is %s.", article(wish), meal, choice[0], choice[1])
	case 1:
		fmt.Fprintf(&b, "Here are three ideas for %s %s:\n\n1. %s\n2. %s\n3. %s\n\n", article(wish), meal, facts.Capital(choice[0]), facts.Capital(choice[1]), facts.Capital(choice[2]))
	default:
		fmt.Fprintf(&b, "How about %s? If you want something else, %s would also be a good %s.", choice[0], choice[1], meal)
	}
	text := b.String()
	if !strings.HasSuffix(text, "\n") {
		text += " "
	}
	return []facts.Message{user(request), assistant(text + pick(d, closings))}
}

// plan designs a day whose meals add up to the energy asked for.
func plan(d *dice) []facts.Message {
	total := d.between(24, 60) * 50
	goal := pick(d, []string{"rich in fibre", "rich in fiber", "rich in protein", "low in salt", "low in sugar", "without meat", "with plenty of vegetables", "for a busy day"})
	request := fmt.Sprintf(pick(d, []string{
		"Design a %d-calorie meal plan %s.", "Make a %d-calorie plan %s.", "Can you plan a day of %d calories %s?", "I want a day of %d kcal %s.", "Write a %d-calorie menu %s.",
	}), total, goal)
	breakfast, lunch, snack := total/4/10*10, total*35/100/10*10, total/10/10*10
	dinner := total - breakfast - lunch - snack
	text := fmt.Sprintf("Here is a plan of %d kcal, %s:\n\n- Breakfast (%d kcal): %s\n- Lunch (%d kcal): %s\n- Snack (%d kcal): %s\n- Dinner (%d kcal): %s\n\n%s",
		total, goal, breakfast, pick(d, dishes["breakfast"]), lunch, pick(d, dishes["lunch"]), snack, pick(d, dishes["snack"]), dinner, pick(d, dishes["dinner"]), pick(d, closings))
	return []facts.Message{user(request), assistant(text)}
}

// cooking writes a recipe.
func cooking(d *dice) []facts.Message {
	main, side := pick(d, real.food), pick(d, real.food)
	style := pick(d, []string{"soup", "salad", "stew", "bake", "curry", "bowl", "spread"})
	dish := main.name + " " + style
	request := fmt.Sprintf(pick(d, []string{"Give me a recipe for %s.", "How do I make %s?", "Please write a recipe for %s.", "I want to cook %s. How?"}), dish)
	herb, spice, tool := pick(d, slots["herb"]), pick(d, slots["spice"]), pick(d, slots["tool"])
	steps := []string{
		"Wash and chop the ingredients.",
		fmt.Sprintf("Warm the oil in a %s and add the onion.", tool),
		fmt.Sprintf("Add %s and %s.", main.name, side.name),
		fmt.Sprintf("Season with %s and %s.", spice, herb),
		fmt.Sprintf("Cook for %d minutes and stir now and then.", d.between(2, 9)*5),
		fmt.Sprintf("Serve with %s.", pick(d, real.food).name),
	}
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\nFor %d people:\n\n- %d g of %s\n- %d g of %s\n- 1 onion\n- 1 spoon of olive oil\n- %s and %s\n\n", facts.Capital(dish), d.between(2, 6), d.between(2, 10)*50, main.name, d.between(1, 6)*50, side.name, spice, herb)
	if d.chance(50) {
		steps = steps[1:]
	}
	for i, step := range steps {
		fmt.Fprintf(&b, "%d. %s\n", i+1, step)
	}
	return []facts.Message{user(request), assistant(strings.TrimRight(b.String(), "\n"))}
}

// talk is small talk: greetings, thanks, who are you.
func talk(d *dice) []facts.Message {
	type exchange struct{ ask, reply []string }
	e := pick(d, []exchange{
		{[]string{"Hello!", "Hi.", "Good morning.", "Good evening!", "Hey there."}, []string{"Hello! What would you like to know about food?", "Hi! How can I help you today?", "Good to see you. Shall we talk about meals?"}},
		{[]string{"Thank you!", "Thanks a lot.", "That was helpful.", "Great, thank you."}, []string{"You are welcome.", "Gladly. Ask again when you like.", "With pleasure. Enjoy your meal!"}},
		{[]string{"Who are you?", "What are you?", "What is your name?"}, []string{"I am a small language model that talks about food.", "I am a tiny model, trained for a demonstration.", "I am a small assistant for questions about food."}},
		{[]string{"What can you do?", "How can you help me?", "What do you know?"}, []string{"I can suggest meals, write simple recipes and answer short questions about food.", "Ask me about foods, recipes or a plan for the day."}},
		{[]string{"Goodbye.", "Bye!", "See you tomorrow."}, []string{"Goodbye! Eat well.", "See you soon.", "Bye, and enjoy your dinner."}},
		{[]string{"Are you a doctor?", "Can you treat me?", "I feel ill. What should I take?"}, []string{"No, I am a small model. Please ask a doctor about your health.", "I cannot judge that. Please see a doctor.", "That is a question for a doctor, not for me."}},
	})
	out := []facts.Message{user(pick(d, e.ask)), assistant(pick(d, e.reply))}
	switch {
	case d.chance(30):
		topic := anyFood(d)
		out = append(out, user(fillSlots(d, "Say one thing about {food}.", topic)), assistant(paragraph(d, topic, 1)))
	case d.chance(40):
		out = append(out, suggestion(d)...)
	}
	return out
}
