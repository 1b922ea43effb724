"""Makes book/testdata/layouts: one text set in several ways by Typst, and what a reader should understand of it.

Run with an environment that has typst (PyPI, 0.15.2 made what is there), for all or for those that are named. The outline is left out, so that headings have to be told by
their looks. NAME.json is a list of [kind, text], of lists [kind, [item, ...]] and of tables [kind, [[cell, ...], ...]].
"""

import json
import random
import re
import sys
from pathlib import Path

import typst

OUT = Path(__file__).resolve().parent.parent.parent / "book" / "testdata" / "layouts"

WHO = "The cook|A careful gardener|Every household|The baker of the village|An experienced housekeeper|The author|Nobody|A patient neighbour".split("|")
DOES = "recommends|remembers|distrusts|prepares|understands|measures|considers|appreciates".split("|")
WHAT = ("the fermentation of cabbage|nutritious vegetables|an extraordinary quantity of butter|the preservation of summer fruit|well-known remedies|"
        "old-fashioned preparations|the temperature of the oven|wholesome combinations|the arithmetic of nourishment|dried lentils and barley").split("|")
WHEN = ("in the beginning of winter|whenever circumstances permit|without the slightest hesitation|after considerable experimentation|"
        "on particularly cold mornings|as our grandmothers understood it|before the guests have arrived|with 2 or 3 oz. of salt").split("|")
FOODS = "Lentils|Oats|Peas|Butter|Cod|Rye bread|Apples".split("|")

PAGE = '#set text(size: %spt, lang: "en", hyphenate: true)\n#set par(justify: true%s)\n#set heading(bookmarked: false)\n'
INDENT = ", first-line-indent: 1em, spacing: 0.65em"
LAYOUTS = {
    "columns": '#set page(paper: "a5", margin: 1.5cm, columns: 2, footer: context align(center)[#counter(page).get().first()], header: [Journal of Pulses #h(1fr) Volume 12])\n'
    + PAGE % (8, ""),
    "three": '#set page(paper: "a4", margin: 1.5cm, columns: 3)\n' + PAGE % (7, ""),
    "notes": '#set page(paper: "a6", margin: (x: 1.4cm, y: 1.6cm), header: context { let n = counter(page).get().first(); if n > 1 { if calc.odd(n) '
    "[#h(1fr) The Wholesome Kitchen #h(1fr) #n] else [#n #h(1fr) A. Cook #h(1fr)] } })\n" + PAGE % (9, INDENT),
    "plain": '#set page(paper: "a6", margin: 1.4cm, numbering: "— 1 —")\n' + PAGE % (9, INDENT)
    + "#show heading.where(level: 1): it => { pagebreak(weak: true); align(center, text(size: 14pt, weight: \"regular\", it.body)); v(1em) }\n"
    '#show heading.where(level: 2): it => align(center, text(size: 9pt, weight: "regular", style: "italic", it.body))\n#set figure(placement: none)\n',
}


def escape(text):
    return re.sub(r"([\\#$*_`<>@\[\]~])", r"\\\1", text)


def make(name, head):
    draw = random.Random(name)

    def sentence():
        words = [draw.choice(part) for part in (WHO, DOES, WHAT, WHEN)]
        return " ".join(words) + draw.choice([".", ".", ", and " + draw.choice(WHO).lower() + " " + draw.choice(DOES) + " " + draw.choice(WHAT) + ".", "; so it has always been."])

    out, truth = [head], []
    for i in range(28):
        if i % 7 == 0:
            title = "Chapter " + ["One", "Two", "Three", "Four"][i // 7]
            out.append(f"= {title}\n")
            truth.append(["heading", title])
        if i % 7 in (2, 5):
            title = f"{draw.choice(['About', 'Notes on', 'Against'])} {draw.choice(FOODS).lower()} and {draw.choice(['time', 'sleep', 'water'])}"
            out.append(f"== {title}\n")
            truth.append(["heading", title])
        text = " ".join(sentence() for _ in range(draw.randint(2, 6)))
        truth.append(["paragraph", text])
        if name == "notes" and i % 4 == 1:
            first, rest = text.split(" ", 8)[:8], text.split(" ", 8)[8]
            note = f"See the remarks on page {100 + i}, where {draw.choice(WHAT)} are set out at length."
            out.append(escape(" ".join(first)) + f"#footnote[{escape(note)}] " + escape(rest) + "\n")
            truth.append(["note", note])
        else:
            out.append(escape(text) + "\n")
        if i % 7 == 3:
            rows = [["Food", "kcal", "Protein"]] + [[f, str(draw.randint(10, 900)), f"{draw.uniform(1, 40):.1f} g"] for f in draw.sample(FOODS, draw.randint(3, 5))]
            lines = "" if name == "notes" else "stroke: none, "
            caption = f"Values of foods, part {i}."
            out.append(f"#figure(table(columns: 3, {lines}align: (left, right, right), " + ", ".join(f"[{escape(c)}]" for r in rows for c in r) + f"), caption: [{caption}])\n")
            truth += [["table", rows], ["caption", f"Table {i // 7 + 1}: {caption}"]]
        if i % 7 == 6:
            items = [sentence() for _ in range(3)]
            mark = "+ " if i % 2 else "- "
            out.append("\n".join(mark + escape(x) for x in items) + "\n")
            truth.append(["list", [f"{k + 1}. {x}" if i % 2 else x for k, x in enumerate(items)]])
    (OUT / f"{name}.pdf").write_bytes(typst.compile("\n".join(out).encode()))
    (OUT / f"{name}.json").write_text(json.dumps(truth, indent=0) + "\n")


OUT.mkdir(parents=True, exist_ok=True)
for name, head in LAYOUTS.items():
    if name in sys.argv[1:] or len(sys.argv) == 1:
        make(name, head)
