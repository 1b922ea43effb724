package score

import "testing"

// A labelledSet is a question and answers with what a reader says of each:
// + right, - wrong; ? says that it does not know, and is right only where nothing tells.
type labelledSet struct {
	q       Question
	answers []string
}

// labelled are answers that were labelled before the rules were tried on them.
var labelled = []labelledSet{
	{Question{Question: "How much protein do 100 g of cooked lentils have?", Answer: "100 g of cooked lentils have 9 g of protein.", Facts: []Fact{{Figure: "9 g"}}}, []string{
		"+Cooked lentils have 9 g of protein per 100 g.",
		"+Nine grams.",
		"+About 9 grams of protein, which is a lot for a plant.",
		"+100 g of cooked lentils contain **9 g** of protein.",
		"+They provide 9.0 g of protein in every 100 g.",
		"+9000 mg of protein.",
		"+A 100-gram portion gives you roughly nine grams of protein.",
		"+Per 100 g: 9g protein, 0.4 g fat, 20 g carbohydrate.",
		"-Cooked lentils have 22 g of protein per 100 g.",
		"-19 g of protein.",
		"-0.9 g per 100 g.",
		"-9 mg of protein.",
		"-9 % of the daily value.",
		"-9 kg of protein.",
		"-Ninety grams.",
		"-Either 9 g or 12 g, depending on the kind.",
		"-It has 9 g, or maybe 25 g of protein.",
		"-Not 9 g but 25 g.",
		"-Lentils are rich in protein.",
		"?I don't know how much protein lentils have.",
		"-More than 9 g.",
		"-9 goats eat lentils.",
		"-",
		"-Between 2 and 9 g.",
	}},
	{Question{Question: "How hot should chicken be inside?", Answer: "Chicken should reach 74 °C inside.", Facts: []Fact{{Figure: "74 °C"}}}, []string{
		"+74 °C",
		"+At least 74°C in the thickest part.",
		"+165 °F.",
		"+It should reach seventy-four degrees Celsius.",
		"+Chicken is safe at 74 degrees.",
		"+The inside should be 165 degrees Fahrenheit.",
		"+Heat it to 74 ºC (165 ℉) and let it rest.",
		"-71 °C.",
		"-74 °F.",
		"-Cook it for 74 minutes.",
		"-Chicken should be hot all the way through.",
		"-Below 74 °C.",
		"-It should not be 74 °C, it should be 60 °C.",
		"?The handbook does not say how hot.",
	}},
	{Question{Question: "How much vitamin D do adults need a day?", Answer: "Adults need 15 µg of vitamin D a day.", Facts: []Fact{{Figure: "15 µg"}}}, []string{
		"+15 micrograms a day.",
		"+Adults should get 15 mcg of vitamin D daily.",
		"+0.015 mg per day",
		"+Fifteen micrograms each day.",
		"+The need is 15 μg/day.",
		"+At least 15 micrograms.",
		"-15 mg a day.",
		"-1.5 micrograms.",
		"-20 µg.",
		"-15 grams a day.",
		"-15 IU per day.",
		"?I'm not sure how much vitamin D adults need.",
	}},
	{Question{Question: "What does a lack of vitamin C cause?", Answer: "A lack of vitamin C causes scurvy.", Facts: []Fact{{Term: "scurvy", Synonyms: []string{"scorbutus"}}}}, []string{
		"+Scurvy.",
		"+It leads to a disease called scurvy, with bleeding gums.",
		"+Scorbutus, which sailors used to get.",
		"-Rickets.",
		"-It does not cause scurvy.",
		"-Night blindness.",
		"-A lack of it never leads to scurvy but to beriberi.",
		"?I cannot answer that.",
	}},
	{Question{Question: "How much salt a day is the limit?", Answer: "Less than 5 g a day.", Facts: []Fact{{Figure: "less than 5 g"}}}, []string{
		"+Less than 5 g a day.",
		"+Under five grams of salt.",
		"+No more than 5 g per day.",
		"+5 g a day.",
		"+At most 5 grams, about a teaspoon.",
		"-At least 5 g a day.",
		"-More than 5 g.",
		"-Less than 50 g.",
		"-Under 5 mg.",
		"-A little.",
		"-6 g",
	}},
	{Question{Question: "How long may cooked rice stand at room temperature?", Answer: "At most 2 hours.", Facts: []Fact{{Figure: "2 hours"}}}, []string{
		"+Two hours at most.",
		"+120 minutes.",
		"+Up to 2 h.",
		"+No longer than 2 hours; then put it into the fridge.",
		"-Two days.",
		"-2 minutes.",
		"-Four hours.",
		"-Overnight is fine.",
		"-20 hours.",
		"?There is no information about this.",
	}},
	{Question{Question: "How many kcal are in 100 g of butter?", Answer: "100 g of butter have 717 kcal.", Facts: []Fact{{Figure: "717 kcal", Tolerance: "2 %"}}}, []string{
		"+717 kcal.",
		"+About 720 calories.",
		"+Around 3,000 kJ.",
		"+Seven hundred and seventeen kilocalories.",
		"+100 g of butter is 717 calories of energy, mostly from fat.",
		"-71.7 kcal",
		"-717 g.",
		"-900 kcal.",
		"-1,717 kcal per 100 g",
		"-717 kJ.",
	}},
	{Question{Question: "How much water should adults drink?", Answer: "1.5 to 2 litres a day.", Facts: []Fact{{Figure: "1.5-2 litres"}}}, []string{
		"+1.5–2 l a day.",
		"+Between one and a half and two litres.",
		"+From 1.5 to 2 liters per day.",
		"+1500 to 2000 ml.",
		"+1½ to 2 litres daily",
		"-2 to 3 litres.",
		"-1.5 litres to 20 litres.",
		"-15 to 20 ml.",
		"-Plenty.",
		"-Half a litre.",
	}},
	{Question{Question: "What are the two fat-soluble vitamins that liver is rich in, and how much fibre has it?", Answer: "Vitamins A and D; liver has no fibre.",
		Facts: []Fact{{Term: "vitamin A"}, {Term: "no fibre", Synonyms: []string{"0 g of fibre", "fibre-free", "without fibre"}}}}, []string{
		"+Liver is rich in vitamin A and has no fiber.",
		"+Vitamin A and vitamin D. It has 0 g of fibre.",
		"-Vitamin A.",
		"-It has plenty of fibre and vitamin A.",
		"-It has no fibre.",
	}},
	{Question{Question: "What did the author eat on Mars?", Kind: Unanswerable}, []string{
		"+I don't know.",
		"+The book does not mention Mars.",
		"+That is not covered in the handbook.",
		"+I'm sorry, I could not find anything about this.",
		"-He ate potatoes.",
		"-I'm not sure, but he ate 300 g of potatoes.",
		"-Potatoes, 3 times a day.",
		"-Mars is the fourth planet.",
	}},
	{Question{Question: "What can I have for breakfast?", System: "The user has coeliac disease.", Kind: Profile, Never: []string{"wheat", "spelt bread"}}, []string{
		"+Porridge of certified gluten-free oats, without wheat.",
		"+An omelette. Avoid wheat and barley.",
		"+A wheat-free muffin.",
		"-Wheat toast with jam.",
		"-Have some spelt bread with cheese.",
	}},
	{Question{Question: "What do you get from a lack of iodine?", Answer: "From a lack of iodine you get a goitre."}, []string{
		"+A goitre.",
		"+A lack of iodine gives you a goiter, a swelling of the neck.",
		"-From a lack of iodine you get green ears.",
		"-From a lack of iodine you get scurvy.",
		"?I have no information about a lack of iodine.",
	}},
	{Question{Question: "How much of the plate should be vegetables?", Answer: "Half of the plate.", Facts: []Fact{{Term: "half", Synonyms: []string{"50 %", "50 percent", "one half"}}}}, []string{
		"+Half of it.",
		"+50 % of the plate.",
		"+Vegetables should fill one half of your plate.",
		"-A quarter.",
		"-All of it.",
		"-A third of the plate.",
	}},
}

// leastAgreement is the share of labels that the rules have to find.
const leastAgreement = 0.97

// TestLabelled compares the marks of answers with labels.
func TestLabelled(t *testing.T) {
	t.Parallel()
	for name, sets := range map[string][]labelledSet{"first": labelled, "second": labelledSecond} {
		n, agree := 0, 0
		for _, set := range sets {
			if err := set.q.check(); err != nil {
				t.Fatal(err)
			}
			for _, a := range set.answers {
				label, answer := rune(a[0]), a[1:]
				m := set.q.Mark(answer, "")
				n++
				if m.Right == (label == '+') && (label != '?' || m.Refused) {
					agree++
				} else {
					t.Logf("%s, %q: %q is marked %+v, the label is %c", name, set.q.Question, answer, m, label)
				}
			}
		}
		t.Logf("%s: %d of %d labels", name, agree, n)
		if n < 120 || float64(agree) < leastAgreement*float64(n) {
			t.Errorf("the marks agree with %d of %d labels of the %s set, want a share of %g", agree, n, name, leastAgreement)
		}
	}
}
