package facts

import "strings"

// food is a food of the facts table: its name in a question and the start of its line in the handbook's table.
type food struct {
	name   string
	plural bool
	key    string
}

var foods = []food{
	{"cooked lentils", true, "Lentils, cooked"},
	{"cooked chickpeas", true, "Chickpeas, cooked"},
	{"cooked black beans", true, "Black beans, cooked"},
	{"cooked pinto beans", true, "Pinto beans, cooked"},
	{"edamame", false, "Edamame, cooked"},
	{"firm tofu", false, "Tofu, firm"},
	{"tempeh", false, "Tempeh"},
	{"almonds", true, "Almonds"},
	{"walnuts", true, "Walnuts"},
	{"cashews", true, "Cashews"},
	{"hazelnuts", true, "Hazelnuts"},
	{"pistachios", true, "Pistachios"},
	{"peanuts", true, "Peanuts"},
	{"pumpkin seeds", true, "Pumpkin seeds"},
	{"sunflower seeds", true, "Sunflower seeds"},
	{"chia seeds", true, "Chia seeds"},
	{"flaxseed", false, "Flaxseed"},
	{"rolled oats", true, "Rolled oats, dry"},
	{"wheat bran", false, "Wheat bran"},
	{"popcorn", false, "Popcorn, air-popped"},
	{"cooked quinoa", false, "Quinoa, cooked"},
	{"cooked bulgur", false, "Bulgur, cooked"},
	{"cooked pearl barley", false, "Pearl barley, cooked"},
	{"cooked pasta", false, "Pasta, cooked"},
	{"cooked white rice", false, "White rice, cooked"},
	{"eggs", true, "Eggs"},
	{"cheddar", false, "Cheddar"},
	{"mozzarella", false, "Mozzarella"},
	{"feta", false, "Feta"},
	{"parmesan", false, "Parmesan"},
	{"cottage cheese", false, "Cottage cheese"},
	{"Greek yoghurt", false, "Greek yoghurt"},
	{"whole milk", false, "Whole milk"},
	{"butter", false, "Butter"},
	{"olive oil", false, "Olive oil"},
	{"honey", false, "Honey"},
	{"dark chocolate", false, "Dark chocolate"},
	{"chicken breast", false, "Chicken breast, roasted"},
	{"cooked salmon", false, "Salmon, cooked"},
	{"cooked cod", false, "Cod, cooked"},
	{"sardines", true, "Sardines"},
	{"broccoli", false, "Broccoli"},
	{"carrots", true, "Carrots"},
	{"cucumber", false, "Cucumber"},
	{"mushrooms", true, "Mushrooms"},
	{"spinach", false, "Spinach"},
	{"sweet potatoes", true, "Sweet potatoes, baked"},
	{"avocado", false, "Avocado"},
	{"apples", true, "Apples"},
	{"pears", true, "Pears"},
	{"bananas", true, "Bananas"},
	{"oranges", true, "Oranges"},
	{"strawberries", true, "Strawberries"},
	{"raspberries", true, "Raspberries"},
	{"blackberries", true, "Blackberries"},
	{"blueberries", true, "Blueberries"},
	{"watermelon", false, "Watermelon"},
	{"dates", true, "Dates"},
	{"dried figs", true, "Figs, dried"},
}

