import { call, newID, onKey, watch } from "./api.js";
import { markdown } from "./markdown.js";

const $ = id => document.getElementById(id);
const el = (tag, text, className) => { const e = document.createElement(tag); if (text) e.textContent = text; if (className) e.className = className; return e; };
const numbers = ["temperature", "top_p", "min_p", "repetition_penalty", "max_tokens", "seed"];

let chat = null;             // {id, title, leaf, settings, messages}; null before the first message
let running = new Map();     // answers under way, by id: {message, node}
let list = [], asked = 0;

const say = text => { $("status").textContent = text; };

let pending = 0; // actions that the server has yet to answer

// busy tells, assistive technology too, whether the conversation is about to change, and which buttons that leaves.
function busy() {
  $("stop").hidden = running.size === 0;
  $("send").hidden = running.size > 0;
  $("thread").ariaBusy = String(pending + running.size > 0);
}

const guarded = f => async (...args) => {
  pending++;
  busy();
  try { await f(...args); } catch (e) { say(e.message); } finally { pending--; busy(); }
};

// ask opens the dialog: for a text if there is one to begin with, else for yes or no.
function ask(question, text) {
  const d = $("dialog"), input = $("dialog-input");
  $("dialog-text").textContent = question;
  input.hidden = text === undefined;
  input.value = text ?? "";
  input.rows = Math.min(14, 1 + (text ?? "").split("\n").length);
  d.returnValue = "cancel";
  d.showModal();
  if (!input.hidden) input.focus();
  return new Promise(done => d.addEventListener("close", () => done(d.returnValue === "ok" ? (text === undefined ? true : input.value) : null), { once: true }));
}
onKey(() => ask("This server wants a key.", ""));

// The tree of messages, and the way through it that is shown.

const message = id => chat?.messages.find(m => m.id === id);
const kids = id => chat.messages.filter(m => m.parent === id);

function way() {
  const out = [];
  for (let m = message(chat?.leaf); m; m = message(m.parent)) out.unshift(m);
  return out;
}

// leafOf goes down from a message, always to the newest.
function leafOf(id) {
  for (let next; (next = kids(id).at(-1)); ) id = next.id;
  return id;
}

// Drawing.

function figures(f) {
  if (!f) return "";
  const out = [];
  if (f.predicted_per_second) out.push(`${f.predicted_per_second.toFixed(1)} tokens/s`);
  if (f.context) out.push(f.context_most ? `${f.context} of ${f.context_most} tokens` : `${f.context} tokens`);
  return out.join(" · ");
}

function button(text, label, f, pressed) {
  const b = el("button", text, "quiet");
  b.type = "button";
  b.title = label;
  if (!/\w/.test(text)) b.setAttribute("aria-label", label);
  if (pressed !== undefined) b.setAttribute("aria-pressed", pressed);
  b.addEventListener("click", guarded(f));
  return b;
}

function branches(m) {
  const all = kids(m.parent).filter(x => x.role === m.role), at = all.indexOf(m);
  if (all.length < 2) return [];
  const to = i => () => show(leafOf(all[i].id));
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
  if (m.role === "user") said.textContent = m.content;
  else {
    turn.append(el("div", m.model ?? "", "who"));
    if (m.reasoning) {
      const d = el("details");
      const ms = m.figures?.reasoning_ms;
      d.append(el("summary", ms ? `Reasoned for ${(ms / 1000).toFixed(1)} s` : "Reasoning"), el("div", m.reasoning));
      d.open = running.has(m.id) && !m.content;
      turn.append(d);
    }
    said.append(...markdown(m.content));
    if (running.has(m.id)) said.classList.add("wait");
  }
  turn.append(said);
  if (m.sources?.length) turn.append(sources(m));
  if (m.unfounded?.length) turn.append(el("p", "In no passage above: " + m.unfounded.join(", "), "error"));
  if (m.error) turn.append(el("p", m.error, "error"));
  if (!running.has(m.id)) turn.append(tools(m));
  return turn;
}

