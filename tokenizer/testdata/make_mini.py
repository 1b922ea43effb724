"""Writes mini.json: tiny tokenizers, each showing one feature, with what the
Hugging Face tokenizers library makes of some texts.

    pip install tokenizers==0.22.1
    python make_mini.py > mini.json

(0.23.3 gives the same, but decodes an added token with "normalized": true as
its normalized text.)
"""
import json
import sys

from tokenizers import Tokenizer

CHARS = list("abcdefghijklmnopqrstuvwxyzHT .,!'-_0123456789") + ["▁", "é", "\n", "Ġ"]
PARTS = ["he", "ll", "hell", "hello", "th", "the", "▁t", "▁the", "Ġt", "Ġthe", "▁▁", "12", "ab", "abc"]
MERGES = ["h e", "l l", "he ll", "hell o", "t h", "th e", "▁ t", "▁t he", "Ġ t", "Ġt he", "▁ ▁", "1 2", "a b", "ab c"]


def added(i, content, **flags):  # tok gives the final id: i counts from 100
    token = dict(id=i, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    return {**token, **flags}


def tok(added_tokens=(), normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None, extra=(), pairs=False, **model):
    pieces = list(dict.fromkeys(list(extra) + CHARS + PARTS))
    merges = [m.split(" ") for m in MERGES] if pairs else MERGES
    base = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                fuse_unk=False, byte_fallback=False, ignore_merges=False)
    base.update(model)
    base["vocab"] = {p: i for i, p in enumerate(pieces)}
    base.setdefault("merges", merges)
    # The library gives added tokens the next free ids, whatever the file says.
    ids, free = {}, len(pieces)
    for token in added_tokens:
        old = token["id"]
        if token["content"] in pieces:
            token["id"] = pieces.index(token["content"])
        else:
            token["id"], free = free, free + 1
        ids[old] = token["id"]
    if post_processor:
        post_processor = json.loads(json.dumps(post_processor), object_hook=lambda o: {**o, "ids": [ids[i] for i in o["ids"]]} if "ids" in o else o)
    return dict(version="1.0", truncation=None, padding=None, added_tokens=list(added_tokens), normalizer=normalizer,
                pre_tokenizer=pre_tokenizer, post_processor=post_processor, decoder=decoder, model=base)


def seq(kind, *parts):
    key = {"n": "normalizers", "p": "pretokenizers", "d": "decoders", "pp": "processors"}[kind]
    return {"type": "Sequence", key: list(parts)}


BYTES = ["<0x%02X>" % b for b in range(256)]
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREPEND = {"type": "Prepend", "prepend": "▁"}
BACK = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
FALLBACK, FUSE = {"type": "ByteFallback"}, {"type": "Fuse"}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def metaspace(**kw):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True, **kw}


def template(*ids):
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [100], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [101], "tokens": ["</s>"]}}}


def specials(**flags):
    return [added(100, "<s>", special=True, **flags), added(101, "</s>", special=True, **flags)]


TEXTS = ["", " ", "  ", "hello", "the hello the", " the  hello ", "hello, the abc! 12 1234 -", "a<s>b</s> <s> the", "the\nhello\n\n the",
         "éa e\u0301", "HELLO The", "x<m>y <m> z<m>", "the<s> the", "日本 hello 🙂", "_the_ ab-abc", "▁the ▁▁", "abcabc 'the'", "<s><s>", "the 🙂🙂 日", "hellohello the12the",
         "a" + "\u0301\u0323" * 20 + "b\u0323e\u0302\u0301 \uac00\u11a8\u1112\u1161\u11ab \u0301a"]

