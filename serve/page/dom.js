// Small things that all files of the page use.

export const $ = id => document.getElementById(id);
export const el = (tag, text, className) => { const e = document.createElement(tag); if (text) e.textContent = text; if (className) e.className = className; return e; };
export const say = text => { $("status").textContent = text; };

let pending = 0; // actions that the server has yet to answer
let running = () => 0;
export const countRunning = f => { running = f; };

// busy tells, assistive technology too, whether the conversation is about to change, and which buttons that leaves.
export function busy() {
  $("stop").hidden = running() === 0;
  $("send").hidden = running() > 0;
  $("thread").ariaBusy = String(pending + running() > 0);
}

// guarded makes an action of which a failure is told.
export const guarded = f => async (...args) => {
  pending++;
  busy();
  try { await f(...args); } catch (e) { say(e.message); } finally { pending--; busy(); }
};

export function button(text, label, f, pressed) {
  const b = el("button", text, "quiet");
  b.type = "button";
  b.title = label;
  if (!/\w/.test(text)) b.setAttribute("aria-label", label);
  if (pressed !== undefined) b.setAttribute("aria-pressed", pressed);
  b.addEventListener("click", guarded(f));
  return b;
}

// ask opens the dialog: for a text if there is one to begin with, else for yes or no. With folders it also asks for one of
// them, and gives {text, folder}.
export function ask(question, text, folders, folder) {
  const d = $("dialog"), input = $("dialog-input");
  $("dialog-text").textContent = question;
  input.hidden = text === undefined;
  input.value = text ?? "";
  input.rows = Math.min(14, 1 + (text ?? "").split("\n").length);
  $("dialog-in").hidden = !folders;
  $("dialog-folder").value = folder ?? "";
  $("folders").replaceChildren(...(folders ?? []).map(f => { const o = el("option"); o.value = f; return o; }));
  d.returnValue = "cancel";
  d.showModal();
  if (!input.hidden) input.focus();
  return new Promise(done => d.addEventListener("close", () => {
    if (d.returnValue !== "ok") return done(null);
    if (folders) return done({ text: input.value, folder: $("dialog-folder").value });
    done(text === undefined ? true : input.value);
  }, { once: true }));
}

// patch gives a node other children, and leaves those that are the same: what is selected in them stays so.
export function patch(parent, nodes) {
  const old = [...parent.childNodes];
  let i = 0;
  while (i < old.length && i < nodes.length && old[i].isEqualNode(nodes[i])) i++;
  for (const o of old.slice(i)) o.remove();
  parent.append(...nodes.slice(i));
}

export function save(name, data) {
  const a = el("a");
  a.href = URL.createObjectURL(new Blob([JSON.stringify(data, null, 1)], { type: "application/json" }));
  a.download = name;
  a.click();
  URL.revokeObjectURL(a.href);
}