// sources lists the passages of books that are nearest to an answer.
function sources(m) {
  const d = el("details"), list = el("ol");
  d.append(el("summary", `${m.sources.length} passages of the books`));
  for (const s of m.sources) {
    const li = el("li"), where = [s.book, s.chapter, s.page && "p. " + s.page].filter(Boolean).join(", ");
    li.append(el("strong", where), el("p", s.text));
    list.append(li);
  }
  d.append(list);
  return d;
}

function tools(m) {
  const t = el("div", "", "tools");
  t.append(...branches(m));
  t.append(button("Copy", "Copy the text", () => navigator.clipboard.writeText(m.content)));
  if (m.role === "user") {
    t.append(button("Edit", "Ask otherwise, as another branch", async () => {
      const text = await ask("Edit the message", m.content);
      if (text?.trim() && text !== m.content) await send(text, m.parent);
    }));
    return t;
  }
  t.append(
    button("Again", "Answer again, as another branch", () => answer(m.parent, $("model").value)),
    button("Continue", "Go on with this answer, as another branch", () => answer(m.parent, $("model").value, m.id)),
    button("Good", "A good answer", () => vote(m, m.vote === 1 ? 0 : 1), m.vote === 1),
    button("Bad", "A bad answer", () => vote(m, m.vote === -1 ? 0 : -1), m.vote === -1),
    button("Correct", "Write what the answer should have been", () => correct(m)),
    el("span", [figures(m.figures), m.finish === "length" ? "cut at its limit" : m.finish === "stopped" ? "stopped" : ""].filter(Boolean).join(" · "), "figures"));
  return t;
}

function render() {
  const thread = $("thread");
  const parts = [], beside = $("beside").value;
  for (const m of chat ? way() : []) {
    const other = beside && m.role === "assistant" && kids(m.parent).filter(x => x.id !== m.id && x.model === beside).at(-1);
    if (!other) { parts.push(draw(m)); continue; }
    const pair = el("div", "", "pair");
    pair.append(draw(m), draw(other));
    parts.push(pair);
  }
  thread.classList.toggle("beside", Boolean(beside));
  if (!parts.length) {
    const hello = el("div", "", "starters");
    hello.append(el("p", "Ask the model something. Chats stay on the server's machine."), el("p", "Not medical advice."));
    parts.push(hello);
  }
  thread.replaceChildren(...parts);
  thread.scrollTop = thread.scrollHeight;
  $("title").textContent = chat?.title || "New chat";
  busy();
}

// redraw changes one message, and follows the text if its end was in view.
function redraw(m) {
  const thread = $("thread"), old = thread.querySelector(`[data-id="${CSS.escape(m.id)}"]`);
  if (!old) return;
  const follow = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 80;
  old.replaceWith(draw(m));
  if (follow) thread.scrollTop = thread.scrollHeight;
}

async function drawList() {
  const q = $("search").value.trim();
  const mine = ++asked, found = (await call("GET", "/lentil/chats?q=" + encodeURIComponent(q))).chats;
  if (mine !== asked) return; // a later one has been asked for
  list = found;
  const items = [];
  let folder = "";
  for (const c of [...list].sort((a, b) => (a.folder ?? "").localeCompare(b.folder ?? ""))) {
    if ((c.folder ?? "") !== folder) { folder = c.folder ?? ""; items.push(el("li", folder, "folder")); }
    const li = el("li"), open = el("button", c.title || "Untitled", "open");
    open.type = "button";
    if (c.snippet) open.append(el("small", c.snippet));
    open.addEventListener("click", guarded(() => load(c.id)));
    if (c.id === chat?.id) li.setAttribute("aria-current", "true");
    li.append(open,
      button("✎", "Rename", async () => {
        const text = await ask("Title; FOLDER/TITLE puts it into a folder", (c.folder ? c.folder + "/" : "") + (c.title ?? ""));
        if (text === null) return;
        const cut = text.lastIndexOf("/");
        await put({ ...c, title: text.slice(cut + 1).trim(), folder: cut > 0 ? text.slice(0, cut).trim() : "" });
      }),
      button("✕", "Delete", async () => {
        if (!await ask(`Delete “${c.title || "Untitled"}”?`)) return;
        await call("DELETE", "/lentil/chats/" + c.id);
        if (chat?.id === c.id) fresh();
        await drawList();
      }));
    items.push(li);
  }
  $("chats").replaceChildren(...items);
}

