// Markdown as nodes of the page. Text only ever becomes text: no HTML is parsed, whatever an answer says.
import { formula } from "./math.js";

const el = (tag, ...kids) => { const e = document.createElement(tag); e.append(...kids); return e; };

// Spans within a line, the ones that hide others first.
const spans = [
  [/^(`+)([\s\S]*?[^`])\1(?!`)/, m => el("code", m[2].replace(/^ (.+) $/, "$1"))],
  [/^\\\(([\s\S]{1,2000}?)\\\)/, m => formula(m[1])],
  [/^\$\$([^$]{1,2000})\$\$/, m => formula(m[1], true)],
  [/^\$(?!\s)([^$\n]{0,500}[\\^_=+<>][^$\n]{0,500}?|[A-Za-z]|\d+)\$(?!\d)/, m => formula(m[1])],
  [/^\*\*(?=\S)([\s\S]*?\S)\*\*/, m => el("strong", ...inline(m[1]))],
  [/^__(?=\S)([\s\S]*?\S)__(?!\w)/, m => el("strong", ...inline(m[1]))],
  [/^\*(?=[^\s*])([\s\S]*?[^\s*])\*(?!\*)/, m => el("em", ...inline(m[1]))],
  [/^_(?=[^\s_])([\s\S]*?[^\s_])_(?!\w)/, m => el("em", ...inline(m[1]))],
  [/^~~(?=\S)([\s\S]*?\S)~~/, m => el("del", ...inline(m[1]))],
  [/^\[([^\]\n]{1,300})\]\(([^()\s]{1,2000})\)/, m => link(m[2], inline(m[1]))],
  [/^https?:\/\/[^\s<>)"']{1,2000}[^\s<>)"'.,;:!?]/, m => link(m[0], [m[0]])],
  [/^\\([\\`*_{}[\]()#+\-.!|~$>])/, m => document.createTextNode(m[1])],
  [/^ {2,}\n|^\\\n/, () => el("br")],
];

function link(target, kids) {
  if (!/^(https?:|mailto:)/i.test(target)) return el("span", ...kids);
  const a = el("a", ...kids);
  a.href = target;
  a.rel = "noopener noreferrer nofollow";
  a.target = "_blank";
  return a;
}

function inline(text) {
  const out = [];
  let plain = "";
  for (let i = 0; i < text.length;) {
    const rest = text.slice(i, i + 4000);
    let hit = null;
    if (/[`\\$*_~[h ]/.test(rest[0]) && !(rest[0] === "h" && /\w/.test(text[i - 1] ?? "")) && !(rest[0] === "_" && /\w/.test(text[i - 1] ?? ""))) {
      for (const [pattern, make] of spans) {
        const m = pattern.exec(rest);
        if (m) { hit = [m[0].length, make(m)]; break; }
      }
    }
    if (!hit) { plain += text[i++]; continue; }
    if (plain) out.push(plain);
    plain = "";
    out.push(hit[1]);
    i += hit[0];
  }
  if (plain) out.push(plain);
  return out;
}

function codeBlock(text, language) {
  const copy = el("button", "Copy");
  copy.type = "button";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
  });
  const pre = el("pre", el("code", text), copy);
  pre.tabIndex = 0;
  if (language) pre.dataset.language = language;
  return pre;
}

const cells = line => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map(c => c.trim().replaceAll("\\|", "|"));

function table(lines) {
  const sides = cells(lines[1]).map(c => (/^:-+:$/.test(c) ? "center" : /-:$/.test(c) ? "right" : ""));
  const row = (line, tag) => el("tr", ...cells(line).map((c, i) => { const cell = el(tag, ...inline(c)); if (sides[i]) cell.style.textAlign = sides[i]; return cell; }));
  const t = el("table", el("thead", row(lines[0], "th")), el("tbody", ...lines.slice(2).map(l => row(l, "td"))));
  t.tabIndex = 0;
  return t;
}

const item = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;

function list(lines, depth) {
  const first = item.exec(lines[0]);
  const out = el(/\d/.test(first[2]) ? "ol" : "ul");
  if (/\d/.test(first[2]) && parseInt(first[2]) !== 1) out.start = parseInt(first[2]);
  let body = null;
  const close = () => { if (body) { const li = el("li", ...blocks(body, depth + 1)); if (li.childElementCount === 1 && li.firstElementChild.tagName === "P") li.firstElementChild.replaceWith(...li.firstElementChild.childNodes); out.append(li); } };
  for (const line of lines) {
    const m = item.exec(line);
    if (m && m[1].length <= first[1].length) { close(); body = [m[3]]; }
    else body.push(line.replace(/^\s{1,4}/, ""));
  }
  close();
  return out;
}

// mathBegin begins a formula on lines of its own.
const mathBegin = /^\s*(?:\\\[|\$\$|(\\begin\{((?:align|equation|gather|multline|cases|[pbBvV]?matrix)\*?)\}))/;

function blocks(lines, depth = 0) {
  const out = [];
  for (let i = 0; i < lines.length;) {
    const line = lines[i];
    let m;
    if (!line.trim()) { i++; continue; }
    if ((m = /^\s{0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/.exec(line))) {
      const body = [];
      for (i++; i < lines.length && !lines[i].trimStart().startsWith(m[1]); i++) body.push(lines[i]);
      i++;
      out.push(codeBlock(body.join("\n"), m[2]));
    } else if ((m = mathBegin.exec(line))) {
      const end = m[1] ? `\\end{${m[2]}}` : m[0].includes("[") ? "\\]" : "$$", body = [m[1] ? line : line.slice(m[0].length)];
      while (!body.at(-1).includes(end) && i + 1 < lines.length && lines[i + 1].trim()) body.push(lines[++i]);
      i++;
      const text = body.join("\n"), at = text.indexOf(end), cut = at < 0 ? text.length : at;
      const p = el("p", formula(m[1] ? text.slice(0, cut) + end : text.slice(0, cut), true), ...inline(text.slice(cut + end.length)));
      p.className = "display";
      p.tabIndex = 0;
      out.push(p);
    } else if ((m = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line))) {
      out.push(el("h" + Math.min(6, m[1].length + 1), ...inline(m[2])));
      i++;
    } else if (/^\s{0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) {
      out.push(el("hr"));
      i++;
    } else if (/^\s{0,3}>/.test(line) && depth < 6) {
      const body = [];
      for (; i < lines.length && /^\s{0,3}>/.test(lines[i]); i++) body.push(lines[i].replace(/^\s{0,3}> ?/, ""));
      out.push(el("blockquote", ...blocks(body, depth + 1)));
    } else if (item.test(line) && depth < 6) {
      const body = [];
      for (; i < lines.length && (item.test(lines[i]) || /^\s{2,}\S/.test(lines[i]) || (!lines[i].trim() && /^\s{2,}\S|^\s*([-*+]|\d+[.)])\s/.test(lines[i + 1] ?? ""))); i++) body.push(lines[i]);
      out.push(list(body, depth));
    } else if (line.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[i + 1] ?? "") && lines[i + 1].includes("-")) {
      const body = [];
      for (; i < lines.length && lines[i].includes("|"); i++) body.push(lines[i]);
      out.push(table(body));
    } else {
      const body = [];
      for (; i < lines.length && lines[i].trim() && !(body.length && mathBegin.test(lines[i])) && !/^\s{0,3}(`{3,}|~{3,}|#{1,6}\s|>)/.test(lines[i]) && !(body.length && item.test(lines[i])); i++) body.push(lines[i]);
      if (!body.length) body.push(lines[i++]);
      out.push(el("p", ...inline(body.join("\n"))));
    }
  }
  return out;
}

// markdown gives the nodes of a text.
export const markdown = text => blocks(text.replaceAll("\r\n", "\n").split("\n"));
