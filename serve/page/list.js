// The list of chats: search, folders, names.
import { call } from "./api.js";
import { $, ask, button, el, guarded } from "./dom.js";
import { state } from "./state.js";

const shownAtOnce = 100;
let asked = 0, most = shownAtOnce;
const closed = new Set(JSON.parse(localStorage.getItem("lentil-closed") ?? "[]")); // folders

// act is what the list does with chats; app.js fills it in.
export const act = {};

const clean = text => text.split("/").map(p => p.trim()).filter(Boolean).join("/");

function item(c, folders) {
  const li = el("li"), open = el("button", c.title || "Untitled", "open");
  open.type = "button";
  if (c.snippet) open.append(el("small", c.snippet));
  open.addEventListener("click", guarded(() => act.load(c.id)));
  if (c.id === state.chat?.id) li.setAttribute("aria-current", "true");
  li.append(open,
    button("✎", "Rename", async () => {
      const got = await ask("Title", c.title ?? "", folders, c.folder);
      if (got) await put({ ...c, title: got.text.trim(), folder: clean(got.folder) });
    }),
    button("✕", "Delete", async () => {
      if (!await ask(`Delete “${c.title || "Untitled"}”?`)) return;
      await call("DELETE", "/lentil/chats/" + c.id);
      if (state.chat?.id === c.id) act.fresh();
      await drawList();
    }));
  return li;
}

function folder(name, chats, folders) {
  const li = el("li", "", "folder"), head = el("div", "", "row"), list = el("ul");
  const toggle = el("button", "", "open");
  toggle.type = "button";
  toggle.append(el("span", closed.has(name) ? "▸" : "▾", "arrow"), name, el("small", String(chats.length)));
  toggle.setAttribute("aria-expanded", String(!closed.has(name)));
  toggle.addEventListener("click", () => {
    if (!closed.delete(name)) closed.add(name);
    localStorage.setItem("lentil-closed", JSON.stringify([...closed]));
    list.hidden = closed.has(name);
    toggle.setAttribute("aria-expanded", String(!list.hidden));
    toggle.firstChild.textContent = list.hidden ? "▸" : "▾";
  });
  head.append(toggle, button("✎", "Rename the folder", async () => {
    const text = await ask(`Name of the folder “${name}”; without one, its chats are in none`, name);
    if (text === null) return;
    await call("POST", "/lentil/folders", { from: name, to: clean(text) });
    if (state.chat?.folder === name) state.chat.folder = clean(text);
    await drawList();
  }));
  list.hidden = closed.has(name);
  list.append(...chats.map(c => item(c, folders)));
  li.append(head, list);
  return li;
}

export async function drawList() {
  const q = $("search").value.trim();
  const mine = ++asked, got = await call("GET", `/lentil/chats?most=${most}&q=${encodeURIComponent(q)}`);
  if (mine !== asked) return; // a later one has been asked for
  const within = new Map();
  for (const c of got.chats) within.set(c.folder ?? "", [...(within.get(c.folder ?? "") ?? []), c]);
  const items = [];
  for (const name of [...within.keys()].filter(Boolean).sort((a, b) => a.localeCompare(b))) items.push(folder(name, within.get(name), got.folders));
  items.push(...(within.get("") ?? []).map(c => item(c, got.folders)));
  if (got.of > got.chats.length) {
    const li = el("li");
    li.append(button(`${got.of - got.chats.length} more`, "Show more chats", () => { most += 5 * shownAtOnce; return drawList(); }));
    items.push(li);
  }
  if (!items.length && q) items.push(el("li", "Nothing found", "none"));
  $("chats").replaceChildren(...items);
}

// put keeps title, folder, leaf and settings of a chat.
export async function put(info) {
  const { id, title, folder, leaf, settings } = info;
  await call("PUT", "/lentil/chats/" + id, { title, folder, leaf, settings });
  if (state.chat?.id === id) {
    Object.assign(state.chat, { title, folder });
    $("title").textContent = title || "New chat";
  }
  await drawList();
}
