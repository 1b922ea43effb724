#!/usr/bin/env bash
# Puts books that exist as PDF and as web pages into .interop/books, to measure how well the PDF is read: manuals out of Debian's packages (English, German,
# French; four typesetters), and texts of theirs set anew in other looks. Needs Debian's or Ubuntu's apt-get, and libpango for the new looks. Then:
#   LENTIL_TEST_TWINS=$PWD/.interop/books go test ./book -run TestTwins -v
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../.interop/books
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/debs" "$target"
(cd "$work/debs" && apt-get download -q debian-policy developers-reference developers-reference-de developers-reference-fr debian-faq debian-faq-de debian-reference-de valgrind nettle-dev maint-guide sbcl-doc)
for deb in "$work"/debs/*.deb; do
	name=$(basename "$deb")
	dpkg -x "$deb" "$work/files/${name%%_*}"
done
find "$work/files" -name '*.pdf.gz' -exec gunzip -f {} +
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check lxml weasyprint
"$work/venv/bin/python" "$here/peer/make_twins.py" "$work/files" "$target"
"$work/venv/bin/python" "$here/peer/make_looks.py" "$target"
