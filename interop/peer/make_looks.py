"""Sets made-up books in looks that others lack, with weasyprint: NAME.pdf and its source NAME.html. make_looks.py TARGET (interop/books.sh)

Their text is that of the web pages that make_twins.py left in the folder, which real people wrote, so that words, hyphens and sentences are those of books.
"""

import copy
import re
import sys
from pathlib import Path

from lxml import etree
from lxml import html as page
from weasyprint import CSS, HTML

OUT = Path(sys.argv[1])
ONLY = sys.argv[2:]

PLAIN = """
@page { size: %(size)s; margin: %(margin)s; %(page)s }
html { font: %(font)s; hyphens: auto; text-align: justify }
h1, h2, h3, h4 { hyphens: none; text-align: left; break-after: avoid }
p { margin: 0; text-indent: 1.2em; orphans: 2; widows: 2 } h1 + p, h2 + p, h3 + p { text-indent: 0 }
pre { font: 80%% monospace; white-space: pre-wrap; text-align: left; hyphens: none } code, tt { font-family: monospace; hyphens: none }
table { border-collapse: collapse; margin: 1em 0; text-align: left; width: 100%% } td, th { padding: 2pt 4pt; vertical-align: top }
a { color: inherit; text-decoration: none } h2 { string-set: section content() } h1 { string-set: chapter content() }
.note { float: footnote; font-size: 80%% } ::footnote-call { content: counter(footnote); vertical-align: super; font-size: 65%% } ::footnote-marker { content: counter(footnote) ' ' }
"""

NUMBER = "@bottom-center { content: counter(page) }"
LOOKS = {
    # name: (source, language, settings, further rules)
    "look-columns-de": ("devref-de", "de", dict(size="a4", margin="2cm", font="9pt 'DejaVu Serif'", page="@top-left { content: string(chapter) } @top-right { content: counter(page) }"),
        "body { columns: 2; column-gap: 7mm } h1 { column-span: all; break-before: page; font-size: 20pt } td, th { border: 0.5pt solid black }"),
    "look-novel-fr": ("devref-fr", "fr", dict(size="a5", margin="1.8cm 1.6cm", font="9.5pt 'DejaVu Serif'", page="@top-center { content: string(section); font-style: italic; font-size: 8pt }" + NUMBER),
        "h1 { break-before: page; text-align: center; font-weight: normal; font-size: 18pt; margin: 2.5cm 0 1cm } h2 { text-align: center; font: italic 11pt 'DejaVu Serif' } h3, h4 { font-size: 9.5pt }"
        "h1 + p::first-letter { font-size: 300%; float: left; line-height: 1; margin-right: 2pt }"),
    "look-text": ("faq", "en", dict(size="letter", margin="2.5cm", font="11pt/1.35 'DejaVu Sans'", page="@top-left { content: 'A Handbook of Questions' } @top-right { content: string(chapter) } @bottom-right { content: 'Page ' counter(page) ' of ' counter(pages) }"),
        "p { text-indent: 0; margin: 0 0 8pt; text-align: left; hyphens: none } h1 { break-before: page; color: #246; font-size: 24pt } h2 { color: #246; text-transform: uppercase; font-size: 11pt } h3 { font-size: 11pt }"),
    "look-rules": ("tables", "en", dict(size="a5", margin="1.5cm", font="8pt 'DejaVu Serif'", page=NUMBER),
        "table.r0 td, table.r0 th { border: 0.4pt solid black } table.r1 { border-top: 1pt solid black; border-bottom: 1pt solid black } table.r1 th { border-bottom: 0.5pt solid black }"
        "table.r2 { width: auto } table.r2 td, table.r2 th { padding: 1pt 10pt } table.r3 tr:nth-child(even) { background: #ddd } table.r4 { border: 0.5pt solid black } table.r4 td + td, table.r4 th + th { border-left: 0.5pt solid black } table.r4 th { border-bottom: 0.5pt solid black }"
        "h1 { font-size: 14pt } caption { caption-side: bottom; font-size: 7pt; text-align: left }"),
    "look-notes": ("maint-guide", "en", dict(size="a5", margin="1.6cm", font="9pt 'DejaVu Serif'", page="@top-center { content: string(chapter); font-variant: small-caps; font-size: 8pt }" + NUMBER),
        "h1 { break-before: right; font-size: 17pt } h2 { font-size: 11pt } h3, h4 { font-size: 9pt; font-style: italic } td, th { border-bottom: 0.4pt solid #888 }"),
    "look-hebrew": ("hebrew", "he", dict(size="a5", margin="1.6cm", font="11pt 'DejaVu Sans'", page=NUMBER), "html { direction: rtl; text-align: right } h1, h2 { text-align: right }"),
}


