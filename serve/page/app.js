import { call, newID, onKey, watch } from "./api.js";
import { any, back, take } from "./attach.js";
import { $, ask, busy, countRunning, el, guarded, save, say } from "./dom.js";
import { act as inList, drawList, put } from "./list.js";
import { request, setSettings, settings } from "./settings.js";
import "./profile.js";
import { add, leafOf, message, open, state, way } from "./state.js";
import { act, forget, redraw, render } from "./thread.js";

countRunning(() => state.running.size);
onKey(() => ask("This server wants a key.", ""));

// Chats.

async function show(leaf, keep) {
  state.chat.leaf = leaf;
  render(keep);
  await put(state.chat);
}

function fresh() {
  open(null);
  history.replaceState(null, "", "#");
  render();
  say("");
  drawList().catch(() => {});
  $("ask").focus();
}

async function load(id) {
  const got = await call("GET", "/lentil/chats/" + id);
  forget();
  open({ ...got.chat, messages: got.chat.messages ?? [] });
  setSettings(state.chat.settings ?? {});
  for (const r of got.running) follow({ id: r.id, parent: r.parent, role: "assistant", content: "", reasoning: "", model: r.model });
  if (!message(state.chat.leaf) && state.chat.messages.length) state.chat.leaf = leafOf(state.chat.messages[0].id);
  history.replaceState(null, "", "#" + id);
  if (matchMedia("(max-width: 720px)").matches) document.body.classList.add("no-side");
  render();
  await drawList();
}

Object.assign(inList, { load, fresh });

// Answers.

async function send(text, files, parent) {
  if (!state.chat) {
    open({ id: newID("chat"), title: (text.trim() || files[0].name).split("\n")[0].slice(0, 60), leaf: "", messages: [], settings: settings() });
    history.replaceState(null, "", "#" + state.chat.id);
  }
  const chat = state.chat;
  chat.settings = settings();
  const m = { id: newID("msg"), parent: parent ?? chat.leaf, role: "user", content: text, files };
  await put({ ...chat, leaf: m.id });
  chat.leaf = m.id;
  await call("PUT", `/lentil/chats/${chat.id}/${m.id}`, { role: "user", parent: m.parent, content: text, files });
  add(m);
  render();
  const models = [chat.settings.model], beside = chat.settings.beside;
  if (beside && beside !== models[0]) models.push(beside);
  await Promise.all(models.map((model, i) => answer(m.id, model, "", i > 0)));
}

// answer asks a model for an answer to a message. A quiet one is shown beside another.
async function answer(parent, model, from, quiet) {
  const m = { id: newID("ans"), parent, role: "assistant", content: "", reasoning: "", model };
  await call("POST", `/lentil/chats/${state.chat.id}/${parent}/new`, { ...request(settings()), id: m.id, model, continue: from || undefined });
  follow(m);
  if (!quiet) await show(m.id);
  else render();
}

// follow takes the events of an answer under way.
function follow(m) {
  const mine = state.chat;
  add(m);
  state.running.set(m.id, m);
  if (!mine.leaf || mine.leaf === m.parent) mine.leaf = m.id;
  let due = false;
  const later = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; if (state.chat === mine) redraw(m); });
  };
  watch(m.id, e => {
    if (e.text) m.content += e.text;
    if (e.reasoning) m.reasoning += e.reasoning;
    if (e.of) say(`Reading ${e.read} of ${e.of} tokens`);
    else if (!e.message) say("");
    if (e.message) Object.assign(m, e.message);
    later();
  }).catch(err => { m.error = "The connection broke: " + err.message; }).finally(() => {
    if (state.chat !== mine) return;
    state.running.delete(m.id);
    redraw(m);
    busy();
    drawList().catch(() => {});
  });
}

Object.assign(act, {
  show,
  again: m => answer(m.parent, $("model").value),
  more: m => answer(m.parent, $("model").value, m.id),
  async edit(m) {
    const text = await ask("Edit the message", m.content);
    if (text !== null && text !== m.content && (text.trim() || m.files?.length)) await send(text, m.files ?? [], m.parent);
  },
  async vote(m, v) {
    await call("POST", `/lentil/chats/${state.chat.id}/${m.id}`, { vote: v });
    m.vote = v;
    redraw(m);
  },
  async correct(m) {
    const text = await ask("What should the answer have been?", m.content);
    if (!text?.trim() || text === m.content) return;
    const made = await call("POST", `/lentil/chats/${state.chat.id}/${m.id}`, { content: text });
    add(made);
    await show(made.id);
  },
  hello,
});

