package book

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Part of a book is one that is there to find one's way, and says nothing itself.
type Part string

// The parts.
const (
	Contents     Part = "contents"
	Index        Part = "index"
	Bibliography Part = "bibliography"
)

// partNames are the headings of parts, in the plain form of plainTitle.
var partNames = map[string]Part{
	"contents": Contents, "tableofcontents": Contents, "inthisbook": Contents, "listofillustrations": Contents, "listoftables": Contents, "listoffigures": Contents,
	"illustrations": Contents, "inhalt": Contents, "inhaltsverzeichnis": Contents, "tabledesmatières": Contents, "sommaire": Contents, "contenido": Contents, "indice": Contents, "índice": Contents,
	"index": Index, "generalindex": Index, "subjectindex": Index, "indexofnames": Index, "register": Index, "sachregister": Index, "stichwortverzeichnis": Index, "recipeindex": Index, "indexofrecipes": Index,
	"bibliography": Bibliography, "references": Bibliography, "workscited": Bibliography, "selectbibliography": Bibliography, "selectedbibliography": Bibliography, "sources": Bibliography,
	"literature": Bibliography, "literatur": Bibliography, "literaturverzeichnis": Bibliography, "bibliographie": Bibliography, "bibliografía": Bibliography, "bibliografia": Bibliography,
}

// recognize marks the parts of a book and makes recipes of their blocks. All text stays.
func (d *Document) recognize() {
	d.markParts()
	d.markRecipes()
}

var (
	endsInPage = regexp.MustCompile(`(?:^|[\s.,·…–—-])(?:\d{1,4}|[ivxlc]{1,7})(?:\s*[–—-]\s*\d{1,4})?[.\s–—-]*$`)
	indexEntry = regexp.MustCompile(`^[^.!?]{2,80}?,\s*(?:(?:see|see also|s\.)\s|\d{1,4}(?:[–-]\d{1,4})?(?:n|ff?\.?)?(?:[,;]\s*|$))|\bsee(?: also)?\s+\p{Lu}`)
	year       = regexp.MustCompile(`\b(?:1[4-9]|20)\d\d[a-z]?\b`)
)

// markParts finds contents, indexes and bibliographies by their heading and by what their lines look like.
func (d *Document) markParts() {
	titles := map[string]bool{}
	for i := range d.Blocks {
		if b := &d.Blocks[i]; b.Kind == Heading && utf8.RuneCountInString(b.Text) > 2 {
			titles[plainTitle(b.Text)] = true
		}
		if c := d.Blocks[i].Chapter; c != "" {
			titles[plainTitle(c)] = true
		}
	}
	for i := range d.Blocks {
		b := &d.Blocks[i]
		if b.Kind != Heading && b.Kind != Paragraph || b.Part != "" || len(b.Text) > 60 {
			continue
		}
		part, ok := partNames[plainTitle(b.Text)]
		if title := strings.ToLower(b.Text); !ok && strings.HasSuffix(title, " index") && len(strings.Fields(title)) <= 5 {
			part, ok = Index, true
		}
		if !ok {
			continue
		}
		end := i + 1
		for end < len(d.Blocks) && looksLike(part, &d.Blocks[end], titles) && !d.endsPart(i, end) {
			end++
		}
		lines := 0
		for k := i + 1; k < end; k++ {
			lines += strings.Count(d.Blocks[k].Text, "\n") + 1
		}
		if lines < 3 {
			continue
		}
		for k := i; k < end; k++ {
			d.Blocks[k].Part = part
		}
	}
}

// endsPart tells whether a heading at k begins something else than the part that block i is the head of.
func (d *Document) endsPart(i, k int) bool {
	b := &d.Blocks[k]
	if b.Kind != Heading {
		return false
	}
	// The letters of an index, and the parts that a contents page is divided into, are smaller headings.
	return d.Blocks[i].Kind != Heading || b.Level <= d.Blocks[i].Level && utf8.RuneCountInString(b.Text) > 2
}

