// Profiles of what people eat: the menu in the settings, the editor, and what answers break of them.
import { call } from "./api.js";
import { $, ask, button, el, guarded, say } from "./dom.js";
import { parts } from "./settings.js";
import { notes } from "./thread.js";

let known = { profiles: [], allergens: [], diets: [], notice: "" };

// The menu.

const menu = el("select");
menu.id = "profile";
const label = el("label", "Profile ");
label.append(menu);
$("settings").append(label);
const opener = button("Profiles…", "Make and change profiles", () => edit(menu.value));
opener.id = "open-profiles";
$("settings").append(opener);

let wanted = ""; // of the chat, until the list is there

function fillMenu() {
  const now = menu.value || wanted;
  menu.replaceChildren(...["", ...known.profiles.map(p => p.profile.id)].map(id => { const o = el("option", id || "none"); o.value = id; return o; }));
  menu.value = known.profiles.some(p => p.profile.id === now) ? now : "";
}

parts.push({
  read(s) { if (menu.value) s.profile = menu.value; },
  write(s) { wanted = s.profile ?? ""; menu.value = wanted; if (menu.selectedIndex < 0) menu.value = ""; },
  ask(body, s) { if (s.profile) body.profile = s.profile; },
});

async function refresh() {
  known = await call("GET", "/lentil/profiles");
  fillMenu();
}

// The editor.

const dialog = el("dialog", "", "profiles");
dialog.id = "profiles";
dialog.setAttribute("aria-labelledby", "profiles-title");
document.body.append(dialog);
const fields = {};

function line(text, node, id) {
  const l = el("label", text + " ");
  node.id = id;
  l.append(node);
  return l;
}

function input(placeholder) {
  const i = el("input");
  i.placeholder = placeholder;
  return i;
}

function select(values) {
  const s = el("select");
  for (const v of values) { const o = el("option", v || "any"); o.value = v; s.append(o); }
  return s;
}

function group(title, nodes) {
  const f = el("fieldset");
  f.append(el("legend", title), ...nodes);
  return f;
}

function check(name, more) {
  const box = el("input"), l = el("label", "", "check");
  box.type = "checkbox";
  l.append(box, name);
  if (!more) return [box, l];
  const row = el("span", "", "allergen");
  more.setAttribute("aria-label", "How bad " + name + " is");
  more.hidden = true;
  box.addEventListener("change", () => { more.hidden = !box.checked; });
  row.append(l, more);
  return [box, row];
}

// build makes the editor's fields once the rules are known.
function build() {
  const form = el("form");
  form.noValidate = true;
  fields.which = select([]);
  fields.id = input("anna");
  fields.diets = Object.fromEntries(known.diets.map(d => [d, check(d)]));
  fields.allergens = Object.fromEntries(known.allergens.map(a => {
    const how = select(["allergy", "intolerance", "avoid"]);
    return [a, [...check(a, how), how]];
  }));
  fields.avoid = input("kiwi, raw onion");
  fields.dislikes = input("coriander");
  fields.goals = el("textarea");
  fields.goals.rows = 2;
  fields.goals.placeholder = "1500 kcal";
  fields.units = select(["", "metric", "imperial"]);
  fields.language = input("en");
  fields.said = el("p", "", "error");
  fields.said.setAttribute("role", "alert");
  fields.text = el("pre");
  fields.text.tabIndex = 0;
  const text = el("details");
  text.append(el("summary", "What the model is told"), fields.text);
  const title = el("h2", "Profiles");
  title.id = "profiles-title";
  fields.save = el("button", "Save");
  fields.save.type = "submit";
  fields.remove = button("Delete", "Delete this profile", remove);
  const end = el("div", "", "row end");
  end.append(fields.remove, button("Close", "Close the editor", () => dialog.close()), fields.save);
  form.append(title,
    line("Profile", fields.which, "profiles-which"), line("Name", fields.id, "profiles-name"),
    group("Diets", Object.values(fields.diets).map(d => d[1])),
    group("Allergies and intolerances", Object.values(fields.allergens).map(a => a[1])),
    line("Also avoid, with commas", fields.avoid, "profiles-avoid"), line("Dislikes, with commas", fields.dislikes, "profiles-dislikes"),
    line("Goals, one a line", fields.goals, "profiles-goals"), line("Units", fields.units, "profiles-units"), line("Language", fields.language, "profiles-language"),
    text, el("p", known.notice, "figures"), fields.said, end);
  dialog.append(form);
  form.addEventListener("submit", e => { e.preventDefault(); guarded(store)(); });
  fields.which.addEventListener("change", () => fill(fields.which.value));
}

