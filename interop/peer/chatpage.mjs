// Uses the chat page in Chromium as people do, and prints as JSON which steps went well, errors of scripts, and what axe-core
// finds at two sizes, in the light and in the dark. Screenshots go to a folder.
// node chatpage.mjs CHROMIUM FOLDER URL
import { createRequire } from "node:module";
import path from "node:path";
const require = createRequire(path.join(process.env.BROWSER_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
const [program, folder, url] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
const out = { steps: {}, errors: [], requests: [], violations: [], overflow: 0, paint: 0 };
const listen = (page) => {
  page.on("pageerror", (e) => out.errors.push(String(e)));
  page.on("console", (m) => m.type() === "error" && out.errors.push(m.text()));
  page.on("request", (r) => r.url().startsWith(url) || r.url().startsWith("blob:") || out.requests.push(r.url()));
};
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
const page = await context.newPage();
page.setDefaultTimeout(20000);
listen(page);
const step = async (name, f) => {
  try {
    const got = await f();
    out.steps[name] = got === undefined || got === true ? "ok" : "found " + JSON.stringify(got);
  } catch (e) {
    out.steps[name] = String(e).slice(0, 400);
  }
};
const idle = () => page.waitForFunction(() => document.getElementById("thread").ariaBusy !== "true");
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
await step("a question is answered", async () => { await send("What is fibre good for?"); await idle(); return (await answers.first().innerText()).length > 5; });
await step("figures", async () => /tokens\/s/.test(await page.locator(".figures").first().innerText()));
await step("sources", async () => { await page.locator(".turn.assistant summary", { hasText: "passages of the books" }).first().click(); return (await page.locator(".turn.assistant ol li").count()) > 0; });
await step("the chat is listed", async () => (await page.locator("#chats .open").first().innerText()).includes("fibre"));
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
  await page.selectOption("#beside", "");
  await page.click("#new");
  await page.click("#open-settings");
  await page.fill("#temperature", "1.3");
  await page.fill("#max_tokens", "400");
  await send("Tell a long story of beans.");
  await page.waitForFunction(() => location.hash.length > 5 && document.querySelector(".turn.assistant"));
  await page.reload({ waitUntil: "load" });
  await idle();
  await page.waitForSelector(".turn.assistant .figures");
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
    return { hit: window.hit ?? 0, img: q("img"), script: q("script"), bad: [...document.querySelectorAll("#thread a")].filter((a) => !/^https?:/.test(a.href)).length, links: q("a"), table: q("td"), code: q("pre code"), list: q("li"), sup: q("sup"), quote: q("blockquote") };
  });
  return JSON.stringify(got) === JSON.stringify({ hit: 0, img: 0, script: 0, bad: 0, links: 1, table: 2, code: 1, list: 3, sup: 1, quote: 1 }) ? true : got;
});
await page.screenshot({ path: path.join(folder, "markdown-1280-light.png") });
await step("search", async () => { await page.keyboard.press("Control+k"); await page.keyboard.type("lentils"); await page.waitForFunction(() => document.querySelectorAll("#chats .open").length === 1 && document.querySelector("#chats small")?.textContent.includes("entils")); });
await step("rename, with a folder", async () => { await page.click("button[title=Rename]"); await dialog("Food/Lentil talk"); await page.waitForFunction(() => document.querySelector("#chats .folder")?.textContent === "Food"); await page.fill("#search", ""); });
await step("delete", async () => { await page.waitForFunction(() => document.querySelectorAll("#chats .open").length >= 3); const n = await page.locator("#chats .open").count(); await page.locator("button[title=Delete]").first().click(); await dialog(); await page.waitForFunction((n) => document.querySelectorAll("#chats .open").length === n - 1, n); });
await step("1,000 messages", async () => {
  const id = await page.evaluate(async () => {
    const messages = Array.from({ length: 1000 }, (_, i) => ({ id: "m" + i, parent: i ? "m" + (i - 1) : "", role: i % 2 ? "assistant" : "user", content: "Line *" + i + "* of a long talk.\n\n- beans\n- rice" }));
    await fetch("/lentil/import", { method: "POST", body: JSON.stringify([{ title: "Long", leaf: "m999", messages }]) });
    return (await (await fetch("/lentil/chats?q=long")).json()).chats.find((c) => c.title === "Long").id;
  });
  await page.goto(url + "#" + id);
  await page.reload({ waitUntil: "load" });
  await page.waitForFunction(() => document.querySelectorAll("#thread .turn").length === 1000);
  out.frame = await page.evaluate(async () => {
    const t = document.getElementById("thread");
    let worst = 0, last = performance.now();
    for (let i = 0; i < 30; i++) {
      t.scrollTop = (t.scrollHeight * i) / 30;
      await new Promise(requestAnimationFrame);
      worst = Math.max(worst, performance.now() - last);
      last = performance.now();
    }
    return worst;
  });
});
for (const [width, height] of [[1280, 900], [390, 844]]) {
  for (const scheme of ["light", "dark"]) {
    const c = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP: true });
    const p = await c.newPage();
    listen(p);
    const talk = (await (await fetch(url + "lentil/chats?q=story")).json()).chats[0] ?? (await (await fetch(url + "lentil/chats")).json()).chats[0];
    for (const where of ["#", "#" + talk.id]) {
      await p.goto(url + where, { waitUntil: "load" });
      await p.reload({ waitUntil: "load" });
      await p.waitForTimeout(500);
      await p.addScriptTag({ path: axe });
      const result = await p.evaluate(async () => await window.axe.run(document, { resultTypes: ["violations"] }));
      out.violations.push(...result.violations.map((v) => `${width} ${scheme} ${v.id}: ${v.nodes.slice(0, 2).map((x) => x.html.slice(0, 120) + " " + x.failureSummary).join(" | ")}`));
      out.overflow = Math.max(out.overflow, await p.evaluate(() => document.documentElement.scrollWidth - window.innerWidth));
    }
    await p.screenshot({ path: path.join(folder, `chat-${width}-${scheme}.png`) });
    await c.close();
  }
}
await browser.close();
console.log(JSON.stringify(out));
