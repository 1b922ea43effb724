"""Puts books that Debian has as PDF and as web pages beside each other: NAME.pdf and NAME.html, the pages in their order, without what leads from one to the next.

make_twins.py FOLDER-OF-UNPACKED-PACKAGES TARGET (interop/books.sh)
"""

import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

from lxml import etree
from lxml import html as page

FILES, OUT = Path(sys.argv[1]), Path(sys.argv[2])
DOC = "usr/share/doc"
ASIDE = "//script|//style|//table[@class='nav' or contains(@class,'menu') or contains(@class,'index-')]|//*[" + " or ".join(
    f"contains(@class,'{c}')" for c in ("navheader", "navfooter", "nav-panel", "headerlink", "sphinxsidebar")
) + "]|//*[@class='header' or @class='related' or @class='footer']"


def body(raw):
    tree = page.fromstring(re.sub(rb"<\?xml[^>]*\?>", b"", raw))
    found = tree.find(".//body")
    found = tree if found is None else found
    for e in found.xpath(ASIDE):
        e.drop_tree()
    return found


def write(name, bodies, pdf):
    with open(OUT / f"{name}.html", "w") as f:
        f.write(f'<html><head><meta charset="utf-8"><title>{name}</title></head><body>\n')
        for b in bodies:
            for child in b:
                f.write(etree.tostring(child, encoding="unicode", method="html") + "\n")
        f.write("</body></html>\n")
    shutil.copy(pdf, OUT / f"{name}.pdf")


def chain(name, start, pdf):
    """Pages that lead to the next one."""
    at, seen, bodies = start.resolve(), set(), []
    while at is not None and at.exists() and at not in seen:
        seen.add(at)
        raw = at.read_bytes()
        after = page.fromstring(raw).xpath("//link[@rel='next']/@href")
        bodies.append(body(raw))
        at = (at.parent / after[0].split("#")[0]).resolve() if after else None
    write(name, bodies, pdf)


def spine(name, epub, pdf):
    """Pages of an EPUB, which is measured, too."""
    z = zipfile.ZipFile(epub)
    opf = next(n for n in z.namelist() if n.endswith(".opf"))
    tree, ns = etree.fromstring(z.read(opf)), {"o": "http://www.idpf.org/2007/opf"}
    items = {i.get("id"): i.get("href") for i in tree.iterfind(".//o:item", ns)}
    pages = [os.path.join(os.path.dirname(opf), items[r.get("idref")]) for r in tree.iterfind(".//o:itemref", ns)]
    write(name, [body(z.read(p)) for p in pages], pdf)
    shutil.copy(epub, OUT / f"{name}.epub")


def one(name, path, pdf):
    write(name, [body(path.read_bytes())], pdf)


f = FILES / "valgrind" / DOC / "valgrind"
chain("valgrind", f / "html/index.html", f / "valgrind_manual.pdf")
f = FILES / "debian-policy" / DOC / "debian-policy"
spine("policy", f / "policy.epub", f / "policy.pdf")
for tongue in ("", "-de", "-fr"):
    f = FILES / f"developers-reference{tongue}/usr/share/developers-reference" / tongue[1:]
    spine("devref" + tongue, f / "developers-reference.epub", f / "developers-reference.pdf")
f = FILES / "debian-faq" / DOC / "debian/FAQ"
chain("faq", f / "index.en.html", f / "debian-faq.en.pdf")
f = FILES / "debian-faq-de" / DOC / "debian/FAQ"
chain("faq-de", f / "de/index.de.html", f / "debian-faq.de.pdf")
f = FILES / "debian-reference-de/usr/share/debian-reference"
chain("reference-de", f / "index.de.html", f / "debian-reference.de.pdf")
f = FILES / "maint-guide" / DOC / "maint-guide"
chain("maint-guide", f / "html/index.en.html", f / "maint-guide.en.pdf")
f = FILES / "nettle-dev" / DOC / "nettle-dev"
one("nettle", f / "nettle.html", f / "nettle.pdf")
f = FILES / "sbcl-doc" / DOC / "sbcl"
one("sbcl", f / "sbcl.html", f / "sbcl.pdf")