// fill shows a profile; "" is a new one.
function fill(id) {
  const found = known.profiles.find(p => p.profile.id === id), p = found?.profile ?? {}, own = !found || found.own;
  fields.which.replaceChildren(...["", ...known.profiles.map(x => x.profile.id)].map(x => { const o = el("option", x || "new"); o.value = x; return o; }));
  fields.which.value = found ? id : "";
  fields.id.value = p.id ?? "";
  for (const [d, [box]] of Object.entries(fields.diets)) box.checked = (p.diet ?? []).includes(d);
  for (const [a, [box, , how]] of Object.entries(fields.allergens)) {
    box.checked = (p.avoid ?? []).includes(a);
    how.value = p.severity?.[a] ?? "allergy";
    how.hidden = !box.checked;
  }
  const severity = a => (p.severity?.[a] ? `${a} (${p.severity[a]})` : a);
  fields.avoid.value = (p.avoid ?? []).filter(a => !known.allergens.includes(a)).map(severity).join(", ");
  fields.dislikes.value = (p.dislikes ?? []).join(", ");
  fields.goals.value = (p.goals ?? []).join("\n");
  fields.units.value = p.units ?? "";
  fields.language.value = p.language ?? "";
  fields.text.textContent = found?.text ?? "";
  fields.said.textContent = own ? "" : "This profile is a file of the server's: a copy under another name can be changed.";
  fields.remove.hidden = !found?.own;
}

const list = (text, sign) => text.split(sign).map(s => s.trim()).filter(Boolean);

// read gives the profile that the fields show. What the editor does not show of it stays.
function read() {
  const before = known.profiles.find(p => p.profile.id === fields.which.value)?.profile ?? {};
  const p = { ...before, id: fields.id.value.trim(), severity: {} };
  p.diet = known.diets.filter(d => fields.diets[d][0].checked);
  p.avoid = known.allergens.filter(a => fields.allergens[a][0].checked);
  for (const a of p.avoid) p.severity[a] = fields.allergens[a][2].value;
  for (const text of list(fields.avoid.value, ",")) {
    const [, name, how] = text.match(/^(.*?)(?:\s*\((allergy|intolerance|avoid)\))?$/);
    p.avoid.push(name);
    if (how) p.severity[name] = how;
  }
  p.dislikes = list(fields.dislikes.value, ",");
  p.goals = list(fields.goals.value, "\n");
  for (const [key, value] of [["units", fields.units.value], ["language", fields.language.value.trim()]]) {
    delete p[key];
    if (value) p[key] = value;
  }
  return p;
}

async function store() {
  fields.said.textContent = "";
  const p = read();
  try {
    if (!p.id) throw new Error("The profile needs a name.");
    await call("PUT", "/lentil/profiles/" + encodeURIComponent(p.id), p);
  } catch (e) {
    fields.said.textContent = e.message;
    return;
  }
  await refresh();
  menu.value = p.id;
  menu.dispatchEvent(new Event("change", { bubbles: true })); // the chat's settings have it now
  fill(p.id);
  say("Profile " + p.id + " is saved, and this chat's");
  dialog.close();
}

async function remove() {
  const id = fields.which.value;
  dialog.close();
  if (await ask(`Delete the profile ${id}?`) === null) return;
  await call("DELETE", "/lentil/profiles/" + encodeURIComponent(id));
  if (menu.value === id) menu.value = "";
  wanted = "";
  await refresh();
  menu.dispatchEvent(new Event("change", { bubbles: true }));
}

async function edit(id) {
  await refresh();
  if (!dialog.firstChild) build();
  fill(id);
  dialog.showModal();
}

// Answers.

// markWords marks words of a text, except in code and links.
function markWords(said, titles) {
  const nodes = [], texts = document.createTreeWalker(said, NodeFilter.SHOW_TEXT), words = [...titles.keys()].sort((a, b) => b.length - a.length);
  const form = new RegExp(`(?<![\\p{L}\\p{N}])(${words.map(w => w.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})(?![\\p{L}\\p{N}])`, "gu");
  while (texts.nextNode()) if (!texts.currentNode.parentElement.closest("pre, code, math, a")) nodes.push(texts.currentNode);
  for (const node of nodes) {
    const pieces = node.data.split(form);
    if (pieces.length === 1) continue;
    node.replaceWith(...pieces.map((p, i) => {
      if (i % 2 === 0) return p;
      const e = el("mark", p, "broken");
      e.title = titles.get(p);
      return e;
    }));
  }
}

notes.push(m => {
  const v = m.profile;
  if (!v || m.role !== "assistant") return null;
  const out = el("div", "", "kept"), titles = new Map();
  for (const x of v.violations) titles.set(x.text, [titles.get(x.text), `${x.rule} (${x.severity})`].filter((s, i, all) => s && all.indexOf(s) === i).join(", "));
  if (titles.size) {
    const p = el("p", `Not for ${v.id}: `, "error");
    p.append([...titles].map(([word, why]) => `${word}: ${why}`).join("; "));
    out.append(p);
    queueMicrotask(() => { // when it stands below its answer
      const said = out.closest(".turn")?.querySelector(".said");
      if (said) markWords(said, titles);
    });
  }
  out.append(el("p", `${v.rewritten ? "A sentence was written again. " : ""}Checked for ${v.id}, as far as words tell. ${v.notice}`, "figures"));
  return out;
});

refresh().catch(e => say(e.message));