// Chats.

function settings() {
  const out = { model: $("model").value, beside: $("beside").value, system: $("system").value, thinking: $("thinking").checked };
  for (const n of numbers) if ($(n).value !== "") out[n] = Number($(n).value);
  return out;
}

function setSettings(s) {
  const has = (select, v) => [...$(select).options].some(o => o.value === v);
  if (s.model && has("model", s.model)) $("model").value = s.model;
  if (s.beside !== undefined && has("beside", s.beside)) $("beside").value = s.beside;
  $("system").value = s.system ?? "";
  $("thinking").checked = s.thinking ?? true;
  for (const n of numbers) $(n).value = s[n] ?? "";
}

async function put(info) {
  const { id, title, folder, leaf, settings } = info;
  await call("PUT", "/lentil/chats/" + id, { title, folder, leaf, settings });
  if (chat?.id === id) Object.assign(chat, { title, folder });
  $("title").textContent = chat?.title || "New chat";
  await drawList();
}

async function show(leaf) {
  chat.leaf = leaf;
  render();
  await put(chat);
}

function fresh() {
  chat = null;
  running.clear();
  history.replaceState(null, "", "#");
  render();
  say("");
  $("ask").focus();
}

async function load(id) {
  const got = await call("GET", "/lentil/chats/" + id);
  chat = { ...got.chat, messages: got.chat.messages ?? [] };
  running.clear();
  setSettings(chat.settings ?? {});
  for (const r of got.running) follow({ id: r.id, parent: r.parent, role: "assistant", content: "", reasoning: "", model: r.model });
  if (!message(chat.leaf) && chat.messages.length) chat.leaf = leafOf(chat.messages[0].id);
  history.replaceState(null, "", "#" + id);
  if (matchMedia("(max-width: 720px)").matches) document.body.classList.add("no-side");
  render();
  await drawList();
}

// Answers.

async function send(text, parent) {
  if (!chat) {
    chat = { id: newID("chat"), title: text.trim().split("\n")[0].slice(0, 60), leaf: "", messages: [], settings: settings() };
    history.replaceState(null, "", "#" + chat.id);
  }
  chat.settings = settings();
  const m = { id: newID("msg"), parent: parent ?? chat.leaf, role: "user", content: text };
  chat.leaf = m.id;
  await put(chat);
  await call("PUT", `/lentil/chats/${chat.id}/${m.id}`, { role: "user", parent: m.parent, content: text });
  chat.messages.push(m);
  render();
  const models = [$("model").value], beside = $("beside").value;
  if (beside && beside !== models[0]) models.push(beside);
  await Promise.all(models.map((model, i) => answer(m.id, model, "", i > 0)));
}

// answer asks a model for an answer to a message. A quiet one is shown beside another.
async function answer(parent, model, from, quiet) {
  const s = settings(), m = { id: newID("ans"), parent, role: "assistant", content: "", reasoning: "", model };
  const body = { id: m.id, model, system: s.system, continue: from || undefined };
  for (const n of numbers) if (s[n] !== undefined) body[n] = s[n];
  if (!s.thinking) body.chat_template_kwargs = { enable_thinking: false };
  await call("POST", `/lentil/chats/${chat.id}/${parent}/new`, body);
  follow(m);
  if (!quiet) await show(m.id);
  else render();
}

// follow takes the events of an answer under way.
function follow(m) {
  const mine = chat;
  if (!message(m.id)) chat.messages.push(m);
  running.set(m.id, m);
  if (!chat.leaf || chat.leaf === m.parent) chat.leaf = m.id;
  let due = false;
  const later = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; if (chat === mine) redraw(m); });
  };
  watch(m.id, e => {
    if (e.text) m.content += e.text;
    if (e.reasoning) m.reasoning += e.reasoning;
    if (e.of) say(`Reading ${e.read} of ${e.of} tokens`);
    else if (!e.message) say("");
    if (e.message) Object.assign(m, e.message);
    later();
  }).catch(err => { m.error = "The connection broke: " + err.message; }).finally(() => {
    running.delete(m.id);
    if (chat !== mine) return;
    redraw(m);
    busy();
    drawList().catch(() => {});
  });
}