// In the lists below "subject = value" pairs are parted by semicolons; the pairs after "|" are the unseen ones.
const (
	protein = "cooked lentils = 9; cooked chickpeas = 9; cooked black beans = 9; firm tofu = 17; tempeh = 20; almonds = 21; walnuts = 15;" +
		"peanuts = 26; pumpkin seeds = 30; sunflower seeds = 21; chia seeds = 17; rolled oats = 13; cooked quinoa = 4; cooked pasta = 6;" +
		"cooked white rice = 3; eggs = 13; cheddar = 23; parmesan = 36; cottage cheese = 11; Greek yoghurt = 10; chicken breast = 31;" +
		"cooked salmon = 22; broccoli = 3" +
		"| cashews = 18; pistachios = 20; cooked cod = 23; mozzarella = 22; edamame = 12; sardines = 25; feta = 14; cooked pinto beans = 9"
	energy = "cooked lentils = 116; cooked chickpeas = 164; almonds = 579; walnuts = 654; rolled oats = 379; cooked quinoa = 120;" +
		"cooked pasta = 158; cooked white rice = 130; eggs = 143; whole milk = 61; butter = 717; olive oil = 884; honey = 304;" +
		"chicken breast = 165; broccoli = 34; carrots = 41; avocado = 160; apples = 52; bananas = 89" +
		"| pistachios = 560; hazelnuts = 628; cooked bulgur = 83; oranges = 47; blueberries = 57; strawberries = 32; dates = 277; tempeh = 192"
	fibre = "cooked lentils = 7.9; cooked chickpeas = 7.6; cooked black beans = 8.7; chia seeds = 34.4; flaxseed = 27.3; almonds = 12.5;" +
		"rolled oats = 10.1; wheat bran = 42.8; popcorn = 14.5; avocado = 6.7; raspberries = 6.5; pears = 3.1; apples = 2.4; carrots = 2.8; broccoli = 2.6" +
		"| dried figs = 9.8; blackberries = 5.3; hazelnuts = 9.7; sweet potatoes = 3.3; cooked pearl barley = 3.8; dark chocolate = 10.9"
	water = "cucumber = 95; watermelon = 91; apples = 86; bananas = 75; broccoli = 89; carrots = 88; whole milk = 88" +
		"| oranges = 87; strawberries = 91; mushrooms = 92; spinach = 91"

	needAdults = "vitamin D = 15 micrograms; vitamin E = 15 mg; folate = 400 micrograms; vitamin B12 = 2.4 micrograms; vitamin B6 = 1.3 mg;" +
		"calcium = 1000 mg; iodine = 150 micrograms; selenium = 55 micrograms | copper = 900 micrograms; phosphorus = 700 mg; biotin = 30 micrograms"
	needMen      = "vitamin C = 90 mg; vitamin A = 900 micrograms; iron = 8 mg; zinc = 11 mg; thiamin = 1.2 mg | vitamin K = 120 micrograms; choline = 550 mg; niacin = 16 mg"
	needWomen    = "vitamin C = 75 mg; vitamin A = 700 micrograms; iron = 18 mg; zinc = 8 mg | vitamin K = 90 micrograms; choline = 425 mg"
	needPregnant = "folate = 600 micrograms; iron = 27 mg; iodine = 220 micrograms | choline = 450 mg"

	limit = "vitamin C = 2000 mg; vitamin D = 100 micrograms; vitamin E = 1000 mg; calcium = 2500 mg; iron = 45 mg; zinc = 40 mg;" +
		"iodine = 1100 micrograms; selenium = 400 micrograms | vitamin A = 3000 micrograms; niacin = 35 mg; copper = 10 mg; phosphorus = 4000 mg"
	name = "vitamin A = retinol; vitamin B1 = thiamin; vitamin B2 = riboflavin; vitamin B3 = niacin; vitamin B7 = biotin; vitamin B9 = folate;" +
		"vitamin B12 = cobalamin; vitamin C = ascorbic acid | vitamin B5 = pantothenic acid; vitamin B6 = pyridoxine; vitamin E = tocopherol"
	lack = "vitamin C = scurvy; vitamin D = rickets; thiamin = beriberi; niacin = pellagra; iodine = goitre; iron = anaemia;" +
		"vitamin A = night blindness; vitamin K = bleeding | selenium = Keshan disease; protein = kwashiorkor; vitamin B12 = nerve damage; fluoride = tooth decay"
	role = "vitamin K = blood clotting; vitamin A = seeing in dim light; vitamin C = making collagen; vitamin D = absorbing calcium;" +
		"iodine = making thyroid hormones; iron = carrying oxygen; calcium = strong bones; folate = making DNA; vitamin E = protecting cells;" +
		"zinc = wound healing | magnesium = muscle and nerve function; potassium = fluid balance; fluoride = strong teeth; vitamin B12 = making red blood cells"
	source = "vitamin C = red peppers; vitamin A = sweet potatoes; vitamin K = natto; vitamin D = cod liver oil; selenium = Brazil nuts;" +
		"iodine = seaweed; zinc = oysters; calcium = yoghurt; magnesium = pumpkin seeds; potassium = dried apricots" +
		"| vitamin E = wheat germ oil; folate = beef liver; omega-3 = flaxseed oil; vitamin B12 = clams"
	heat   = "chicken = 74; minced beef = 71; egg dishes = 71; fish = 63; beef steaks = 63; leftovers = 74 | turkey = 74; lamb chops = 63; sausages = 71"
	fridge = "raw chicken = 1 to 2 days; raw steaks = 3 to 5 days; soup = 3 to 4 days; hard-boiled eggs = 1 week; fresh eggs = 3 to 5 weeks;" +
		"tuna salad = 3 to 4 days | raw sausages = 1 to 2 days; sliced ham = 3 to 5 days; pizza = 3 to 4 days"
	advice = "salt = less than 5 g a day; free sugars = less than 10 % of energy; saturated fat = 10 % of energy or less; trans fat = 1 % of energy or less;" +
		"fruit and vegetables = at least 400 g a day; fibre = at least 25 g a day" +
		"| sodium = less than 2000 mg a day; potassium = at least 3510 mg a day; total fat = 30 % of energy or less"
	gram = "fat = 9; protein = 4; carbohydrate = 4; alcohol = 7 | fibre = 2; polyols = 2.4; organic acids = 3"
)

