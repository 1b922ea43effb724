package corpus

import (
	"strings"

	"github.com/lentil-lm/lentil/demo/facts"
)

// Slots of the sentence patterns, each filled by a random draw: {food} stands for the topic
// and stays the same in a text, {other} for a second food. [is|are] follows the topic's number.
var slots = map[string][]string{
	"taste":   {"sweet", "mild", "nutty", "fresh", "sharp", "earthy", "creamy", "bitter", "tangy", "rich", "light", "salty", "buttery", "fruity"},
	"feel":    {"soft", "firm", "crisp", "crunchy", "tender", "juicy", "smooth", "chewy", "dry", "light"},
	"cook":    {"bake", "boil", "steam", "roast", "fry", "grill", "simmer", "stew"},
	"cooked":  {"baked", "boiled", "steamed", "roasted", "fried", "grilled", "stewed"},
	"tool":    {"pan", "pot", "oven", "wok", "bowl", "steamer", "saucepan", "dish"},
	"meal":    {"breakfast", "lunch", "dinner", "supper", "a snack", "a picnic", "a quick meal", "a family meal"},
	"season":  {"spring", "summer", "autumn", "winter", "the cold months", "the warm months"},
	"herb":    {"basil", "parsley", "thyme", "mint", "dill", "coriander", "chives", "rosemary", "oregano"},
	"spice":   {"pepper", "cumin", "paprika", "turmeric", "cinnamon", "ginger", "nutmeg", "curry powder", "chilli"},
	"place":   {"market", "shop", "garden", "bakery", "corner store", "farm stall", "kitchen"},
	"person":  {"My grandmother", "A neighbour", "Our cook", "A friend of mine", "The teacher", "My brother", "A young cook", "The farmer"},
	"when":    {"in the morning", "at noon", "in the evening", "on Sundays", "after work", "before a walk", "during the week", "on cold days"},
	"store":   {"a cool cupboard", "a closed jar", "a paper bag", "a dry place", "the lower part of the fridge", "a cloth bag", "a tin with a lid"},
	"goal":    {"more fibre", "more protein", "more colour", "less salt", "less sugar", "more vegetables", "a lighter meal", "a fuller stomach"},
	"body":    {"the muscles", "the bones", "the skin", "the blood", "the heart", "the eyes", "the brain", "the stomach", "the nerves"},
	"mineral": {"vitamins", "minerals", "protein", "fibre", "fat", "carbohydrate", "water", "energy"},
}

// sentences are patterns about one food. They say how it tastes, is bought, cooked and kept, never how much of anything it holds.
var sentences = []string{
	"{Food} [tastes|taste] {taste} and [feels|feel] {feel} when {cooked}.",
	"Many people like {food} with {other}.",
	"You can {cook} {food} in a {tool} with a little {spice}.",
	"{person} likes to serve {food} {when}.",
	"{Food} [goes|go] well with {herb} and {other}.",
	"In {season}, {food} [is|are] easy to find at the {place}.",
	"Keep {food} in {store}, away from light.",
	"For {meal}, mix {food} with {other} and {herb}.",
	"A handful of {food} makes {other} more {taste}.",
	"{person} bought {food} at the {place} and {other} as well.",
	"Wash {food} well before you {cook} [it|them].",
	"If {food} [seems|seem] too {feel}, {cook} [it|them] a little longer.",
	"Those who want {goal} may try {food} in place of {other}.",
	"The label on {food} lists {mineral} and {mineral} for each portion.",
	"Food gives the body {mineral}, {mineral} and {mineral}.",
	"A varied plate is good for {body} and for {body}.",
	"The table shows how much {mineral} a food has per 100 g.",
	"{Food} with {other} [is|are] a simple idea for {meal}.",
	"Some cooks add {spice} to {food}; others prefer {herb}.",
	"Left over {food} can go into a soup with {other}.",
	"The amounts differ from one kind of {food} to the next.",
	"It is wise to look at the figures on the label of {food}.",
	"Chop {food}, warm some oil in a {tool}, and add {other}.",
	"Children often enjoy {food} when [it is|they are] {feel}.",
	"Dried or fresh, {food} [has|have] a {taste} smell.",
	"Nobody needs {food} every day, but variety helps {body}.",
	"People who eat little {other} can choose {food}.",
	"{Food} [was|were] once a common dish for {meal}.",
	"Serve {food} warm, with {other} on the side.",
	"How much you need depends on your age, your size and how much you move.",
}

// paragraph writes n sentences about a topic.
func paragraph(d *dice, topic subject, n int) string {
	var lines []string
	for _, pattern := range some(d, sentences, n) {
		lines = append(lines, facts.Capital(fillSlots(d, pattern, topic)))
	}
	return strings.Join(lines, " ")
}

// fillSlots fills a sentence pattern.
func fillSlots(d *dice, pattern string, topic subject) string {
	other := anyFood(d)
	for other.name == topic.name {
		other = anyFood(d)
	}
	out := strings.NewReplacer("{food}", topic.name, "{Food}", facts.Capital(topic.name), "{other}", other.name).Replace(pattern)
	for {
		start := strings.IndexAny(out, "{[")
		if start < 0 {
			return out
		}
		end := start + strings.IndexAny(out[start:], "}]")
		slot := out[start+1 : end]
		word, many, isNumber := strings.Cut(slot, "|")
		switch {
		case isNumber && topic.many:
			word = many
		case !isNumber:
			word = pick(d, slots[slot])
		}
		out = out[:start] + word + out[end+1:]
	}
}

// anyFood draws a food, real ones mostly.
func anyFood(d *dice) subject {
	if d.chance(85) {
		return pick(d, real.food)
	}
	return inventedFood(d, d.chance(50))
}

// prose writes a short text about a food on request.
func prose(d *dice) []facts.Message {
	topic := anyFood(d)
	request := pick(d, []string{
		"Write a few lines about {food}.", "Tell me something about {food}.", "What can I do with {food}?", "Describe {food}.",
		"I have {food} at home. Any ideas?", "How do people eat {food}?", "Write a short text on {food}.",
	})
	text := paragraph(d, topic, d.between(2, 5))
	if d.chance(20) {
		text = "## " + facts.Capital(topic.name) + "\n\n" + text + "\n\n" + paragraph(d, topic, d.between(2, 3))
	}
	return []facts.Message{user(fillSlots(d, request, topic)), assistant(text)}
}
