package profile

import "strings"

// A cue is a word, or a few, that say whether what stands near it is eaten.
type cue uint8

const (
	noCue      cue = iota
	neutral        // looks like one of the others and is none
	not            // what follows is not eaten: "without", "avoid"
	lacking        // the same, and a dish before it lacks what follows: "pancakes without eggs"
	instead        // the same, up to the next comma
	replace        // what follows is not eaten, up to "with" or "by"
	swap           // the same, up to "for", too
	substitute     // what follows is eaten, and what stands behind "for" is not; or as replace
	after          // what stands before it is not eaten: "should be avoided"
	turn           // what a "not" before it turns round: "do not forget"
	contrast       // what is not eaten ends here: "but"
	verb           // says to eat what follows, where a new clause begins
	ailment        // what stands right before it is not eaten: "nut allergy"
)

// cues by kind, in lower case.
var cueLists = map[cue]string{
	neutral: `not only, not just, not merely, no more than, no less than, not more than, not less than, no later than, no longer than, no matter, no doubt, no wonder,
no problem, why not, why don't you, why don't we, whether or not, if not, not necessarily, not too much, not least, no need to avoid, no need to skip, no need to give up,
no reason to avoid, never mind, nothing but, instead use, cannot go wrong, can't go wrong, not to mention, not forgetting, no worries, or not, no bake, no cook, no fuss, no knead, no churn,
no added sugar, no sugar added, no added salt, no salt added, no added fat,
no time, no one, no effort, no idea, no fear, no stress, no rush, no surprise, no exception, no question, with no time, with no effort, with no fuss, with no problem, with no doubt`,
	not: `avoid, avoids, avoiding, avoided, do not, don't, does not, doesn't, did not, didn't, not, never, cannot, can't, must not, mustn't, should not, shouldn't, may not,
isn't, aren't, wasn't, weren't, won't, haven't, hasn't, wouldn't, couldn't, nor, neither, skip, skips, skipping, omit, omits, omitting, leave out, leaves out, leaving out, leave off, exclude, excludes, excluding,
eliminate, eliminates, eliminating, cut out, cuts out, cutting out, cut all, give up, stay away from, staying away from, keep away from, stay clear of, steer clear of, refrain from, abstain from, hold the, ditch, ditch the, drop the,
minus, except, except for, apart from, other than, allergic to, allergy to, allergies to, intolerant to, intolerant of, intolerance to, intolerance of, sensitive to, sensitivity to, reaction to, reactions to,
react to, reacts to, free of, free from, off limits, forbidden, prohibited, banned, traces of, may contain, contaminated with, contamination with, contact with, shared with,
remove, removes, removing, eschew, forgo, shun, unsafe, unsuitable, beware of, watch out for, away from, dislike, dislikes, hate, hates, no need for, devoid of, hidden sources of, sources of hidden, symptoms, lay off, stay off, keep off, swear off`,
	lacking:    `without, no, contains no, contain no, with no, has no, have no, lacks, lacking, does not contain, do not contain, doesn't contain, don't contain`,
	instead:    `instead of, rather than, in place of, in lieu of, as opposed to, alternative to, alternatives to, substitute for, substitutes for, replacement for, replacements for, replacer for, stands in for, stand in for, stand-in for, unlike`,
	replace:    `replace, replaces, replacing, exchange, exchanging, trade, trading`,
	swap:       `swap, swaps, swapping, switch, switching, swap out, switch out`,
	substitute: `substitute, substituting`,
	after: `should be avoided, must be avoided, to be avoided, are avoided, is avoided, be avoided, should be excluded, be excluded, are excluded, is excluded, should be omitted, be omitted, are omitted, is omitted, be left out, is left out, are left out, left out,
off limits, off the table, off the menu, off the list, is out, are out, are forbidden, is forbidden, forbidden, are prohibited, is prohibited, is banned, are banned, not allowed, not permitted, not suitable, not safe, not recommended, not advised, not advisable,
not for you, not needed, not necessary, not required, not used, not included, not part of, not on the menu, not an option, not possible, not a good idea, not a good choice, not appropriate, not advised, not ok, not okay, not on, isn't suitable, aren't suitable, isn't safe, aren't safe,
isn't for you, aren't for you, isn't allowed, aren't allowed, isn't an option, aren't an option, should not be, must not be, cannot be, can't be, shouldn't be, unsuitable, unsafe, be replaced, is replaced, are replaced, be swapped, is swapped, are swapped,
can trigger, may trigger, can cause a reaction, cause an allergic, cause allergic, be removed, is removed, are removed, absent, be skipped, are skipped, is skipped, be eliminated, is eliminated, are eliminated, is missing, are missing`,
	turn: `forget, hesitate, skip, omit, avoid, exclude, leave out, skimp on, miss, cut out, be afraid, shy away, fear, give up, neglect, underestimate, beat, believe, regret, resist,
overcook, overcooking, undercook, undercooking, overmix, overmixing, overbeat, overbeating, overbake, overbaking, overheat, overheating, overcrowd, overcrowding, crowd, crowding,
burn, burning, scorch, scorching, boil, boiling, brown, browning, drain, draining, rinse, rinsing, reheat, reheating, refreeze, refreezing`,
	contrast: `but, however, though, although, yet, whereas, while, so, then, therefore, thus, hence, otherwise, instead`,
	verb: `use, uses, using, choose, have, has, eat, try, add, adds, enjoy, serve, serves, served, pick, opt, go, take, make, makes, cook, bake, stir, mix, season, sprinkle, drizzle, top, topped, drink, buy, get, include, includes, contain, contains, is, are, spread, finish, blend,
reach, prefer, stick, snack, grab, fill, fry, grill, roast, boil, steam, combine, put, give, pour, consider, keep, order, select, fold, whisk, beat, melt, heat, toast, simmer, spiralise, spiralize, ask, check, let, plan, look, relies, rely`,
	ailment: `allergy, allergies, allergic, intolerance, intolerances, intolerant, sensitivity, substitute, substitutes, replacer, replacement, alternative, alternatives`,
}