const stop = () => Promise.all([...state.running.keys()].map(id => call("DELETE", "/lentil/answers/" + id)));

// What a new chat begins with.

let starters = [];

function hello() {
  const out = el("div", "", "starters");
  out.append(el("p", "Ask the model something. Chats stay on the server's machine."));
  for (const text of starters) {
    const b = el("button", text, "starter");
    b.type = "button";
    b.addEventListener("click", guarded(() => send(text, [])));
    out.append(b);
  }
  out.append(el("p", "Not medical advice."));
  return out;
}

// some are n of a list, by chance and in its order.
function some(list, n) {
  const at = new Set();
  while (at.size < Math.min(n, list.length)) at.add(Math.floor(Math.random() * list.length));
  return list.filter((_, i) => at.has(i));
}

// The page.

const grow = () => { const a = $("ask"); a.style.height = "auto"; a.style.height = a.scrollHeight + 2 + "px"; };

$("form").addEventListener("submit", guarded(async e => {
  e.preventDefault();
  const text = $("ask").value;
  if (!text.trim() && !any() || state.running.size) return;
  const files = take();
  $("ask").value = "";
  grow();
  try { await send(text, files); } catch (err) {
    if (!$("ask").value) $("ask").value = text;
    back(files);
    render();
    throw err;
  }
}));
$("ask").addEventListener("input", grow);
$("ask").addEventListener("keydown", e => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); $("form").requestSubmit(); }
  if (e.key === "ArrowUp" && !e.target.value) {
    const last = way().findLast(m => m.role === "user");
    if (last) { e.preventDefault(); guarded(act.edit)(last); }
  }
});
const side = shown => {
  document.body.classList.toggle("no-side", !shown);
  $("open-side").setAttribute("aria-expanded", String(shown));
};
document.addEventListener("keydown", e => {
  if (e.key === "Escape" && !$("dialog").open) {
    if (state.running.size) guarded(stop)();
    else if (matchMedia("(max-width: 720px)").matches) side(false);
  }
  if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") { e.preventDefault(); side(true); $("search").focus(); }
  if (e.altKey && e.key.toLowerCase() === "n") { e.preventDefault(); fresh(); }
});
$("stop").addEventListener("click", guarded(stop));
$("new").addEventListener("click", () => { if (matchMedia("(max-width: 720px)").matches) side(false); fresh(); });
$("search").addEventListener("input", guarded(drawList));
$("open-side").addEventListener("click", () => side(document.body.classList.contains("no-side")));
$("close-side").addEventListener("click", () => { side(false); $("open-side").focus(); });
$("open-settings").addEventListener("click", () => {
  $("settings").hidden = !$("settings").hidden;
  $("open-settings").setAttribute("aria-expanded", String(!$("settings").hidden));
});
for (const id of ["settings", "model", "beside"]) $(id).addEventListener("change", guarded(async () => {
  if (state.chat) { state.chat.settings = settings(); await put(state.chat); }
  if (id === "beside" && !state.running.size) render();
}));
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  localStorage.setItem("lentil-theme", (document.documentElement.dataset.theme = dark ? "light" : "dark"));
});
$("export").addEventListener("change", guarded(async e => {
  const kind = e.target.value;
  e.target.value = "";
  save(kind === "lentil" ? "chats.json" : "chats-open-webui.json", await call("GET", "/lentil/export?as=" + kind));
}));
$("import").addEventListener("click", () => $("import-file").click());
$("import-file").addEventListener("change", guarded(async e => {
  const [file] = e.target.files;
  e.target.value = "";
  let chats;
  try { chats = JSON.parse(await file.text()); } catch { throw new Error(`${file.name} is no file of chats: expected JSON, as an export has it`); }
  const got = await call("POST", "/lentil/import", chats);
  say(`${got.chats} chats came in`);
  await drawList();
}));

const theme = localStorage.getItem("lentil-theme");
if (theme) document.documentElement.dataset.theme = theme;
side(!matchMedia("(max-width: 720px)").matches);
render();
guarded(async () => {
  const about = call("GET", "/lentil/about");
  for (const m of (await call("GET", "/v1/models")).data) {
    if (m.id.includes("@")) continue; // profiles have a menu of their own
    for (const id of ["model", "beside"]) { const o = el("option", m.id); o.value = m.id; $(id).append(o); }
  }
  const tuned = [...$("model").options].find(o => o.value.includes("+"));
  if (tuned) $("model").value = tuned.value;
  starters = some((await about).starters, 4);
  if (location.hash.length > 1) await load(location.hash.slice(1)).catch(fresh);
  else if (!state.chat) render();
  await drawList();
})();
