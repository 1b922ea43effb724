"""The rows that a widely read tutorial makes of books, re-stated from its description, and what can be measured of them.

Chunks of 1,000 characters of the text with single spaces, cut at the last full stop if that is past the middle (and the
rest of the window lost); a topic for each by counting words; one question for each topic; the chunk as the answer;
80/10/10 by rows at random. Usage: published_rows.py BOOK.txt [FOLDER for the rows]
"""
import json, pathlib, random, re, sys

TOPICS = {
    "Nutrition Basics": "protein fat carbohydrate vitamin mineral calorie nutrient energy",
    "Healthy Diets": "diet weight health plan vegetarian reduce balance lean",
    "Recipes": "recipe cook cup tablespoon ingredients serves soup salad",
    "Good Food Habits": "habit eat meal breakfast lunch dinner snack exercise",
}
QUESTIONS = {"Nutrition Basics": "What should I know about the basics of nutrition?", "Healthy Diets": "Can you tell me about healthy diets?",
             "Good Food Habits": "What are good food habits?"}


def question(topic, chunk):
    if topic != "Recipes":
        return QUESTIONS[topic]
    dish = "soup" if "soup" in chunk.lower() else "salad" if "salad" in chunk.lower() else "recipe"
    return f"Can you give me a healthy {dish}?"


def chunks(text, size=1000):
    for at in range(0, len(text), size):
        piece = text[at:at + size]
        stop = piece.rfind(".")
        yield piece[:stop + 1] if stop > size // 2 else piece


text = re.sub(r"\s+", " ", open(sys.argv[1], encoding="utf-8", errors="ignore").read())
rows = []
for chunk in chunks(text):
    counts = {t: sum(chunk.lower().count(w) for w in words.split()) for t, words in TOPICS.items()}
    topic = max(counts, key=counts.get) if any(counts.values()) else "Nutrition Basics"
    rows.append((question(topic, chunk), chunk))
random.Random(0).shuffle(rows)
train, test = rows[:len(rows) * 8 // 10], rows[len(rows) * 8 // 10:]
if len(sys.argv) > 2:
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    half = len(test) // 2
    for name, part in {"train": train, "valid": test[:half], "test": test[half:]}.items():
        lines = [{"messages": [{"role": "system", "content": "You are a helpful nutritionist."}, {"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in part]
        (out / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
asked = {q for q, _ in train}
json.dump({
    "rows": len(rows), "text_kept": sum(len(c) for _, c in rows) / len(text), "distinct_questions": len({q for q, _ in rows}),
    "test_questions_in_train": sum(q in asked for q, _ in test) / len(test), "bytes_a_row": sum(len(c) + len(q) for q, c in rows) / len(rows),
    "questions_with_several_answers": sum(len({c for q2, c in rows if q2 == q}) > 1 for q in asked),
}, sys.stdout, indent=4)
print()