MINI = {
    "merges as strings": tok(),
    "merges as pairs": tok(pairs=True),
    "ignore_merges": tok(ignore_merges=True, merges=["h e"], pre_tokenizer=BYTE_LEVEL),
    "unk": tok(extra=["<unk>"], unk_token="<unk>"),
    "fuse_unk": tok(extra=["<unk>"], unk_token="<unk>", fuse_unk=True),
    "byte_fallback": tok(extra=["<unk>"] + BYTES, unk_token="<unk>", fuse_unk=True, byte_fallback=True, normalizer=seq("n", PREPEND, REPLACE),
                         decoder=seq("d", BACK, FALLBACK, FUSE, {"type": "Strip", "content": " ", "start": 1, "stop": 0})),
    "byte_fallback, some bytes missing": tok(extra=["<unk>"] + BYTES[:0xF0], unk_token="<unk>", byte_fallback=True, decoder=seq("d", FALLBACK, FUSE)),
    "subword prefix": tok(extra=["##" + c for c in "abcdefghijklmnopqrstuvwxyz"] + ["##he", "a##b"], continuing_subword_prefix="##", merges=["##h ##e", "a ##b", "t ##he"][:1], pre_tokenizer=BYTE_LEVEL),
    "word suffix": tok(extra=[c + "</w>" for c in "abcdefghijklmnopqrstuvwxyz"] + ["he</w>"], end_of_word_suffix="</w>", merges=["h e", "h e</w>"], pre_tokenizer=BYTE_LEVEL),
    "normalizer NFC": tok(normalizer={"type": "NFC"}, extra=["\u0301", "\u0323", "\u00e1", "\u1ea1", "\uac01", "\ud55c"]),
    "normalizer NFD": tok(normalizer={"type": "NFD"}, extra=["\u0301", "\u0302", "\u0323", "\u11a8", "\u1100"]),
    "normalizers NFKC, Lowercase": tok(normalizer=seq("n", {"type": "NFKC"}, {"type": "Lowercase"})),
    "normalizer NFKD": tok(normalizer={"type": "NFKD"}, extra=["\u0301", "\u0323"]),
    "normalizer Strip": tok(normalizer={"type": "Strip", "strip_left": True, "strip_right": True}),
    "normalizer Strip left": tok(normalizer={"type": "Strip", "strip_left": True, "strip_right": False}),
    "normalizer Replace regex": tok(normalizer={"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "-"}),
    "Digits individual": tok(pre_tokenizer={"type": "Digits", "individual_digits": True}),
    "Digits together": tok(pre_tokenizer={"type": "Digits", "individual_digits": False}),
    "ByteLevel": tok(pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL),
    "ByteLevel prefix space": tok(pre_tokenizer={**BYTE_LEVEL, "add_prefix_space": True}, decoder=BYTE_LEVEL),
    "ByteLevel not last": tok(pre_tokenizer=seq("p", BYTE_LEVEL, {"type": "Digits", "individual_digits": True}), decoder=BYTE_LEVEL),
    "Split Isolated": tok(pre_tokenizer=split({"Regex": "[aeiou]+"}, "Isolated")),
    "Split Removed": tok(pre_tokenizer=split({"String": " "}, "Removed")),
    "Split Removed, inverted": tok(pre_tokenizer=split({"Regex": "\\w+"}, "Removed", True)),
    "Split MergedWithPrevious": tok(pre_tokenizer=split({"String": "l"}, "MergedWithPrevious")),
    "Split MergedWithNext": tok(pre_tokenizer=split({"String": "l"}, "MergedWithNext")),
    "Split Contiguous": tok(pre_tokenizer=split({"String": "l"}, "Contiguous")),
    "Split possessive": tok(pre_tokenizer=split({"Regex": "[^\\s\\d]++|\\d?+|\\s+"}, "Isolated")),
    "Metaspace always": tok(pre_tokenizer=metaspace(), decoder=metaspace()),
    "Metaspace first": tok(pre_tokenizer=metaspace(prepend_scheme="first"), decoder=metaspace(prepend_scheme="first"), added_tokens=specials()),
    "Metaspace never": tok(pre_tokenizer=metaspace(prepend_scheme="never"), decoder=metaspace(prepend_scheme="never")),
    "Metaspace unsplit": tok(pre_tokenizer=metaspace(split=False), decoder=metaspace(split=False)),
    "template": tok(added_tokens=specials(), post_processor=template()),
    "templates in sequence": tok(added_tokens=specials(), post_processor=seq("pp", {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, template())),
    "added lstrip": tok(added_tokens=[added(100, "<s>", lstrip=True, special=True)]),
    "added rstrip": tok(added_tokens=[added(100, "<s>", rstrip=True, special=True)]),
    "added both strips": tok(added_tokens=[added(100, "<s>", rstrip=True, lstrip=True, special=True), added(101, "\n")]),
    "added single_word": tok(added_tokens=[added(100, "<m>", single_word=True), added(101, "the", single_word=True)]),
    "added normalized": tok(normalizer={"type": "Lowercase"}, added_tokens=[added(100, "HELLO", normalized=True), added(101, "The")]),
    "added longest first": tok(added_tokens=[added(100, "<s"), added(101, "<s>"), added(102, "</s"), added(103, "ab"), added(104, "abcab")]),
    "added with prepend": tok(normalizer=seq("n", PREPEND, REPLACE), added_tokens=specials() + [added(102, "<m>", normalized=True)]),
    "decoder Replace regex": tok(decoder=seq("d", {"type": "Replace", "pattern": {"Regex": "[aeiou]"}, "content": "*"}, FUSE)),
    "decoder Strip each": tok(decoder=seq("d", {"type": "Strip", "content": "h", "start": 1, "stop": 0}, FUSE)),
    "decoder Strip both ends": tok(decoder=seq("d", FUSE, {"type": "Strip", "content": "h", "start": 2, "stop": 0}, {"type": "Replace", "pattern": {"String": "he"}, "content": "HE"})),
}

out = []
for name, spec in MINI.items():
    t = Tokenizer.from_str(json.dumps(spec))
    cases = []
    for text in TEXTS:
        ids = t.encode(text, add_special_tokens=False).ids
        cases.append(dict(text=text, ids=ids, special=t.encode(text).ids, dec=t.decode(ids, skip_special_tokens=False), skip=t.decode(ids)))
    out.append(dict(name=name, tokenizer=spec, cases=cases))
print("[")
for i, entry in enumerate(out):
    print(json.dumps(entry, ensure_ascii=False) + ("," if i + 1 < len(out) else ""))
print("]")
