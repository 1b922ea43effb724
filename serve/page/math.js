// Formulas: TeX, as models write it, to MathML, which browsers draw by themselves. Text only ever becomes text.

const make = (tag, ...kids) => { const e = document.createElementNS("http://www.w3.org/1998/Math/MathML", tag); e.append(...kids); return e; };
const set = (e, attributes) => { for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v); return e; };
const row = list => (list.length === 1 ? list[0] : make("mrow", ...list));

const words = text => Object.fromEntries(text.trim().split(/\s+/).map(pair => pair.split(":")));

const letters = words(`alpha:α beta:β gamma:γ delta:δ epsilon:ϵ varepsilon:ε zeta:ζ eta:η theta:θ vartheta:ϑ iota:ι kappa:κ lambda:λ mu:μ nu:ν xi:ξ pi:π varpi:ϖ rho:ρ
  varrho:ϱ sigma:σ varsigma:ς tau:τ upsilon:υ phi:ϕ varphi:φ chi:χ psi:ψ omega:ω ell:ℓ hbar:ℏ imath:ı jmath:ȷ partial:∂ aleph:ℵ`);
const upright = words(`Gamma:Γ Delta:Δ Theta:Θ Lambda:Λ Xi:Ξ Pi:Π Sigma:Σ Upsilon:Υ Phi:Φ Psi:Ψ Omega:Ω infty:∞ emptyset:∅ varnothing:∅ nabla:∇ Re:ℜ Im:ℑ degree:° top:⊤ bot:⊥
  angle:∠ triangle:△ square:□ checkmark:✓ forall:∀ exists:∃ nexists:∄ celsius:℃ euro:€ pounds:£ %:% $:$ #:# _:_ &:&`);
const operators = words(`times:× cdot:⋅ div:÷ pm:± mp:∓ ast:∗ star:⋆ circ:∘ bullet:∙ oplus:⊕ ominus:⊖ otimes:⊗ odot:⊙ le:≤ leq:≤ leqslant:≤ ge:≥ geq:≥ geqslant:≥ ne:≠ neq:≠ approx:≈
  equiv:≡ sim:∼ simeq:≃ cong:≅ propto:∝ ll:≪ gg:≫ in:∈ notin:∉ ni:∋ subset:⊂ subseteq:⊆ supset:⊃ supseteq:⊇ cup:∪ cap:∩ setminus:∖ wedge:∧ land:∧ vee:∨ lor:∨ neg:¬ lnot:¬ to:→ rightarrow:→
  longrightarrow:⟶ gets:← leftarrow:← leftrightarrow:↔ Rightarrow:⇒ implies:⟹ Longrightarrow:⟹ Leftarrow:⇐ Leftrightarrow:⇔ iff:⟺ mapsto:↦ rightleftharpoons:⇌ uparrow:↑ downarrow:↓ mid:∣ parallel:∥
  perp:⊥ colon:: ldots:… dots:… cdots:⋯ vdots:⋮ ddots:⋱ dotsb:⋯ dotsc:… therefore:∴ because:∵ prime:′ models:⊨ vdash:⊢ doteq:≐ lesssim:≲ gtrsim:≳ backslash:\\ |:‖ {:{ }:}`);
