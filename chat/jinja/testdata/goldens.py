"""Rewrites goldens.json: renders each "src" with Jinja2 3.1 as transformers configures it and stores "out", or "err" as the
class of the exception. To add a case, add an object with "src" and run: python3 goldens.py (needs the package jinja2)."""

import copy, datetime, json, pathlib

from jinja2 import ext, nodes, sandbox
from jinja2.exceptions import SecurityError, TemplateRuntimeError, TemplateSyntaxError, UndefinedError


class Generation(ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("text"), [], [], body).set_lineno(line)

    def text(self, caller):
        return caller()


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc).strftime

KINDS = [(Raised, "raised"), (SecurityError, "security"), (UndefinedError, "undefined"), (TemplateSyntaxError, "syntax"),
         (SyntaxError, "syntax"), ((TypeError, AttributeError), "type"), (RecursionError, "limit"), (TemplateRuntimeError, "type"),
         ((ValueError, ArithmeticError, LookupError), "value")]


def render(src, ctx):
    try:
        return {"src": src, "out": env.from_string(src).render(**copy.deepcopy(ctx))}
    except Exception as e:
        if str(e).startswith(("No filter named", "No test named")):
            return {"src": src, "err": "syntax"}
        for kind, name in KINDS:
            if isinstance(e, kind):
                return {"src": src, "err": name}
        raise


path = pathlib.Path(__file__).with_suffix(".json")
golden = json.loads(path.read_text())
lines = [json.dumps(render(c["src"], golden["ctx"]), ensure_ascii=False) for c in golden["cases"]]
path.write_text('{"ctx": ' + json.dumps(golden["ctx"], ensure_ascii=False) + ',\n "cases": [\n' + ",\n".join(lines) + "\n]}\n")