// looksLike tells whether most lines of a block can be those of a part.
func looksLike(part Part, b *Block, titles map[string]bool) bool {
	if b.Kind == Heading {
		return len(b.Text) < 60
	}
	lines := strings.Split(b.Text, "\n")
	good, long := 0, 0
	for _, line := range lines {
		switch {
		case part == Contents && (endsInPage.MatchString(line) && len(line) < 200 || titles[plainTitle(strings.TrimFunc(line, notLetter))]):
			good++
		case part == Index && (indexEntry.MatchString(line) || endsInPage.MatchString(line) && len(line) < 120 || utf8.RuneCountInString(line) < 30 && !ends(line)):
			good++
		case part == Bibliography && year.MatchString(line) && len(line) < 1000:
			good++
		}
		if len(line) > 400 {
			long++
		}
	}
	if part == Bibliography && len(lines) == 1 { // an entry without a year between others
		return good > 0 || len(b.Text) < 300 && long == 0 && strings.Count(b.Text, ",") > 1
	}
	return good*2 >= len(lines)
}

func notLetter(r rune) bool { return !unicode.IsLetter(r) }

// A Role is what a line of a recipe is.
type Role string

// The roles.
const (
	Label      Role = "label" // "Ingredients", "Serves 4"
	Ingredient Role = "ingredient"
	Step       Role = "step"
)

// Recipe gives the lines of a recipe apart.
func (b *Block) Recipe() (ingredients, steps []string) {
	i := 0
	for line := range strings.SplitSeq(b.Text, "\n") {
		if i < len(b.Items) {
			switch b.Items[i].Role {
			case Ingredient:
				ingredients = append(ingredients, line)
			case Step:
				steps = append(steps, line)
			}
		}
		i++
	}
	return ingredients, steps
}

const amount = `(?:\d+(?:[.,/]\d+)?(?:\s*[-–]\s*\d+(?:[.,/]\d+)?)?(?:\s*[½¼¾⅓⅔⅛])?(?:\s+\d/\d)?|\d+-\d/\d|[½¼¾⅓⅔⅛⅕]|(?i:an?|one|two|three|four|five|six|eight|half an?|a few|some))`

const unit = `(?i:cups?|c|tbsps?|tablespoons?|tablespoonfuls?|tbs|tsps?|teaspoons?|teaspoonfuls?|oz|ounces?|fl|lbs?|pounds?|g|gr|grams?|kg|mg|ml|cl|dl|l|litres?|liters?|pints?|pts?|quarts?|qts?|gallons?|cloves?|slices?|pinch(?:es)?|dash(?:es)?|cans?|tins?|jars?|packets?|packages?|sticks?|bunch(?:es)?|sprigs?|handfuls?|heads?|stalks?|pieces?|knobs?|drops?|el|tl|prisen?|bund|stück|zehen?|becher|tassen?)`

var (
	measured = regexp.MustCompile(`^` + amount + `\s*` + unit + `\b\.?`)
	counted  = regexp.MustCompile(`^` + amount + `\s+\p{L}`)
	season   = regexp.MustCompile(`^(?i:(?:salt|pepper|oil|butter|water|sugar|flour|olive oil|lemon juice|parsley|herbs?|freshly ground)\b.{0,40}$|.{3,60}\b(?:to taste|for serving|to serve|for frying|for garnish|optional)\b)`)
	labels   = regexp.MustCompile(`^(?i:ingredients?|you will need|what you need|method|directions?|instructions?|preparation|procedure|steps?|to make|zutaten|zubereitung|ingr[ée]dients|préparation|ingredientes|preparación|notes?)\s*:?$`)
	yield    = regexp.MustCompile(`^(?i:serves|servings?|makes|yields?|portions?|for \d+ (?:people|persons|servings)|prep(?:aration)?(?: time)?|cook(?:ing)?(?: time)?|total(?: time)?|time|für \d+ personen|pour \d+ personnes)\b.{0,80}$`)
	begins   = regexp.MustCompile(`^(?:\(?\d{1,2}[.)]\s*)?(?i:add|arrange|bake|baste|beat|blend|boil|braise|bring|broil|brown|brush|carve|chill|chop|combine|cook|cool|cover|cream|crush|cut|dice|dip|dissolve|drain|dredge|drizzle|drop|dry|fill|fold|form|fry|garnish|grate|grease|grill|grind|heat|in an?|keep|knead|ladle|lay|leave|let|line|make|marinate|mash|measure|melt|mince|mix|peel|pick|place|poach|pour|prepare|preheat|press|purée|puree|put|reduce|refrigerate|remove|rinse|roast|roll|rub|salt|sauté|saute|scald|scrape|season|serve|set|shake|shape|sift|simmer|skim|slice|soak|spoon|spread|sprinkle|squeeze|steam|stew|stir|strain|take|tear|thicken|toast|top|toss|trim|turn|uncover|use|warm|wash|when|whip|whisk|wipe|work|wrap|while|once|after|meanwhile|den|die|das)\b`)
)

