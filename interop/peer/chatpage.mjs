// Uses the chat page in Chromium as people do, and prints as JSON which steps went well, errors of scripts, and what axe-core
// finds at two sizes, in the light and in the dark. Screenshots go to a folder.
// The second address is a server that wants the key "sesame".
// node chatpage.mjs CHROMIUM FOLDER URL URL
import path from "node:path";
import { answered, audit, excess, launch, same, stepper, watch } from "./browser.mjs";
const [program, folder, url, locked] = process.argv.slice(2);
const browser = await launch(program);
const out = { steps: {}, errors: [], requests: [], violations: [], overflow: [], looks: 0, paint: 0 };
const listen = (page) => {
  watch(page, out.errors);
  page.on("response", (r) => r.ok() || r.url().includes("cat.png") || out.errors.push(`${r.status()} ${r.request().method()} ${r.url()}`)); // a file that is refused
  page.on("request", (r) => r.url().startsWith(url) || r.url().startsWith("blob:") || out.requests.push(r.url()));
};
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", acceptDownloads: true });
await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(url).origin });
const page = await context.newPage();
page.setDefaultTimeout(20000);
listen(page);
const step = stepper(out.steps), idle = () => answered(page);
const imported = (chats) =>
  page.evaluate(async (chats) => {
    await fetch("/lentil/import", { method: "POST", body: JSON.stringify(chats) });
    return (await (await fetch("/lentil/chats")).json()).chats.find((c) => c.title === chats[0].title).id;
  }, chats);