const big = words(`sum:∑ prod:∏ coprod:∐ bigcup:⋃ bigcap:⋂ bigvee:⋁ bigwedge:⋀ bigoplus:⨁ bigotimes:⨂`);
const integrals = words(`int:∫ iint:∬ iiint:∭ oint:∮`);
const below = ["lim", "max", "min", "sup", "inf", "limsup", "liminf", "argmax", "argmin", "det", "gcd", "Pr"];
const functions = ["sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log", "ln", "lg", "exp", "dim", "ker", "deg", "arg", "hom", "mod", ...below];
const accents = words(`hat:^ widehat:^ bar:¯ overline:‾ vec:→ overrightarrow:→ tilde:~ widetilde:~ dot:˙ ddot:¨ acute:´ grave:\` check:ˇ breve:˘ overbrace:⏞`);
const beneath = words(`underline:_ underbrace:⏟`);
const fences = words(`lbrace:{ rbrace:} {:{ }:} langle:⟨ rangle:⟩ lfloor:⌊ rfloor:⌋ lceil:⌈ rceil:⌉ lvert:| rvert:| vert:| lVert:‖ rVert:‖ Vert:‖ |:‖ lbrack:[ rbrack:] uparrow:↑ downarrow:↓`);
const spaces = { ",": ".167em", ":": ".222em", ">": ".222em", ";": ".278em", "!": "-.167em", " ": ".25em", quad: "1em", qquad: "2em", enspace: ".5em", thinspace: ".167em" };
const around = { pmatrix: "()", bmatrix: "[]", Bmatrix: "{}", vmatrix: "||", Vmatrix: "‖‖", cases: "{ ", matrix: "  ", smallmatrix: "  ", array: "  " };
const skipped = new Set(["limits", "nolimits", "displaystyle", "textstyle", "scriptstyle", "left.", "nonumber", "notag", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr", "middle", "allowbreak", "boldmath", "centering", "hline"]);

// Letters of other kinds stand in Unicode: where each kind begins, and those that stood there before it.
const kinds = {
  mathbf: [0x1d400, 0x1d41a, 0x1d7ce], textbf: [0x1d400, 0x1d41a, 0x1d7ce], boldsymbol: [0x1d468, 0x1d482, 0x1d7ce], bm: [0x1d468, 0x1d482, 0x1d7ce],
  mathbb: [0x1d538, 0x1d552, 0x1d7d8, { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" }],
  mathcal: [0x1d49c, 0x1d4b6, 0, { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ", e: "ℯ", g: "ℊ", o: "ℴ" }],
  mathfrak: [0x1d504, 0x1d51e, 0, { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" }], mathsf: [0x1d5a0, 0x1d5ba, 0x1d7e2], mathtt: [0x1d670, 0x1d68a, 0x1d7f6],
};
kinds.mathscr = kinds.mathcal;

function inKind(kind, text) {
  const [upper, lower, digit, before = {}] = kinds[kind];
  return [...text].map(c => {
    const at = /[A-Z]/.test(c) ? upper + c.charCodeAt(0) - 65 : /[a-z]/.test(c) ? lower + c.charCodeAt(0) - 97 : digit && /\d/.test(c) ? digit + Number(c) : 0;
    return before[c] ?? (at ? String.fromCodePoint(at) : c);
  }).join("");
}

const token = /\\([A-Za-z]+\*?|[^A-Za-z])|\d+(?:[.,]\d+)*|\s+|[^\\]/gu;
const deepest = 40;

class Parser {
  constructor(text, display) {
    this.tokens = text.match(token) ?? [];
    this.at = 0;
    this.depth = 0;
    this.display = display;
  }

  peek() {
    while (/^\s+$/.test(this.tokens[this.at] ?? "")) this.at++;
    return this.tokens[this.at];
  }

  next() {
    this.peek();
    return this.tokens[this.at++];
  }

  // raw is the text of a group in braces, as it is written.
  raw() {
    if (this.peek() !== "{") return this.next() ?? "";
    let out = "", open = 0;
    for (;;) {
      const t = this.tokens[this.at++];
      if (t === undefined) return out;
      if (t === "}" && --open === 0) return out;
      if (open > 0) out += t;
      if (t === "{") open++;
    }
  }

  // group is the argument of a command: a group in braces, or one thing.
  group() {
    if (this.peek() !== "{") return this.atom() ?? make("mrow");
    this.at++;
    const list = this.list(t => t === "}");
    this.at++;
    return row(list);
  }

  // list reads until end says so of a token, which it leaves.
  list(end) {
    if (++this.depth > deepest) throw new RangeError("too deep");
    const out = [];
    for (let t; (t = this.peek()) !== undefined && !end(t);) {
      const a = this.scripted(out);
      if (a) out.push(a);
    }
    this.depth--;
    return out;
  }

  // scripted is an atom with what stands above and below it.
  scripted(before) {
    let t = this.peek(), base;
    if (t === "^" || t === "_" || t === "'") base = before.pop() ?? make("mrow");
    else base = this.atom();
    if (!base) return null;
    let sub, sup;
    for (;;) {
      t = this.peek();
      if (t === "_" && !sub) { this.at++; sub = this.group(); }
      else if (t === "^" && !sup) { this.at++; sup = this.group(); }
      else if (t === "'") {
        let n = "";
        while (this.peek() === "'") { this.at++; n += "′"; }
        sup = sup ? make("mrow", make("mo", n), sup) : make("mo", n);
      } else if (t === "\\limits" || t === "\\nolimits") this.at++;
      else break;
    }
    if (!sub && !sup) return base;
    const over = base.brace || (base.limits && this.display);
    if (sub && sup) return make(over ? "munderover" : "msubsup", base, sub, sup);
    return sub ? make(over ? "munder" : "msub", base, sub) : make(over ? "mover" : "msup", base, sup);
  }

  atom() {
    const t = this.next();
    if (t === undefined) return null;
    if (t === "{") { this.at--; return this.group(); }
    if (t === "}" || t === "&") return null;
    if (/^\d/.test(t)) return make("mn", t);
    if (/^\p{L}$/u.test(t)) return make("mi", t);
    if (t === "-") return make("mo", "−");
    if (t === "*") return make("mo", "∗");
    if (t === "~") return set(make("mspace"), { width: ".25em" });
    if (t === "|") return set(make("mo", "|"), { stretchy: "false" });
    if (t[0] !== "\\" || t === "\\") return set(make("mo", t), /[()[\]/]/.test(t) ? { stretchy: "false" } : {});
    return this.command(t.slice(1));
  }

  command(name) {
    if (letters[name]) return make("mi", letters[name]);
    if (upright[name]) return set(make("mi", upright[name]), { mathvariant: "normal" });
    if (operators[name]) return make("mo", operators[name]);
    if (big[name]) { const o = set(make("mo", big[name]), { largeop: "true", movablelimits: "true" }); o.limits = true; return o; }
    if (integrals[name]) return set(make("mo", integrals[name]), { largeop: "true" });
    if (functions.includes(name)) { const f = set(make("mi", name), { mathvariant: "normal" }); f.limits = below.includes(name); return f; }
    if (spaces[name]) return set(make("mspace"), { width: spaces[name] });
    if (fences[name]) return set(make("mo", fences[name]), { stretchy: "false" });
    if (kinds[name]) { const text = inKind(name, this.raw()); return /^[\d.]+$/.test(text) ? make("mn", text) : make("mi", text); }
    if (accents[name]) {
      const o = set(make("mover", this.group(), set(make("mo", accents[name]), { stretchy: String(/^(wide|over)/.test(name)) })), { accent: "true" });
      o.brace = name === "overbrace";
      return o;
    }
    if (beneath[name]) { const o = make("munder", this.group(), set(make("mo", beneath[name]), { stretchy: "true" })); o.brace = name === "underbrace"; return o; }
    switch (name) {
      case "frac": case "dfrac": case "tfrac": case "cfrac": return make("mfrac", this.group(), this.group());
      case "binom": case "dbinom": case "tbinom": return make("mrow", make("mo", "("), set(make("mfrac", this.group(), this.group()), { linethickness: "0" }), make("mo", ")"));
      case "sqrt": {
        if (this.peek() !== "[") return make("msqrt", this.group());
        this.at++;
        const degree = row(this.list(t => t === "]"));
        this.at++;
        return make("mroot", this.group(), degree);
      }
      case "text": case "textrm": case "textit": case "textnormal": case "mbox": case "hbox": return make("mtext", this.raw().replace(/\\([%$#&_{}])/g, "$1").replace(/^ | $/g, "\u00a0"));
      case "mathrm": case "mathit": case "operatorname": case "operatorname*": case "mathop": {
        const f = set(make("mi", this.raw().replace(/\\[,;: ]/g, "\u00a0").replace(/\\([%$#&_])/g, "$1")), { mathvariant: "normal" });
        f.limits = name.endsWith("*");
        return f;
      }
      case "ce": return chemistry(this.raw());
      case "left": return this.fenced();
      case "begin": return this.environment(this.raw());
      case "overset": case "stackrel": { const over = this.group(); return make("mover", this.group(), over); }
      case "underset": { const under = this.group(), o = make("munder", this.group(), under); return o; }
      case "xrightarrow": return make("mover", set(make("mo", "→"), { stretchy: "true" }), this.group());
      case "phantom": return make("mphantom", this.group());
      case "boxed": case "fbox": { const b = make("mrow", this.group()); b.setAttribute("class", "boxed"); return b; }
      case "not": { const a = this.atom(); if (a) a.append("\u0338"); return a; }
      case "color": case "textcolor": this.raw(); return this.group();
      case "tag": return make("mtext", "\u2003(" + this.raw() + ")");
      case "label": this.raw(); return null;
      case "cancel": case "mathstrut": case "substack": case "smash": case "mathbin": case "mathrel": return this.group();
      case "pmod": { const n = this.group(); return make("mrow", make("mo", "("), set(make("mi", "mod"), { mathvariant: "normal" }), set(make("mspace"), { width: ".3em" }), n, make("mo", ")")); }
      case "\\": case "right": case "end": return null;
    }
    if (skipped.has(name)) return null;
    return make("mtext", "\\" + name);
  }

  fence() {
    const t = this.next() ?? ".";
    return t === "." ? "" : t[0] === "\\" ? fences[t.slice(1)] ?? t.slice(1) : t;
  }

  fenced() {
    const parts = [set(make("mo", this.fence()), { fence: "true", stretchy: "true" })];
    for (;;) {
      parts.push(...this.list(t => t === "\\right" || t === "\\middle"));
      const t = this.next();
      if (t === undefined) break;
      parts.push(set(make("mo", this.fence()), { fence: "true", stretchy: "true" }));
      if (t === "\\right") break;
    }
    return make("mrow", ...parts);
  }

  environment(name) {
    if (name === "array") this.raw();
    const rows = [[]];
    for (;;) {
      rows.at(-1).push(make("mtd", ...this.list(t => t === "&" || t === "\\\\" || t === "\\end" || t === "\\cr")));
      const t = this.next();
      if (t === undefined) break;
      if (t === "\\end") { this.raw(); break; }
      if (t !== "&") {
        rows.push([]);
        if (this.peek() === "[") while (this.at < this.tokens.length && this.next() !== "]");
      }
    }
    if (rows.length > 1 && rows.at(-1).length === 1 && !rows.at(-1)[0].childNodes.length) rows.pop();
    const table = make("mtable", ...rows.map(cells => make("mtr", ...cells)));
    const sides = around[name];
    if (!sides || name === "cases") table.setAttribute("class", name === "cases" ? "cases" : "aligned");
    if (!sides) set(table, { displaystyle: "true" });
    if (!sides || sides === "  ") return table;
    return make("mrow", set(make("mo", sides[0]), { fence: "true", stretchy: "true" }), table, set(make("mo", sides[1].trim()), { fence: "true", stretchy: "true" }));
  }
}

// chemistry is the simple part of mhchem: C6H12O6, Ca^2+, 2 H2 + O2 -> 2 H2O.
function chemistry(text) {
  const out = [];
  for (const [t] of text.matchAll(/<?->|<=>|\^\{?[^}\s]+\}?|_\{?[^}\s]+\}?|[A-Z][a-z]?|[a-z]+|\d+(?:\/\d+)?|\s+|./g)) {
    const attached = out.length > 0 && out.at(-1).attached, last = () => out.pop();
    let e;
    if (t === "->" || t === "<-" || t === "<->" || t === "<=>") e = make("mo", { "->": "→", "<-": "←", "<->": "↔", "<=>": "⇌" }[t]);
    else if (t[0] === "^" && out.length) e = make("msup", last(), make("mtext", t.slice(1).replace(/[{}]/g, "").replaceAll("-", "−")));
    else if (t[0] === "_" && out.length) e = make("msub", last(), make("mtext", t.slice(1).replace(/[{}]/g, "")));
    else if (/^\d/.test(t) && attached) e = make("msub", last(), make("mn", t));
    else if (/^[A-Za-z]/.test(t)) e = set(make("mi", t), { mathvariant: "normal" });
    else if (/^\d/.test(t)) e = make("mn", t);
    else if (/^\s/.test(t)) e = set(make("mspace"), { width: ".2em" });
    else e = make("mo", t);
    e.attached = /^[A-Za-z)\]]/.test(t);
    out.push(e);
  }
  return make("mrow", ...out);
}

// formula gives the nodes of a formula; display is one on a line of its own.
export function formula(text, display = false) {
  const out = set(make("math"), { display: display ? "block" : "inline" });
  let list;
  try {
    const p = new Parser(text.slice(0, 8000), display);
    list = p.list(() => false);
  } catch {
    list = [make("mtext", text)];
  }
  out.append(make("semantics", make("mrow", ...list), set(make("annotation", text), { encoding: "application/x-tex" })));
  return out;
}