// ingredientLine tells whether a line can be one of a recipe's ingredients, and whether it is surely.
func ingredientLine(line string) (can, sure bool) {
	line = strings.TrimSpace(bullet1.ReplaceAllString(strings.ReplaceAll(line, "\t", " "), ""))
	if line == "" || utf8.RuneCountInString(line) > 120 || strings.Count(line, ". ") > 1 {
		return false, false
	}
	if measured.MatchString(line) {
		return true, true
	}
	return counted.MatchString(line) && len(strings.Fields(line)) <= 10 || season.MatchString(line), false
}

var bullet1 = regexp.MustCompile(`^[-*•+–]\s+`)

// isIngredients tells whether most lines are ingredients, at least least of them.
func isIngredients(lines []string, least int) bool {
	can, sure := 0, 0
	for _, l := range lines {
		c, s := ingredientLine(l)
		if c {
			can++
		}
		if s {
			sure++
		}
	}
	return len(lines) >= least && can*10 >= len(lines)*6 && sure > 0 && sure*3 >= can
}

// isSteps tells whether a block tells what to do.
func isSteps(b *Block) bool {
	if b.Kind != Paragraph && b.Kind != List {
		return false
	}
	lines, good := strings.Split(b.Text, "\n"), 0
	for _, l := range lines {
		if begins.MatchString(l) {
			good++
		}
	}
	return good*2 > len(lines) || good > 0 && b.Kind == List && good*3 >= len(lines)
}

// markRecipes makes one block of the ingredients and steps of each recipe.
func (d *Document) markRecipes() {
	var out []Block
	joined := false
	var folded []string // headings within the last recipe, which are above no block any more
	level := 0          // the highest of them
	known := make([]likeness, len(d.Blocks))
	last := -1 // block up to which nothing but ingredients without steps was found
	for i := 0; i < len(d.Blocks); {
		var roles []Role
		n, end := 0, 0
		if i > last {
			if roles, n, end = recipeAt(d.Blocks[i:], known[i:]); n == 0 {
				last = i + end - 1
			}
		}
		if b := &d.Blocks[i]; b.Kind == Heading && b.Level <= level {
			folded = nil
		}
		d.Blocks[i].Path = without(d.Blocks[i].Path, folded)
		if n == 0 {
			out = append(out, d.Blocks[i])
			i++
			continue
		}
		r := d.Blocks[i]
		r.Kind, r.Level = Recipe, 0
		var texts []string
		r.Items = nil
		folded, level = nil, 0
		for k := range n {
			b := &d.Blocks[i+k]
			if b.Kind == Heading {
				folded = append(folded, shorten(b.Text))
				if level == 0 || b.Level < level {
					level = b.Level
				}
			}
			texts = append(texts, b.Text)
			for range strings.Count(b.Text, "\n") + 1 {
				r.Items = append(r.Items, Item{Role: roles[k], Ordered: roles[k] == Step})
			}
		}
		r.Text = strings.Join(texts, "\n")
		out = append(out, r)
		joined = joined || n > 1
		i += n
	}
	if joined {
		d.move(out)
	}
	d.Blocks = out
}

