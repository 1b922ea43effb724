package score

import (
	"maps"
	"strings"
)

// A unit is what a figure is counted in: value·factor + offset is in the base of its dimension.
type unit struct {
	dim    string // "mass", "volume", ...; "" is a bare number
	factor float64
	offset float64
	system string // figures of one system are compared exactly, others as far as they are rounded
}

// bare is the unit of a number without one.
var bare = unit{factor: 1}

// units are known by all their names, in lower case. A plural with s is found by itself.
var units = map[string]unit{}

func addUnits(dim, system string, factor float64, names ...string) {
	for _, n := range names {
		units[n] = unit{dim: dim, factor: factor, system: system}
	}
}

func init() {
	// Grams. Factors of US and imperial units: NIST Handbook 44 (2024), appendix C.
	addUnits("mass", "metric", 1, "g", "gr", "gram", "gramme", "gm")
	addUnits("mass", "metric", 1e3, "kg", "kilo", "kilogram", "kilogramme", "kgs")
	addUnits("mass", "metric", 1e-3, "mg", "milligram", "milligramme", "mgs")
	addUnits("mass", "metric", 1e-6, "µg", "mcg", "ug", "microgram", "microgramme")
	addUnits("mass", "metric", 1e6, "tonne", "metric ton")
	addUnits("mass", "imperial", 28.349523125, "oz", "ounce")
	addUnits("mass", "imperial", 453.59237, "lb", "lbs", "pound")
	addUnits("mass", "imperial", 6350.29318, "stone")
	// Millilitres. Cups and spoons are those of food labels (21 CFR 101.9).
	addUnits("volume", "metric", 1, "ml", "millilitre", "milliliter", "cc")
	addUnits("volume", "metric", 10, "cl", "centilitre", "centiliter")
	addUnits("volume", "metric", 100, "dl", "decilitre", "deciliter")
	addUnits("volume", "metric", 1e3, "l", "litre", "liter")
	addUnits("volume", "cup", 240, "cup")
	addUnits("volume", "cup", 15, "tbsp", "tablespoon", "tablespoonful")
	addUnits("volume", "cup", 5, "tsp", "teaspoon", "teaspoonful")
	addUnits("volume", "imperial", 29.5735295625, "fl oz", "fluid ounce", "fl. oz")
	addUnits("volume", "imperial", 473.176473, "pint")
	addUnits("volume", "imperial", 946.352946, "quart")
	addUnits("volume", "imperial", 3785.411784, "gallon")
	// Kilocalories: who writes "calories" of food means those.
	addUnits("energy", "kcal", 1, "kcal", "kilocalorie", "cal", "calorie", "kcals", "cals")
	addUnits("energy", "joule", 1/4.184, "kj", "kilojoule")
	addUnits("energy", "joule", 1e3/4.184, "mj", "megajoule")
	addUnits("power", "metric", 1, "w", "watt")
	addUnits("power", "metric", 1e3, "kw", "kilowatt")
	// Degrees Celsius; "degrees" alone fits both scales.
	addUnits("temperature", "celsius", 1, "°c", "degree celsius", "degree centigrade", "celsius", "centigrade", "degree c", "c")
	units["°f"] = unit{dim: "temperature", factor: 5. / 9, offset: -32 * 5. / 9, system: "fahrenheit"}
	for _, n := range []string{"degree fahrenheit", "fahrenheit", "degree f", "f"} {
		units[n] = units["°f"]
	}
	addUnits("degrees", "degrees", 1, "°", "degree", "deg")
	// Metres.
	addUnits("length", "metric", 1e-6, "µm", "micrometre", "micrometer", "micron")
	addUnits("length", "metric", 1e-3, "mm", "millimetre", "millimeter")
	addUnits("length", "metric", 1e-2, "cm", "centimetre", "centimeter")
	addUnits("length", "metric", 1, "m", "metre", "meter")
	addUnits("length", "metric", 1e3, "km", "kilometre", "kilometer")
	addUnits("length", "imperial", 0.0254, "inch", "inches")
	addUnits("length", "imperial", 0.3048, "foot", "feet", "ft")
	addUnits("length", "imperial", 0.9144, "yard")
	addUnits("length", "imperial", 1609.344, "mile")
	// Seconds; months and years are not of one length, and no multiples of weeks.
	addUnits("time", "time", 1, "s", "sec", "second")
	addUnits("time", "time", 60, "min", "minute", "mins")
	addUnits("time", "time", 3600, "h", "hr", "hour")
	addUnits("time", "time", 86400, "day")
	addUnits("time", "time", 7*86400, "week", "wk")
	addUnits("months", "months", 1, "month")
	addUnits("months", "months", 12, "year", "yr")
	addUnits("share", "share", 1, "%", "percent", "per cent", "pct")
	addUnits("activity", "activity", 1, "iu", "international unit")
	addUnits("amount", "amount", 1e-3, "mmol", "millimole")
	addUnits("amount", "amount", 1, "mol", "mole")
	for sign, names := range map[string][]string{"$": {"dollar", "usd"}, "€": {"euro", "eur"}, "£": {"pound sterling", "gbp"}} {
		addUnits(sign, sign, 1, append(names, sign)...)
	}
	for name, u := range maps.Clone(units) { // plurals
		if strings.HasPrefix(name, "degree ") {
			units["degrees "+strings.TrimPrefix(name, "degree ")] = u
		} else if len(name) > 2 && !strings.HasSuffix(name, "s") {
			units[name+"s"] = u
		}
	}
}

// unitWords is how many words the name of a unit has at most.
const unitWords = 2