const visit = async (id) => {
  await page.goto(url + "#" + id);
  await page.reload({ waitUntil: "load" });
  await page.waitForSelector(".turn");
};
const answers = page.locator(".turn.assistant .said");
const send = async (text) => {
  await page.fill("#ask", text);
  await page.press("#ask", "Enter");
};
const dialog = async (text) => {
  if (text !== undefined) await page.fill("#dialog-input", text);
  await page.click("#dialog-ok");
};
await page.goto(url, { waitUntil: "load" });
await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
out.paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1);
await step("models are listed", async () => { await page.waitForFunction(() => document.getElementById("model").options.length > 1); });
await step("a chat begins with a question of the dataset", async () => {
  await page.waitForSelector(".starter");
  const n = await page.locator(".starter").count(), text = await page.locator(".starter").first().innerText();
  await page.locator(".starter").first().click();
  await idle();
  await page.waitForSelector(".turn.assistant .figures");
  const got = { n, asked: (await page.locator(".turn.user .said").innerText()) === text };
  await page.click("#new");
  return same(got, { n: 4, asked: true });
});
await step("a question is answered", async () => { await send("What is fibre good for?"); await idle(); return (await answers.first().innerText()).length > 5; });
await step("figures", async () => /tokens\/s/.test(await page.locator(".figures").first().innerText()));
await step("sources", async () => { await page.locator(".turn.assistant summary", { hasText: "passages of the books" }).first().click(); return (await page.locator(".turn.assistant ol li").count()) > 0; });
await step("the chat is listed", async () => { await page.waitForFunction(() => [...document.querySelectorAll("#chats .open")].some((x) => x.textContent.includes("fibre"))); });
await step("again makes a branch", async () => {
  await page.click("button[title^='Answer again']");
  await page.waitForFunction(() => [...document.querySelectorAll(".tools span")].some((s) => s.textContent === "2/2"));
  await idle();
});
await step("branches are walked", async () => { await page.click("button[title='Branch before']"); await page.waitForFunction(() => [...document.querySelectorAll(".tools span")].some((s) => s.textContent === "1/2")); });
await step("edit makes a branch", async () => {
  await page.click(".turn.user button[title^='Ask otherwise']");
  await dialog("Why eat lentils?");
  await page.waitForFunction(() => document.querySelector(".turn.user .said").textContent === "Why eat lentils?");
  await idle();
});
await step("a second question", async () => { await send("Is rice good?"); await page.waitForFunction(() => document.querySelectorAll(".turn.user").length === 2 && document.querySelectorAll(".turn.assistant").length === 2); await idle(); return (await page.locator(".turn.user").count()) === 2; });
await step("continue", async () => { const n = (await answers.last().innerText()).length; await page.locator("button[title^='Go on']").last().click(); await idle(); return (await answers.last().innerText()).length >= n; });
await step("votes", async () => { await page.locator("button[title='A good answer']").last().click(); await page.waitForFunction(() => [...document.querySelectorAll("button[aria-pressed=true]")].length === 1); });
await step("a correction", async () => { await page.locator("button[title^='Write what']").last().click(); await dialog("Rice is **good** food."); await page.waitForFunction(() => document.querySelector("#thread .said strong")?.textContent === "good"); });
await step("side by side", async () => {
  await page.selectOption("#beside", "base");
  await send("What has iron?");
  await page.waitForSelector(".pair");
  await idle();
  return (await page.locator(".pair .turn").count()) === 2;
});
await step("settings are the chat's", async () => {
  await page.click("#open-settings");
  await page.fill("#system", "Be brief.");
  await page.fill("#temperature", "0.7");
  await page.press("#temperature", "Tab");
  await page.waitForTimeout(300);
  await page.reload({ waitUntil: "load" });
  await page.waitForFunction(() => document.getElementById("temperature").value === "0.7" && document.getElementById("system").value === "Be brief.");
});
await page.screenshot({ path: path.join(folder, "beside-1280-light.png") });
await step("a reload in the middle of an answer", async () => {
  // A grammar without an end: the answer is under way until it is stopped.
  const id = await page.evaluate(async () => {
    const send = (method, path, body) => fetch("/lentil/chats/chat-reload01" + path, { method, body: JSON.stringify(body) });
    await send("PUT", "", { title: "Reload", leaf: "msg-reload01" });
    await send("PUT", "/msg-reload01", { role: "user", content: "Go on." });
    await send("POST", "/msg-reload01/new", { id: "ans-reload01", model: "base", grammar: 'root ::= ("a" | " ")+ "."', max_tokens: -1, temperature: 1, seed: 5, logit_bias: {} });
    return "chat-reload01";
  });
  await visit(id);
  await page.waitForFunction(() => document.querySelector(".turn.assistant .said").textContent.length > 20);
  const before = (await answers.first().innerText()).trim();
  await page.reload({ waitUntil: "load" });
  await page.waitForFunction((n) => document.querySelector(".turn.assistant .said")?.textContent.length > n, before.length);
  const after = (await answers.first().innerText()).trim(), under = await page.locator("#stop").isVisible();
  if (under) await page.click("#stop");
  await idle();
  await page.waitForSelector(".turn.assistant .figures");
  return same({ same: after.startsWith(before), under, end: (await page.locator(".figures").innerText()).includes("stopped") }, { same: true, under: true, end: true });
});
await step("escape stops", async () => {
  await send("Tell another story.");
  await page.waitForFunction(() => !document.getElementById("stop").hidden);
  await page.keyboard.press("Escape");
  await idle();
});
await step("hostile Markdown is text", async () => {
  const id = await page.evaluate(async () => {
    const evil = "# Title\n\n<img src=x onerror=\"window.hit=1\"> <script>window.hit=1</scr" + "ipt>\n\n[x](javascript:window.hit=1) [y](data:text/html,hi) https://example.org/a.\n\n| a | b |\n|---|--:|\n| 1 | **2** |\n\n```js\nlet x = '<b>';\n```\n\n- one\n- two\n  1. deep\n\nEnergy $E = mc^2$ and \\(\\frac{a}{b}\\)\n\n> quoted\n";
    await fetch("/lentil/import", { method: "POST", body: JSON.stringify([{ title: "Evil", leaf: "m2", messages: [{ id: "m1", parent: "", role: "user", content: evil }, { id: "m2", parent: "m1", role: "assistant", content: evil, model: "<i>m</i>" }] }]) });
    return (await (await fetch("/lentil/chats?q=evil")).json()).chats[0].id;
  });
  await page.goto(url + "#" + id);
  await page.reload({ waitUntil: "load" });
  await page.waitForSelector("#thread table");
  const got = await page.evaluate(() => {
    const q = (s) => document.querySelectorAll("#thread .assistant " + s).length;
    return { hit: window.hit ?? 0, img: q("img"), script: q("script"), bad: [...document.querySelectorAll("#thread a")].filter((a) => !/^https?:/.test(a.href)).length, links: q("a"), table: q("td"), code: q("pre code"), list: q("li"), math: q("math"), quote: q("blockquote") };
  });
  return JSON.stringify(got) === JSON.stringify({ hit: 0, img: 0, script: 0, bad: 0, links: 1, table: 2, code: 1, list: 3, math: 2, quote: 1 }) ? true : got;
});
await page.screenshot({ path: path.join(folder, "markdown-1280-light.png") });
await step("text that is hard to read is read", async () => {
  const slow = await page.evaluate(async () => {
    const { markdown } = await import("/page/markdown.js");
    const out = [];
    for (const text of ["*".repeat(20000), "**a ".repeat(5000), "[a](".repeat(5000), "$a ".repeat(7000), "\\(".repeat(10000), "` ".repeat(10000), "> ".repeat(8000), "+ ".repeat(8000), "|-|\n".repeat(4000), "\\(" + "\\frac{".repeat(3000) + "\\)", "$" + "\\hat".repeat(240) + "$", "\\[" + "{".repeat(7000)]) {
      const began = performance.now();
      markdown(text);
      if (performance.now() - began > 5000) out.push(text.slice(0, 8)); // some take tens of milliseconds
    }
    return out;
  });
  return same(slow, []);
});
await step("search", async () => { await page.keyboard.press("Control+k"); await page.keyboard.type("lentils"); await page.waitForFunction(() => document.querySelectorAll("#chats .open").length === 1 && document.querySelector("#chats small")?.textContent.includes("entils")); });
await step("rename, with a folder", async () => {
  await page.click("button[title=Rename]");
  await page.fill("#dialog-folder", "Food");
  await dialog("Lentil talk");
  await page.waitForFunction(() => document.querySelector("#chats .folder .row")?.textContent.includes("Food") && document.querySelector("#chats .folder li .open").firstChild.data === "Lentil talk");
  await page.fill("#search", "");
});
await step("folders fold, and are renamed", async () => {
  const toggle = page.locator("#chats .folder [aria-expanded]");
  await toggle.click();
  const hidden = await page.locator("#chats .folder li").first().isHidden();
  await page.reload({ waitUntil: "load" }); // it stays folded
  await page.waitForSelector("#chats .folder");
  const still = await page.locator("#chats .folder li").first().isHidden();
  await toggle.click();
  await page.click("#chats button[title='Rename the folder']");
  await dialog("Pulses/Lentils");
  await page.waitForFunction(() => document.querySelector("#chats .folder .row")?.textContent.includes("Pulses/Lentils"));
  return same([hidden, still, await page.locator("#chats .folder li").first().isVisible()], [true, true, true]);
});
await step("delete", async () => { await page.waitForFunction(() => document.querySelectorAll("#chats .open").length >= 3); const n = await page.locator("#chats .open").count(); await page.locator("button[title=Delete]").last().click(); await dialog(); await page.waitForFunction((n) => document.querySelectorAll("#chats .open").length === n - 1, n); });
const pdf = (text) => {
  const stream = `BT /F1 14 Tf 60 700 Td (${text}) Tj ET`;
  const objects = ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 5 0 R/Resources<</Font<</F1 4 0 R>>>>>>", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>", `<</Length ${stream.length}>>\nstream\n${stream}\nendstream`];
  let out = "%PDF-1.4\n", at = [];
  objects.forEach((o, i) => { at.push(out.length); out += `${i + 1} 0 obj\n${o}\nendobj\n`; });
  const xref = out.length;
  out += `xref\n0 6\n0000000000 65535 f \n${at.map((n) => String(n).padStart(10, "0") + " 00000 n \n").join("")}trailer\n<</Size 6/Root 1 0 R>>\nstartxref\n${xref}\n%%EOF\n`;
  return Buffer.from(out, "latin1");
};
await step("a text and a PDF go with a question", async () => {
  await page.click("#new");
  await page.setInputFiles("#attach-file", [
    { name: "notes.md", mimeType: "text/markdown", buffer: Buffer.from("# Notes\n\nThe pantry has 17 jars of okra.\n") },
    { name: "label.pdf", mimeType: "application/pdf", buffer: pdf("The label says 23 percent of salt") },
    { name: "rest.txt", mimeType: "text/plain", buffer: Buffer.from("Not this one.") },
  ]);
  await page.waitForFunction(() => document.querySelectorAll("#files li").length === 3, null, { timeout: 90000 }); // the first PDF starts its reader
  await page.click("#files button[title='Do not attach rest.txt']");
  await page.screenshot({ path: path.join(folder, "attach-1280-light.png") });
  await page.selectOption("#beside", "");
  await send("What is there?");
  await page.waitForSelector(".turn.user .file");
  await idle();
  await page.waitForSelector(".turn.assistant .figures");
  const got = await page.evaluate(async () => {
    const { chat } = await (await fetch("/lentil/chats/" + location.hash.slice(1))).json();
    return { shown: [...document.querySelectorAll(".turn.user .file summary")].map((x) => x.textContent), files: chat.messages[0].files.map((f) => f.text.replace(/\s+/g, " ")), left: document.querySelectorAll("#files li").length, read: chat.messages[1].figures.prompt_n > 40 };
  });
  return same(got, { shown: ["notes.md", "label.pdf"], files: ["Notes The pantry has 17 jars of okra.", "The label says 23 percent of salt"], left: 0, read: true });
});
await step("a file that is no text is refused", async () => {
  await page.setInputFiles("#attach-file", [{ name: "cat.png", mimeType: "image/png", buffer: Buffer.from([137, 80, 78, 71, 0, 1]) }]);
  await page.waitForFunction(() => /cat\.png.*expected \.txt/.test(document.getElementById("status").textContent));
  return (await page.locator("#files li").count()) === 0;
});
await step("formulas are MathML", async () => {
  const text = String.raw`Energy \(E = mc^2\), $\frac{a+b}{\sqrt[3]{c}}$ and costs of $5 and $6.

\[ \sum_{i=1}^{n} x_i^2 \le \left( \int_0^\infty e^{-x}\,dx \right)^{2} \text{ for all } n \in \mathbb{N} \]

$$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$$

\begin{align} a &= b + c \\ &= 7 \end{align}

Sugar is \(\ce{C6H12O6}\), and \(\unknown{x}\) stays.`;
  await visit(await imported([{ title: "Formulas", leaf: "m2", messages: [{ id: "m1", parent: "", role: "user", content: "Formulas?" }, { id: "m2", parent: "m1", role: "assistant", content: text }] }]));
  await page.waitForSelector("math");
  await page.screenshot({ path: path.join(folder, "formulas-1280-light.png") });
  const got = await page.evaluate(() => {
    const q = (s) => document.querySelectorAll(".assistant " + s).length;
    const box = document.querySelector(".assistant mfrac").getBoundingClientRect();
    return { math: q("math"), block: q("math[display=block]"), frac: q("mfrac"), root: q("mroot"), limits: q("munderover"), table: q("mtable"), cells: q("mtd"), sub: q("msub"), tall: box.height > 15 && box.width > 5, money: document.querySelector(".assistant .said p").textContent.includes("$5 and $6"), script: q("script") };
  });
  return same(got, { math: 7, block: 3, frac: 1, root: 1, limits: 1, table: 2, cells: 8, sub: 3, tall: true, money: true, script: 0 });
});
await step("figures that no passage has are marked, reasoning is folded", async () => {
  const text = "Take 12 g of salt and 250 g of rice.\n\n1. Boil 12 minutes\n\n`12 in code`";
  await visit(await imported([{ title: "Marks", leaf: "m2", messages: [{ id: "m1", parent: "", role: "user", content: "Salt?" }, { id: "m2", parent: "m1", role: "assistant", content: text, reasoning: "Let me see.", figures: { reasoning_ms: 2345 }, sources: [{ id: 0, book: "Cooking", chapter: "Rice", page: "7", text: "250 g of rice" }], unfounded: ["12"] }] }]));
  const got = await page.evaluate(() => ({ marks: [...document.querySelectorAll("mark")].map((x) => x.textContent), thought: document.querySelector("details.thought summary").textContent, open: document.querySelector("details.thought").open, source: document.querySelector(".sources strong").textContent }));
  return same(got, { marks: ["12", "12"], thought: "Reasoned for 2.3 s", open: false, source: "Cooking, Rice, p. 7" });
});
await step("code is copied", async () => {
  await visit(await imported([{ title: "Code", leaf: "m2", messages: [{ id: "m1", parent: "", role: "user", content: "Code?" }, { id: "m2", parent: "m1", role: "assistant", content: "Do:\n\n```sh\necho lentils\n```" }] }]));
  await page.click("pre button");
  await page.waitForFunction(() => document.querySelector("pre button").textContent === "Copied");
  return same(await page.evaluate(() => navigator.clipboard.readText()), "echo lentils");
});
await step("export for Open WebUI, and import of it", async () => {
  const [download] = await Promise.all([page.waitForEvent("download"), page.selectOption("#export", "open-webui")]);
  const file = await download.path(), before = await page.evaluate(async () => (await (await fetch("/lentil/chats")).json()).of);
  const chats = JSON.parse(await (await import("node:fs/promises")).readFile(file, "utf8"));
  const code = chats.find((c) => c.title === "Code");
  await page.setInputFiles("#import-file", file);
  await page.waitForFunction(() => document.getElementById("status").textContent.includes("chats came in"));
  const after = await page.evaluate(async () => (await (await fetch("/lentil/chats")).json()).of);
  await page.evaluate(async (had) => { // what came in goes again
    for (const c of (await (await fetch("/lentil/chats")).json()).chats) if (!had.includes(c.id)) await fetch("/lentil/chats/" + c.id, { method: "DELETE" });
  }, chats.map((c) => c.id));
  return same([chats.length, code.chat.messages.length, code.chat.history.messages[code.chat.history.currentId].content.includes("echo"), after - before], [before, 2, true, before]);
});
await step("the theme is kept", async () => {
  await page.click("#theme");
  await page.reload({ waitUntil: "load" });
  const dark = await page.evaluate(() => [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]);
  await page.click("#theme");
  return same(dark, ["dark", "rgb(25, 24, 22)"]);
});
await step("by keyboard alone", async () => {
  await page.keyboard.press("Alt+n");
  await page.keyboard.type("Is barley good?");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".turn.assistant");
  await idle();
  await page.keyboard.press("ArrowUp"); // edits the last question
  await page.waitForFunction(() => document.getElementById("dialog").open && document.activeElement.id === "dialog-input");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("Is rye good?");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector(".turn.user .said")?.textContent === "Is rye good?");
  await idle();
  await page.evaluate(() => document.activeElement.blur());
  const seen = new Set();
  let ring = 0, marked = false;
  for (let i = 0; i < 250; i++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => { const e = document.activeElement; return [e.id || e.title || e.textContent.slice(0, 20), getComputedStyle(e).outlineStyle, e.tagName]; });
    if (at[2] === "BODY") continue; // round again
    seen.add(at[0]);
    if (at[1] === "none") ring++;
    if (at[0] === "A good answer" && !marked) { await page.keyboard.press("Enter"); marked = true; await page.waitForSelector("button[title='A good answer'][aria-pressed=true]"); }
  }
  const missing = ["new", "search", "export", "import", "theme", "open-side", "model", "beside", "open-settings", "Branch before", "A good answer", "Copy the text", "attach", "ask", "send"].filter((x) => !seen.has(x));
  return same({ missing, ring, marked }, { missing: [], ring: 0, marked: true });
});
await step("1,000 messages", async () => {
  const messages = Array.from({ length: 1000 }, (_, i) => ({ id: "m" + i, parent: i ? "m" + (i - 1) : "", role: i % 2 ? "assistant" : "user", content: "Line *" + i + "* of a long talk.\n\n- beans\n- rice\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nAnd \\(x^2\\)." }));
  const id = await imported([{ title: "Long", leaf: "m999", messages }]);
  // The time that the page's own thread worked, in ms: what else the machine does is not in it.
  const devtools = await context.newCDPSession(page);
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  const worked = async () => 1000 * (await devtools.send("Performance.getMetrics")).metrics.find((m) => m.name === "TaskDuration").value;
  await page.goto(url + "#" + id);
  await page.reload({ waitUntil: "load" });
  await page.waitForFunction(() => document.querySelectorAll("#thread .turn").length === 1000);
  out.long = await worked();
  out.jumps = [];
  for (let i = 0; i < 60; i++) {
    const before = await worked();
    await page.evaluate(async (i) => {
      const t = document.getElementById("thread");
      t.scrollTop = (t.scrollHeight * (59 - i)) / 60;
      await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
    }, i);
    out.jumps.push((await worked()) - before);
  }
  out.jumps.sort((a, b) => a - b);
  // A message at the end leaves the others as they are.
  await page.evaluate(() => { window.kept = [...document.querySelectorAll("#thread .turn")].slice(0, 999); });
  await page.fill("#ask", "One more?");
  const before = await worked();
  await page.press("#ask", "Enter");
  await page.waitForFunction(() => document.querySelectorAll("#thread .turn").length > 1000);
  out.sent = (await worked()) - before;
  await idle();
  return same(await page.evaluate(() => window.kept.every((n) => n.isConnected)), true);
});
await step("a key is asked for once", async () => {
  if (!locked) return true;
  const other = await (await browser.newContext()).newPage();
  other.setDefaultTimeout(20000);
  await other.goto(locked);
  await other.waitForFunction(() => document.getElementById("dialog").open);
  await other.fill("#dialog-input", "sesame");
  await other.click("#dialog-ok");
  await other.waitForFunction(() => document.getElementById("model").options.length > 0);
  await other.reload();
  await other.waitForFunction(() => document.getElementById("model").options.length > 0);
  return same(await other.evaluate(() => document.getElementById("dialog").open), false);
});
const looks = async (width, height, scheme) => {
    const c = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP: true });
    const p = await c.newPage();
    listen(p);
    const all = (await (await fetch(url + "lentil/chats")).json()).chats, idOf = (title) => all.find((c) => c.title === title).id;
    const ids = { evil: idOf("Evil"), formulas: idOf("Formulas"), marks: idOf("Marks") };
    const talk = (await (await fetch(url + "lentil/chats?q=story")).json()).chats[0] ?? (await (await fetch(url + "lentil/chats")).json()).chats[0];
    const look = async (what) => {
      await p.evaluate(() => window.scrollTo(0, 0));
      out.violations.push(...(await audit(p, 2)).violations.map((v) => `${what}, ${width} ${scheme}, ${v}`));
      const wide = await excess(p);
      if (wide > 0) out.overflow.push(`${what}, ${width}: ${wide}`);
      out.looks++;
      await p.screenshot({ path: path.join(folder, `${what}-${width}-${scheme}.png`) });
    };
    const pages = { empty: "", chat: talk.id, markdown: ids.evil, formulas: ids.formulas, marks: ids.marks };
    for (const [what, id] of Object.entries(pages)) {
      await p.goto(url + "#" + id, { waitUntil: "load" });
      await p.reload({ waitUntil: "load" });
      await p.waitForSelector(id ? ".turn .tools" : ".starter");
      await p.waitForTimeout(300);
      if (what === "marks") await p.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
      await look(what);
    }
    await p.click("#open-settings");
    await look("settings");
    await p.click("#open-settings");
    if (width < 720) await p.click("#open-side");
    await p.waitForSelector("#chats .folder");
    await look("list");
    await p.locator("button[title=Rename]").first().click();
    await look("rename");
    await c.close();
};
for (const [width, height] of [[1280, 900], [390, 844]]) {
  for (const scheme of ["light", "dark"]) await step(`looks ${width} ${scheme}`, () => looks(width, height, scheme));
}
await browser.close();
console.log(JSON.stringify(out));