def clean(tree):
    """Leaves what is read: no contents, no pictures, no icons of remarks."""
    for e in tree.xpath("//img|//*[contains(@class,'toc')]|//nav|//form|//colgroup"):
        e.drop_tree()
    for e in tree.xpath("//*[@style]"):
        del e.attrib["style"]
    for e in tree.xpath("//*[@width]|//*[@border]"):
        for a in ("width", "border", "align", "valign", "bgcolor"):
            e.attrib.pop(a, None)
    return tree


def tables():
    """All data tables of the longest manual, in five looks by turns, each below a heading and between paragraphs of its text."""
    tree = clean(page.fromstring((OUT / "reference-de.html").read_bytes()))
    out = page.fromstring("<html><head><meta charset='utf-8'><title>Tables</title></head><body></body></html>")
    text = [p for p in tree.xpath("//p[not(ancestor::table)]") if 150 < len(p.text_content()) < 700]
    for i, t in enumerate(t for t in tree.xpath("//table[.//th[2] and .//td[2] and not(.//table) and not(.//ul)]") if 2 <= len(t.xpath(".//tr")) < 40):
        t = copy.deepcopy(t)
        t.set("class", f"r{i % 5}")
        t.tail = None
        h = etree.SubElement(out.body, "h1")
        h.text = f"Values of part {i + 1}"
        out.body.append(copy.deepcopy(text[2 * i % len(text)]))
        out.body.append(t)
        out.body.append(copy.deepcopy(text[(2 * i + 1) % len(text)]))
        if i > 60:
            break
    return out


def hebrew():
    words = "שלום ספר אוכל לחם מים בריאות תפוח בוקר ערב ילד אישה איש שנה יום עבודה בית דרך חלב ביצה מלח סוכר שמן קמח עוגה מרק ירק פרי טעם חום קור".split()
    out = ["<html dir='rtl' lang='he'><head><meta charset='utf-8'><title>ספר</title></head><body>"]
    n = 7
    for c in range(6):
        out.append(f"<h1>פרק {words[c]} {words[c + 9]}</h1>")
        for _ in range(9):
            line = []
            for _ in range(60):
                n = (n * 1103515245 + 12345) % 2**31
                line.append(words[n // 65536 % len(words)])
            out.append(f"<p>{' '.join(line)} {1000 + len(out)}.</p>")
    return page.fromstring("".join(out) + "</body></html>")


def notes(tree):
    """Makes the remark of every eighth paragraph a note at the foot of the page."""
    for i, p in enumerate(p for p in tree.xpath("//p") if len(p.text_content()) > 200):
        if i % 8 == 0:
            note = etree.SubElement(p, "span", {"class": "note"})
            note.text = f"This is said at more length in the remarks of the {i}th page of the other volume."
    return tree


for name, (source, tongue, settings, rules) in LOOKS.items():
    if ONLY and name not in ONLY:
        continue
    if source == "tables":
        tree = tables()
    elif source == "hebrew":
        tree = hebrew()
    else:
        tree = clean(page.fromstring((OUT / f"{source}.html").read_bytes()))
        if name == "look-notes":
            tree = notes(tree)
    tree.set("lang", tongue)
    raw = etree.tostring(tree, encoding="unicode", method="html")
    raw = re.sub(r"<a [^>]*>|</a>", "", raw)
    (OUT / f"{name}.html").write_text(raw)
    HTML(string=raw).write_pdf(OUT / f"{name}.pdf", stylesheets=[CSS(string=PLAIN % settings + rules)])
    print(name)