async function vote(m, v) {
  await call("POST", `/lentil/chats/${chat.id}/${m.id}`, { vote: v });
  m.vote = v;
  redraw(m);
}

async function correct(m) {
  const text = await ask("What should the answer have been?", m.content);
  if (!text?.trim() || text === m.content) return;
  const made = await call("POST", `/lentil/chats/${chat.id}/${m.id}`, { content: text });
  chat.messages.push(made);
  await show(made.id);
}

const stop = () => Promise.all([...running.keys()].map(id => call("DELETE", "/lentil/answers/" + id)));

// The page.

const grow = () => { const a = $("ask"); a.style.height = "auto"; a.style.height = a.scrollHeight + 2 + "px"; };

$("form").addEventListener("submit", guarded(async e => {
  e.preventDefault();
  const text = $("ask").value;
  if (!text.trim() || running.size) return;
  $("ask").value = "";
  grow();
  try { await send(text); } catch (err) { if (!$("ask").value) $("ask").value = text; render(); throw err; }
}));
$("ask").addEventListener("input", grow);
$("ask").addEventListener("keydown", e => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); $("form").requestSubmit(); }
});
document.addEventListener("keydown", e => {
  if (e.key === "Escape" && running.size && !$("dialog").open) guarded(stop)();
  if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") { e.preventDefault(); document.body.classList.remove("no-side"); $("search").focus(); }
  if (e.altKey && e.key.toLowerCase() === "n") { e.preventDefault(); fresh(); }
});
$("stop").addEventListener("click", guarded(stop));
$("new").addEventListener("click", fresh);
$("search").addEventListener("input", guarded(drawList));
$("open-side").addEventListener("click", () => document.body.classList.toggle("no-side"));
$("close-side").addEventListener("click", () => document.body.classList.add("no-side"));
$("open-settings").addEventListener("click", () => {
  $("settings").hidden = !$("settings").hidden;
  $("open-settings").setAttribute("aria-expanded", String(!$("settings").hidden));
});
for (const id of ["settings", "model", "beside"]) $(id).addEventListener("change", guarded(async () => {
  if (chat) { chat.settings = settings(); await put(chat); }
  if (id === "beside" && !running.size) render();
}));
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  localStorage.setItem("lentil-theme", (document.documentElement.dataset.theme = dark ? "light" : "dark"));
});
$("export").addEventListener("click", guarded(async () => {
  const a = el("a");
  a.href = URL.createObjectURL(new Blob([JSON.stringify(await call("GET", "/lentil/export"), null, 1)], { type: "application/json" }));
  a.download = "chats.json";
  a.click();
  URL.revokeObjectURL(a.href);
}));
$("import").addEventListener("click", () => $("import-file").click());
$("import-file").addEventListener("change", guarded(async e => {
  const got = await call("POST", "/lentil/import", JSON.parse(await e.target.files[0].text()));
  e.target.value = "";
  say(`${got.chats} chats came in`);
  await drawList();
}));

const theme = localStorage.getItem("lentil-theme");
if (theme) document.documentElement.dataset.theme = theme;
if (matchMedia("(max-width: 720px)").matches) document.body.classList.add("no-side");
render();
guarded(async () => {
  for (const m of (await call("GET", "/v1/models")).data) {
    for (const id of ["model", "beside"]) { const o = el("option", m.id); o.value = m.id; $(id).append(o); }
  }
  const tuned = [...$("model").options].find(o => o.value.includes("+"));
  if (tuned) $("model").value = tuned.value;
  if (location.hash.length > 1) await load(location.hash.slice(1)).catch(fresh);
  await drawList();
})();