// Facts lists every fact, trained ones and unseen ones.
func Facts() []Fact {
	var all []Fact
	foodKey := map[string]food{}
	for _, f := range foods {
		foodKey[f.name] = f
	}
	add := func(prefix, relation, second, unit, page, list string) {
		seen, unseen, _ := strings.Cut(list, "|")
		for i, part := range []string{seen, unseen} {
			for pair := range strings.SplitSeq(part, ";") {
				x, value, ok := strings.Cut(pair, "=")
				if !ok {
					continue
				}
				x, value = strings.TrimSpace(x), strings.TrimSpace(value)+unit
				f := Fact{
					ID: prefix + "/" + strings.ReplaceAll(x, " ", "-"), Relation: relation,
					X: x, N: second, Value: value, Page: page, Key: Capital(x), Unseen: i == 1,
				}
				if fd, ok := foodKey[x]; ok && page == "03-foods.md" {
					f.Plural, f.Key = fd.plural, fd.key
				} else {
					f.Plural = strings.HasSuffix(x, "s") && page == "11-food-safety.md"
				}
				all = append(all, f)
			}
		}
	}
	add("protein", "nutrient", "protein", " g", "03-foods.md", protein)
	add("energy", "energy", "", " kcal", "03-foods.md", energy)
	add("fibre", "nutrient", "fibre", " g", "03-foods.md", fibre)
	add("water", "water", "", " %", "03-foods.md", water)
	add("need", "need", "adults", "", "05-vitamins-minerals.md", needAdults)
	add("need-men", "need", "men", "", "05-vitamins-minerals.md", needMen)
	add("need-women", "need", "women", "", "05-vitamins-minerals.md", needWomen)
	add("need-pregnant", "need", "pregnant women", "", "05-vitamins-minerals.md", needPregnant)
	add("limit", "limit", "", "", "05-vitamins-minerals.md", limit)
	add("name", "name", "", "", "05-vitamins-minerals.md", name)
	add("lack", "lack", "", "", "05-vitamins-minerals.md", lack)
	add("role", "role", "", "", "05-vitamins-minerals.md", role)
	add("source", "source", "", "", "05-vitamins-minerals.md", source)
	add("heat", "heat", "", " °C", "11-food-safety.md", heat)
	add("fridge", "fridge", "", "", "11-food-safety.md", fridge)
	add("advice", "advice", "the WHO", "", "02-energy-and-targets.md", advice)
	add("gram", "gram", "", " kcal", "02-energy-and-targets.md", gram)
	return all
}