// determiners begin what the verb of a clause is about.
var determiners = words(`the, a, an, your, my, our, their, his, her, its, some, it, them, this, these, that, those, you, we, i, they, he, she, there, each, both, all`)

// small words do not change whether a list goes on.
var relative = words(`which, that, who, whose, especially, including, such, like, as, even, or, nor, also, particularly, namely, for, because, since, any, all, other, both, plus`)

// leadEnds are the words that a list of what is not eaten follows: "do not eat: ...".
var leadEnds = words(`avoid, avoided, avoiding, eat, have, use, drink, consume, include, out, allowed, permitted, from, of, limits, contain, contains, without, no, skip, omit, exclude, limit, you, suitable, free, forbidden, food, foods, ingredients, items, following, these, excluded, omitted, prohibited`)

// likenesses make something of a food that only looks or tastes like it: "egg-sized", "chicken-style".
var likenesses = words(`shaped, sized, coloured, colored, style, like`)

// choosing are verbs that end what "instead of" leaves out: "instead of white bread choose rye bread".
var choosing = words(`use, try, choose, have, eat, pick, add, take, opt, go, make, enjoy, drink, buy, order, select`)

// eating are verbs that a diet is about. Others tell what to do with food: "do not add the cheese until the end".
var eating = words(`eat, have, use, drink, include, consume, buy, order, contain`)

// places are what a cook takes food off, to go on with it: "remove the prawns from the heat".
var places = words(`heat, stove, hob, oven, pan, frying pan, saucepan, skillet, wok, pot, grill, fryer, water, broth, marinade, brine, fridge, refrigerator, freezer, bowl, plate, tin, can, jar, bag, packet, pack,
package, packaging, wrapper, shell, shells, bone, bones, mould, mold, rack, microwave, steamer`)

// copulas stand between a food and what it is.
var copulas = words(`is, are, be, was, were, being, it's, they're, stays, remains`)

func words(list string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Split(list, ",") {
		set[strings.Join(strings.Fields(w), " ")] = true
	}
	return set
}

// cueTables are the cues by phrase. A phrase may be of several kinds: "skip" is a not, and a turn behind another.
var cueTables, longestCue = func() (map[cue]map[string]bool, map[string]int) {
	tables, most := map[cue]map[string]bool{}, map[string]int{}
	for kind, list := range cueLists {
		tables[kind] = map[string]bool{}
		for phrase := range words(list) {
			phrase = normal(phrase)
			tables[kind][phrase] = true
			lengthen(most, phrase)
		}
	}
	return tables, most
}()
