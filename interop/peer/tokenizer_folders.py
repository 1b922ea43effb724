"""Makes small tokenizer folders at random and tells what transformers makes of them.

    .interop/venv/bin/python interop/peer/tokenizer_folders.py COUNT SEED

prints a JSON list. Each folder combines the places in which special and added tokens
are named: tokenizer.json, tokenizer_config.json (roles, other *_token keys,
additional_special_tokens, extra_special_tokens as a list and as an object,
added_tokens_decoder), special_tokens_map.json and added_tokens.json. Folders that
transformers refuses are left out.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

ROLES = ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"]
OTHERS = ["image_token", "boi_token", "eot_token", "think_token"]
TEXTS = ["<s>", "</s>", "<e>", "<pad>", "<x>", "<y>", "<z>", "<|a|>", "<|b|>", "<img>", "<A>", "ab", "b", "<m 1>"]
TEMPLATE = (
    "{{ bos_token }}{{ image_token }}{{ eot_token }}{{ mark_1 }}{{ messages[0]['content'] }}{{ eos_token }}"
    "{{ pad_token }}{{ boi_token }}{{ think_token }}"
)
PROBES = [
    "ab <s>a</s> b<e>", "<x><y>a <z> ab", "<|a|><|b|>ba", "a <img> b<pad>", "<a><A>AB", "<m 1>a<m 1>", "a b ab", "",
    "<s>ab</s><x> <y> <z>", " <e> <e>  <pad>a",
]


def vocabulary(r):
    pieces = ["a", "b", "e", "i", "m", "g", "p", "d", "s", "x", "y", "z", "<", ">", "|", "/", "A", "B", "1", "Ġ", "ab", "Ġa"]
    pieces += r.sample(["<s>", "</s>", "<pad>", "<x>"], r.choice([0, 0, 1, 2]))
    ids = list(range(len(pieces)))
    if r.random() < 0.3:  # gaps
        ids = sorted(r.sample(range(len(pieces) + 6), len(pieces)))
    return dict(zip(pieces, ids))


def flags(r):
    keys = ["single_word", "lstrip", "rstrip", "normalized", "special"]
    return {key: r.random() < 0.25 if key != "special" else r.random() < 0.6 for key in keys}


def token(r, text, typed=True):
    """A token as its text or as an object."""
    if r.random() < 0.6:
        return text
    made = {"content": text, **flags(r)}
    if typed:
        made["__type"] = "AddedToken"
    return made


def tokenizer_json(r):
    vocab = vocabulary(r)
    added, free = [], max(vocab.values()) + 1 + r.choice([0, 0, 0, 3])
    for text in r.sample(TEXTS, r.choice([0, 1, 3, 5])):
        where = vocab.get(text, free)
        if where == free:
            free += 1 + r.choice([0, 0, 0, 2])
        added.append({"id": where, "content": text, **flags(r)})
    post = None
    if added and r.random() < 0.3:
        first = added[0]["content"]
        post = {"type": "TemplateProcessing", "pair": [{"Sequence": {"id": "A", "type_id": 0}}]}
        post["single"] = [{"SpecialToken": {"id": first, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
        post["special_tokens"] = {first: {"id": first, "ids": [vocab.get("a")], "tokens": [first]}}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    model |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": ["a b", "Ġ a"]}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": r.choice([None, None, {"type": "Lowercase"}]), "pre_tokenizer": level,
        "post_processor": post, "decoder": level, "model": model,
    }


def roles(r, typed):
    named = {key: token(r, r.choice(TEXTS), typed) for key in r.sample(ROLES, r.randint(0, 4))}
    named |= {key: token(r, r.choice(TEXTS), typed) for key in r.sample(OTHERS, r.randint(0, 2))}
    return named


def lists(r, typed):
    """additional_special_tokens and extra_special_tokens."""
    some = lambda: [token(r, text, typed) for text in r.sample(TEXTS, r.randint(0, 4))]
    made = {}
    if r.random() < 0.35:
        made["additional_special_tokens"] = [text if isinstance(text, str) else text["content"] for text in some()]
    kind = r.random()
    if kind < 0.2:
        made["extra_special_tokens"] = some()
    elif kind < 0.4:
        made["extra_special_tokens"] = {key: r.choice(TEXTS) for key in r.sample(["image_token", "mark_1", "eos_token", "mark_2"], 2)}
    elif kind < 0.45:
        made["extra_special_tokens"] = r.choice([None, [], {}])
    return made


def folder(r):
    whole = tokenizer_json(r)
    files = {"tokenizer.json": whole}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE}
    config |= roles(r, True) | lists(r, True)
    for key in ("add_bos_token", "add_eos_token"):
        if r.random() < 0.4:
            config[key] = r.random() < 0.7
    if r.random() < 0.4:
        decoder, free = {}, max(whole["model"]["vocab"].values()) + 1
        known = {t["content"]: t["id"] for t in whole["added_tokens"]} | whole["model"]["vocab"]
        for text in r.sample(TEXTS, r.randint(0, 5)):
            free += r.choice([1, 1, 1, 3])
            decoder[str(known.get(text, free + 20))] = {"content": text, **flags(r)}
        config["added_tokens_decoder"] = decoder
    files["tokenizer_config.json"] = config
    if r.random() < 0.5:
        files["special_tokens_map.json"] = roles(r, False) | lists(r, False)
    if r.random() < 0.3:
        start = r.choice([30, 40])
        files["added_tokens.json"] = {text: start + i for i, text in enumerate(r.sample(TEXTS, r.randint(1, 4)))}
    return {name: json.dumps(content, ensure_ascii=False) for name, content in files.items()}


def answer(files):
    with tempfile.TemporaryDirectory() as dir:
        for name, text in files.items():
            Path(dir, name).write_text(text)
        tok = AutoTokenizer.from_pretrained(dir)
    cases = []
    for text in PROBES:
        ids = tok.encode(text, add_special_tokens=False)
        case = {"text": text, "ids": ids, "special": tok.encode(text)}
        if "Lowercase" not in files["tokenizer.json"]:
            # tokenizers 0.23 decodes an added token to what the normalizer makes of it, and no longer finds it special.
            case["decoded"] = tok.decode(ids, skip_special_tokens=False)
            case["skipped"] = tok.decode(ids, skip_special_tokens=True)
        cases.append(case)
    rendered = tok.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False)
    return {
        "files": files, "roles": tok.special_tokens_map, "vocabulary": tok.get_vocab(), "cases": cases,
        "eos": tok.eos_token_id, "rendered": rendered,
    }


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    r = random.Random(seed)
    made, refused = [], {}
    while len(made) < count:
        files = folder(r)
        try:
            made.append(answer(files))
        except Exception as error:
            why = f"{type(error).__name__}: {str(error)[:60]}"
            refused[why] = refused.get(why, 0) + 1
    print(json.dumps(refused, indent=1), file=sys.stderr)
    json.dump(made, sys.stdout, ensure_ascii=False)


main()