// without is a path without some headings.
func without(path, gone []string) []string {
	if len(gone) == 0 || !slices.ContainsFunc(path, func(s string) bool { return slices.Contains(gone, s) }) {
		return path
	}
	return slices.DeleteFunc(slices.Clone(path), func(s string) bool { return slices.Contains(gone, s) })
}

// move gives the blocks and removals the offsets that they have once some blocks have become lines of one.
func (d *Document) move(out []Block) {
	type piece struct{ was, is, size int }
	var pieces []piece
	at, k := 0, 0
	for i := range out {
		if i > 0 {
			at += len(separator)
		}
		out[i].Offset = at
		begin := at
		for k < len(d.Blocks) && at-begin < len(out[i].Text) {
			if at > begin {
				at++ // the end of a line
			}
			pieces = append(pieces, piece{d.Blocks[k].Offset, at, len(d.Blocks[k].Text)})
			at += len(d.Blocks[k].Text)
			k++
		}
	}
	p := 0
	for i := range d.Removed {
		r := &d.Removed[i]
		for p+1 < len(pieces) && pieces[p+1].was <= r.Offset {
			p++
		}
		if len(pieces) > 0 {
			r.Offset = pieces[p].is + min(r.Offset-pieces[p].was, pieces[p].size)
		}
	}
}

// recipeAt tells how many blocks, from the first, are a recipe, and what each is. A recipe has ingredients, then steps.
// Where there are none, no recipe begins before end either.
func recipeAt(blocks []Block, known []likeness) (roles []Role, n, end int) {
	label := func(b *Block) bool {
		return b.Kind != Table && b.Kind != Code && !strings.Contains(b.Text, "\n") && (labels.MatchString(b.Text) || b.Kind != Heading && yield.MatchString(b.Text))
	}
	take := func(is func(int) int, role Role) (some bool) {
		for n < len(blocks) {
			k := is(n)
			if k == 0 {
				return some
			}
			for range k {
				roles = append(roles, role)
				n++
			}
			some = some || role != Label
		}
		return some
	}
	one := func(is func(b *Block) bool) func(int) int {
		return func(i int) int {
			if is(&blocks[i]) {
				return 1
			}
			return 0
		}
	}
	if blocks[0].Kind == Heading && !labels.MatchString(blocks[0].Text) {
		return nil, 0, 0
	}
	take(one(label), Label)
	if !take(func(i int) int { return ingredientsAt(blocks[i:], known[i:]) }, Ingredient) {
		return nil, 0, n
	}
	end = n
	take(one(label), Label)
	if !take(one(isSteps), Step) {
		return nil, 0, end
	}
	return roles, n, 0
}

// A likeness is what is known of a paragraph: whether it can be an ingredient.
type likeness int8

const (
	unknown likeness = iota
	no
	maybe
	surely
)

// ingredientsAt is how many blocks, from the first, are ingredients: a list, a table, or short paragraphs.
func ingredientsAt(blocks []Block, known []likeness) int {
	switch b := &blocks[0]; b.Kind {
	case List, Table:
		if isIngredients(strings.Split(b.Text, "\n"), 2) {
			return 1
		}
	case Paragraph:
		if lines := strings.Split(b.Text, "\n"); len(lines) > 2 && isIngredients(lines, 3) {
			return 1
		}
		n, sure := 0, 0
		for n < len(blocks) && blocks[n].Kind == Paragraph && n < 60 { // more are no recipe's
			if known[n] == unknown {
				switch can, sure := ingredientLine(blocks[n].Text); {
				case sure:
					known[n] = surely
				case can:
					known[n] = maybe
				default:
					known[n] = no
				}
			}
			if known[n] == no {
				break
			}
			if known[n] == surely {
				sure++
			}
			n++
		}
		if n >= 3 && sure > 0 && sure*3 >= n {
			return n
		}
	}
	return 0
}
