package profile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/chat/jinja"
)

// NoAdvice is the line that stands under everything that is about a profile.
const NoAdvice = "This is no medical advice. Ask a doctor or a dietitian about allergies and illness, and call for help in an emergency."

// Notice is the line that stands under everything that is about this profile.
func (p *Profile) Notice() string {
	if p.Language == "" || strings.HasPrefix(strings.ToLower(p.Language), "en") {
		return NoAdvice
	}
	return "Only English is checked: of answers in another language most is not seen. " + NoAdvice
}

// languages are names for the codes that profiles have; another text stands as it is.
var languages = map[string]string{
	"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese", "nl": "Dutch", "pl": "Polish", "ro": "Romanian",
	"sv": "Swedish", "da": "Danish", "fi": "Finnish", "cs": "Czech", "el": "Greek", "hu": "Hungarian", "tr": "Turkish", "ru": "Russian", "uk": "Ukrainian",
	"ar": "Arabic", "hi": "Hindi", "zh": "Chinese", "ja": "Japanese", "ko": "Korean",
}

// dietNames say what a diet leaves out.
var dietNames = map[Rule]string{
	"vegetarian": "vegetarian (no meat, no fish, no gelatine)", "vegan": "vegan (nothing of animals: no meat, fish, milk, eggs, honey)",
	"keto": "keto (hardly any starch or sugar)", "low-fodmap": "low-FODMAP (no onion, garlic, wheat, beans, lactose)",
	"halal": "halal (no pork, no alcohol)", "kosher": "kosher (no pork, no shellfish, no meat with milk)",
}

// Render writes the profile as the text that a model is told, hard limits first. Training and serving use the same
// text, so that a model which was trained on it knows it.
func (p *Profile) Render() string {
	var b strings.Builder
	b.WriteString("You answer a person with these rules. Keep all of them in every answer.\n")
	hard := func(s Severity, head string) {
		var names []string
		for _, a := range p.Avoid {
			if p.SeverityOf(a) == s {
				names = append(names, spoken(a))
			}
		}
		row(&b, head, names)
	}
	hard(Allergy, "Allergies, never suggest these or what is made of them")
	hard(Intolerance, "Intolerances, leave these out")
	hard(Avoid, "Avoids")
	var diets []string
	for _, d := range p.Diet {
		diets = append(diets, dietNames[Rule(d)])
	}
	row(&b, "Diet", diets)
	row(&b, "Dislikes", p.Dislikes)
	row(&b, "Goals", p.Goals)
	switch p.Units {
	case "metric":
		row(&b, "Units", []string{"metric (g, ml, °C)"})
	case "imperial":
		row(&b, "Units", []string{"imperial (oz, cups, °F)"})
	}
	if p.Language != "" {
		name, ok := languages[p.Language]
		if !ok {
			name = p.Language
		}
		row(&b, "Language of answers", []string{name})
	}
	b.WriteString("If the person asks for something that breaks a rule, say so and offer something that keeps it.\n")
	b.WriteString("You give no medical advice: send symptoms and doses to a doctor, and an allergic reaction to the emergency number.")
	return b.String()
}

func row(b *strings.Builder, head string, list []string) {
	if len(list) > 0 {
		fmt.Fprintf(b, "%s: %s.\n", head, strings.Join(list, "; "))
	}
}

// spoken is something avoided as the model reads it.
func spoken(name string) string {
	if r, ok := ruleOf(name); ok {
		return r.say()
	}
	if g, ok := groups[normal(name)]; ok {
		return g.spoken
	}
	return name
}

// System joins the text of a profile to a system prompt, which may be empty.
func (p *Profile) System(prompt string) string {
	if prompt == "" {
		return p.Render()
	}
	return prompt + "\n\n" + p.Render()
}

// Tell gives the messages of a conversation with the profile in their system prompt, which becomes their first message
// where there was none. Without a profile (nil) they stay as they are.
func (p *Profile) Tell(messages []jinja.Value) []jinja.Value {
	if p == nil {
		return messages
	}
	out := slices.Clone(messages)
	if text, first, ok := systemPrompt(out); ok {
		first = first.Clone()
		first.Set("content", p.System(text))
		out[0] = first
		return out
	}
	system := jinja.NewDict()
	system.Set("role", "system")
	system.Set("content", p.System(""))
	return slices.Insert(out, 0, jinja.Value(system))
}

// systemPrompt is the text of a first message that is one.
func systemPrompt(messages []jinja.Value) (string, *jinja.Dict, bool) {
	if len(messages) == 0 {
		return "", nil, false
	}
	first, ok := messages[0].(*jinja.Dict)
	if !ok {
		return "", nil, false
	}
	role, _ := first.Get("role")
	content, _ := first.Get("content")
	text, ok := content.(string)
	return text, first, ok && (role == "system" || role == "developer")
}
