// Files that go with a question. The server reads their text.
import { upload } from "./api.js";
import { $, button, el, guarded, say } from "./dom.js";

let files = []; // {name, text, words, cut}
const mostFiles = 8;

function draw() {
  $("files").hidden = files.length === 0;
  $("files").replaceChildren(...files.map(f => {
    const li = el("li", `${f.name}, ${f.words} words${f.cut ? ", its beginning" : ""}`);
    li.append(button("✕", "Do not attach " + f.name, () => { files = files.filter(x => x !== f); draw(); }));
    return li;
  }));
}

async function add(list) {
  for (const f of list) {
    if (files.length >= mostFiles) throw new Error(`A question takes ${mostFiles} files at most.`);
    say(`Reading ${f.name}`);
    files.push(await upload("/lentil/files?name=" + encodeURIComponent(f.name), f));
    draw();
  }
  say("");
}

// take gives the files, and has none any more.
export function take() {
  const out = files;
  files = [];
  draw();
  return out.map(({ name, text, cut }) => ({ name, text, cut }));
}

export const back = list => { files = list.map(f => ({ words: f.text.split(/\s+/).length, ...f })); draw(); };
export const any = () => files.length > 0;

$("attach").addEventListener("click", () => $("attach-file").click());
$("attach-file").addEventListener("change", guarded(async e => {
  const list = [...e.target.files];
  e.target.value = "";
  await add(list);
}));
$("ask").addEventListener("paste", e => {
  if (!e.clipboardData.files.length) return;
  e.preventDefault();
  guarded(add)([...e.clipboardData.files]);
});
document.addEventListener("dragover", e => { if (e.dataTransfer.types.includes("Files")) e.preventDefault(); });
document.addEventListener("drop", e => {
  if (!e.dataTransfer.files.length) return;
  e.preventDefault();
  guarded(add)([...e.dataTransfer.files]);
});
