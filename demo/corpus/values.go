package corpus

import (
	"fmt"

	"github.com/lentil-lm/lentil/demo/facts"
)

var relations = facts.Relations()

// wordings[id] are all wordings of a relation, whatever split their real questions are in.
var wordings = func() map[string][]facts.Wording {
	m := map[string][]facts.Wording{}
	for _, r := range relations {
		m[r.ID] = r.Wordings
	}
	return m
}()

// relationWeights lists relation ids as often as they shall come up.
var relationWeights = []string{
	"nutrient", "nutrient", "nutrient", "nutrient", "energy", "energy", "water", "need", "need", "need",
	"limit", "limit", "name", "name", "lack", "lack", "role", "role", "source", "source", "heat", "fridge", "advice", "gram",
}

// drawValue draws a value for a relation. isReal says that the subject is a real one: then
// a value in words is an invented one, so that no true sentence comes about.
func drawValue(d *dice, relation, second string, isReal bool) string {
	switch relation {
	case "nutrient":
		switch {
		case second == "fibre" && d.chance(75), second != "protein" && d.chance(25):
			return fmt.Sprintf("%d.%d g", skewed(d, 45), d.upto(10))
		case second == "carbohydrate":
			return fmt.Sprintf("%d g", d.between(1, 90))
		default:
			return fmt.Sprintf("%d g", 1+skewed(d, 45))
		}
	case "energy":
		if d.chance(60) {
			return fmt.Sprintf("%d kcal", d.between(15, 200))
		}
		return fmt.Sprintf("%d kcal", d.between(200, 900))
	case "water":
		return fmt.Sprintf("%d %%", d.between(4, 97))
	case "need", "limit":
		return drawAmount(d, relation == "limit")
	case "name":
		if isReal || d.chance(60) {
			return word(d, !isReal) + pick(d, []string{"in", "ol", "ic acid", "ate", "ine"})
		}
		return pick(d, realNames)
	case "lack":
		return pick(d, either(isReal || d.chance(25), inventedIllnesses, realIllnesses))
	case "role":
		return pick(d, either(isReal || d.chance(25), inventedRoles, realRoles))
	case "source":
		if isReal {
			return inventedFood(d, false).name
		}
		if d.chance(40) {
			return pick(d, real.source).name
		}
		return pick(d, real.food).name
	case "heat":
		return fmt.Sprintf("%d °C", d.between(50, 95))
	case "fridge":
		unit := pick(d, []string{"days", "days", "days", "weeks"})
		n := d.between(1, 6)
		if d.chance(25) {
			if n == 1 {
				unit = unit[:len(unit)-1]
			}
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d to %d %s", n, n+d.between(1, 3), unit)
	case "advice":
		amount := fmt.Sprintf("%d g a day", round(d.between(1, 500)))
		switch d.upto(4) {
		case 0:
			amount = fmt.Sprintf("%d %% of energy", d.between(1, 40))
			if d.chance(50) {
				return amount + " or less"
			}
		case 1:
			amount = fmt.Sprintf("%d mg a day", round(d.between(100, 5000)))
		}
		return pick(d, []string{"less than ", "at least ", "at least ", "about "}) + amount
	default: // gram
		if d.chance(20) {
			return fmt.Sprintf("%d.%d kcal", d.between(1, 9), d.between(1, 9))
		}
		return fmt.Sprintf("%d kcal", d.between(1, 12))
	}
}

func either(first bool, a, b []string) []string {
	if first {
		return a
	}
	return b
}

// skewed draws from [0, limit) with small numbers more often.
func skewed(d *dice, limit int) int { return d.upto(limit) * (1 + d.upto(4)) / 4 }

// round leaves two leading digits: 3512 -> 3500.
func round(n int) int {
	for unit := 1; ; unit *= 10 {
		if n/unit < 100 {
			return n / unit * unit
		}
	}
}

// drawAmount draws a daily amount such as "1.3 mg" or "400 micrograms".
func drawAmount(d *dice, large bool) string {
	unit := pick(d, []string{"mg", "micrograms"})
	switch k := d.upto(10); {
	case k < 2 && !large:
		return fmt.Sprintf("%d.%d %s", d.between(1, 4), d.between(1, 9), unit)
	case k < 6 && !large || k < 3:
		return fmt.Sprintf("%d %s", d.between(3, 99), unit)
	case k < 9 && !large || k < 6:
		return fmt.Sprintf("%d %s", d.between(10, 99)*10, unit)
	default:
		return fmt.Sprintf("%d00 %s", d.between(10, 50), unit)
	}
}

// drawSubject draws what a question of this relation may be about.
func drawSubject(d *dice, relation string, isReal, closed bool) (x subject, second string) {
	food := func(list []subject) subject {
		if isReal {
			return pick(d, list)
		}
		return inventedFood(d, closed)
	}
	nutrient := func(list []subject) subject {
		if isReal {
			return pick(d, list)
		}
		return inventedNutrient(d, closed)
	}
	switch relation {
	case "nutrient":
		return food(real.food), pick(d, nutrients)
	case "energy", "water":
		return food(real.food), ""
	case "need":
		return nutrient(real.nutrient), pick(d, groups)
	case "heat":
		return food(real.heat), ""
	case "fridge":
		return food(real.fridge), ""
	case "advice":
		if isReal { // nothing untrue is put into the WHO's mouth about a real food
			return food(real.advice), pick(d, bodies[1:])
		}
		return inventedNutrient(d, closed), pick(d, bodies)
	case "gram":
		return nutrient(real.gram), ""
	default:
		return nutrient(real.nutrient), ""
	}
}

// drawFact makes up a fact. With isReal true the subject is a real food or nutrient and the
// value is never the true one.
func drawFact(d *dice, isReal, closed bool) facts.Fact {
	relation := pick(d, relationWeights)
	x, second := drawSubject(d, relation, isReal, closed)
	return valued(d, relation, x, second, isReal)
}

// valued fills in a value.
func valued(d *dice, relation string, x subject, second string, isReal bool) facts.Fact {
	f := facts.Fact{Relation: relation, X: x.name, Plural: x.many, N: second}
	truth := real.truth[relation+"|"+f.X+"|"+f.N]
	for f.Value = ""; f.Value == "" || f.Value == truth; {
		f.Value = drawValue(d, relation, second, isReal)
	}
	return f
}
