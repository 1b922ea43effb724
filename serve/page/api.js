// What the page asks the server. A key, where the server wants one, stays in this browser.

export const newID = prefix => prefix + "-" + Array.from(crypto.getRandomValues(new Uint8Array(10)), b => b.toString(16).padStart(2, "0")).join("");

const keyName = "lentil-key";
export let askKey = async () => null;
export const onKey = f => { askKey = f; };

async function send(method, path, body, signal) {
  for (;;) {
    const key = localStorage.getItem(keyName);
    const file = body instanceof Blob;
    const headers = { "Content-Type": file ? "application/octet-stream" : "application/json", ...(key ? { Authorization: "Bearer " + key } : {}) };
    const r = await fetch(path, { method, headers, body: file || body === undefined ? body : JSON.stringify(body), signal });
    if (r.ok) return r;
    if (r.status === 401) {
      const given = await askKey();
      if (given) { localStorage.setItem(keyName, given.trim()); continue; }
    }
    let said = null;
    try { said = await r.json(); } catch { /* no JSON */ }
    throw new Error(said?.error?.message ?? `the server answered ${r.status}`);
  }
}

export const call = async (method, path, body) => (await send(method, path, body)).json();
export const upload = (path, file) => call("POST", path, file);

// watch hands on the events of an answer until it ends.
export async function watch(id, each, signal) {
  const r = await send("GET", "/lentil/answers/" + id, undefined, signal);
  const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (held + value).split("\n\n");
    held = events.pop();
    for (const e of events) if (e.startsWith("data: ")) each(JSON.parse(e.slice(6)));
  }
}
