// The conversation: draws messages, and what can be done with them.
import { $, busy, button, el, patch } from "./dom.js";
import { markdown } from "./markdown.js";
import { branches, kids, leafOf, state, way } from "./state.js";

// act is what the page does when it is asked to; app.js fills it in.
export const act = {};

// notes are what other files show below an answer: functions of a message that give a node, or null.
export const notes = [];

function figures(f) {
  if (!f) return "";
  const out = [];
  if (f.predicted_per_second) out.push(`${f.predicted_per_second.toFixed(1)} tokens/s`);
  if (f.context) out.push(f.context_most ? `${f.context} of ${f.context_most} tokens` : `${f.context} tokens`);
  return out.join(" · ");
}

function walk(m) {
  const all = branches(m), at = all.indexOf(m);
  if (all.length < 2) return [];
  const to = i => () => act.show(leafOf(all[i].id));
  const back = button("‹", "Branch before", to(at - 1)), next = button("›", "Next branch", to(at + 1));
  back.disabled = at === 0;
  next.disabled = at === all.length - 1;
  return [back, el("span", `${at + 1}/${all.length}`), next];
}

function draw(m) {
  const turn = el("article", "", "turn " + m.role);
  turn.dataset.id = m.id;
  turn.setAttribute("aria-label", m.role === "user" ? "You" : m.model ?? "Answer");
  const said = el("div", "", "said");
  if (m.role === "user") {
    turn.append(...(m.files ?? []).map(file));
    said.textContent = m.content;
    turn.append(said);
  } else {
    turn.append(el("div", m.model ?? "", "who"), said);
    write(turn, m);
  }
  if (state.running.has(m.id)) return turn;
  for (const node of [m.sources?.length ? sources(m) : null, ...notes.map(f => f(m))]) if (node) turn.append(node);
  if (m.unfounded?.length) {
    mark(said, m.unfounded);
    turn.append(el("p", (m.sources?.length ? "In no passage above: " : "No passage was found, so in none: ") + m.unfounded.join(", "), "error"));
  }
  if (m.left) turn.append(el("p", `Without the first ${m.left} messages: the model takes no more.`, "figures"));
  if (m.error) turn.append(el("p", m.error, "error"));
  turn.append(tools(m));
  return turn;
}

// write brings the text of an answer up to date, and leaves what has not changed.
function write(turn, m) {
  const said = turn.querySelector(".said"), under = state.running.has(m.id);
  let thought = turn.querySelector("details.thought");
  if (m.reasoning && !thought) {
    thought = el("details", "", "thought");
    thought.append(el("summary"), el("div"));
    thought.open = under && !m.content;
    said.before(thought);
  }
  if (thought) {
    const ms = m.figures?.reasoning_ms;
    thought.firstChild.textContent = ms ? `Reasoned for ${(ms / 1000).toFixed(1)} s` : "Reasoning";
    thought.lastChild.textContent = m.reasoning;
    if (m.content && !thought.dataset.done) { thought.dataset.done = "1"; thought.open = false; }
  }
  patch(said, markdown(m.content));
  said.classList.toggle("wait", under);
}

// file is an attachment of a question.
function file(f) {
  const d = el("details", "", "file");
  d.append(el("summary", f.name + (f.cut ? " (its beginning)" : "")), el("div", f.text));
  return d;
}

// mark marks figures in a text, except in code and formulas.
function mark(said, list) {
  const nodes = [], texts = document.createTreeWalker(said, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) if (!texts.currentNode.parentElement.closest("pre, code, math, a")) nodes.push(texts.currentNode);
  const known = new Set(list);
  for (const node of nodes) {
    const parts = node.data.split(/(\d+(?:[.,]\d+)*)/);
    if (!parts.some((p, i) => i % 2 && known.has(p))) continue;
    node.replaceWith(...parts.map((p, i) => {
      if (!(i % 2 && known.has(p))) return p;
      const e = el("mark", p);
      e.title = "This figure is in none of the passages";
      return e;
    }));
  }
}

// sources lists the passages of books that are nearest to an answer.
function sources(m) {
  const d = el("details", "", "sources"), list = el("ol");
  d.append(el("summary", `${m.sources.length} ${m.sources.length === 1 ? "passage" : "passages"} of the books`));
  for (const s of m.sources) {
    const li = el("li"), where = [s.book, s.chapter, s.page && "p. " + s.page].filter(Boolean).join(", ");
    const text = el("div", "", "passage");
    text.tabIndex = 0;
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", where);
    text.append(...passage(s.text));
    li.append(el("strong", where), text);
    list.append(li);
  }
  d.append(list);
  return d;
}

// passage draws a text of a book: lines with tabs are rows of a table.
function passage(text) {
  const out = [];
  let table = null;
  for (const line of text.split("\n")) {
    const cells = line.split("\t");
    if (cells.length < 2) { table = null; out.push(el("p", line)); continue; }
    const row = el("tr"), kind = table ? "td" : "th";
    row.append(...cells.map(c => el(kind, c)));
    if (!table) out.push(table = el("table"));
    table.append(row);
  }
  return out;
}

const ends = { length: "cut at its limit", stopped: "stopped", broken: "broken off when the server ended" };

function tools(m) {
  const t = el("div", "", "tools");
  t.append(...walk(m));
  t.append(button("Copy", "Copy the text", () => navigator.clipboard.writeText(m.content)));
  if (m.role === "user") {
    t.append(button("Edit", "Ask otherwise, as another branch", () => act.edit(m)));
    return t;
  }
  t.append(
    button("Again", "Answer again, as another branch", () => act.again(m)),
    button("Continue", "Go on with this answer, as another branch", () => act.more(m)),
    button("Good", "A good answer", () => act.vote(m, m.vote === 1 ? 0 : 1), m.vote === 1),
    button("Bad", "A bad answer", () => act.vote(m, m.vote === -1 ? 0 : -1), m.vote === -1),
    button("Correct", "Write what the answer should have been", () => act.correct(m)),
    el("span", [figures(m.figures), ends[m.finish]].filter(Boolean).join(" · "), "figures"));
  return t;
}

// drawn has the nodes of messages, with what their looks hang on: a long conversation is not drawn anew for each message.
let drawn = new Map();

function node(m) {
  const all = branches(m), key = [all.indexOf(m), all.length, state.running.has(m.id), m.content.length].join();
  let had = drawn.get(m.id);
  if (had?.message !== m || had.key !== key) drawn.set(m.id, had = { message: m, key, node: draw(m) });
  return had.node;
}

// render shows the chat. With keep, that message stays where it is; otherwise the end is shown.
export function render(keep) {
  const thread = $("thread"), parts = [], beside = $("beside").value;
  const at = keep && find(keep.id)?.getBoundingClientRect().top;
  if (!state.chat) drawn.clear();
  for (const m of state.chat ? way() : []) {
    const other = beside && m.role === "assistant" && kids(m.parent).filter(x => x.id !== m.id && x.model === beside).at(-1);
    if (!other) { parts.push(node(m)); continue; }
    const pair = el("div", "", "pair");
    pair.append(node(m), node(other));
    parts.push(pair);
  }
  thread.classList.toggle("beside", Boolean(beside));
  if (!parts.length) parts.push(act.hello());
  let i = 0; // what has not changed is left alone
  while (i < parts.length && thread.childNodes[i] === parts[i]) i++;
  while (thread.childNodes.length > i) thread.lastChild.remove();
  thread.append(...parts.slice(i));
  const now = keep && find(keep.id);
  if (now && at !== undefined) thread.scrollTop += now.getBoundingClientRect().top - at;
  else thread.scrollTop = thread.scrollHeight;
  $("title").textContent = state.chat?.title || "New chat";
  document.title = state.chat?.title ? state.chat.title + " · Lentil" : "Lentil";
  busy();
}

export const find = id => $("thread").querySelector(`[data-id="${CSS.escape(id)}"]`);

// redraw changes one message, and follows the text if its end was in view.
export function redraw(m) {
  const thread = $("thread"), old = find(m.id);
  if (!old) return;
  const follow = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 80;
  if (state.running.has(m.id) && old.classList.contains("assistant")) write(old, m);
  else {
    const within = old.contains(document.activeElement) ? document.activeElement.title : "";
    drawn.delete(m.id);
    old.replaceWith(node(m));
    if (within) find(m.id).querySelector(`button[title="${CSS.escape(within)}"]`)?.focus();
  }
  if (follow) thread.scrollTop = thread.scrollHeight;
}

// forget has all messages drawn anew.
export const forget = () => { drawn = new Map(); };
