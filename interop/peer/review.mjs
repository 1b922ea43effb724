// Goes through the first rows of a review in Chromium by its keys: accepts one, edits one, rejects one, undoes one, and has the
// files written. Prints as JSON what it saw, and what axe-core finds at two sizes, in the light and in the dark.
// node review.mjs CHROMIUM FOLDER URL
import path from "node:path";
import { audit, launch } from "./browser.mjs";
const [program, folder, url] = process.argv.slice(2);
const browser = await launch(program);
const out = { errors: [], requests: [], questions: [], marked: 0, said: "", violations: [] };
const page = await (await browser.newContext()).newPage();
page.setDefaultTimeout(120000); // machines under load
page.on("console", (m) => m.type() === "error" && out.errors.push(m.text()));
page.on("pageerror", (e) => out.errors.push(String(e)));
page.on("request", (r) => out.requests.push(r.url()));
await page.goto(url);
const at = async (n) => {
  await page.waitForFunction((n) => document.getElementById("place").textContent.startsWith(n + " of "), n);
  await page.waitForFunction(() => document.getElementById("passage").textContent !== "");
  out.questions.push(await page.inputValue("#question"));
  out.marked += await page.locator("mark").count();
};
await at(1);
await page.keyboard.press("a");
await at(2);
await page.fill("#question", "Edited in the browser?");
await page.fill("#answer", "It was.");
await page.keyboard.press("Control+Enter");
await at(3);
await page.locator("#passage").focus();
await page.keyboard.press("r");
await at(4);
await page.keyboard.press("r");
await at(5);
await page.keyboard.press("k");
await at(4);
await page.keyboard.press("u");
await page.click("#write");
await page.waitForFunction(() => document.getElementById("said").textContent.includes("rows are in the files"));
out.said = await page.textContent("#said");
for (const [width, height] of [[1280, 900], [390, 844]]) {
  for (const scheme of ["light", "dark"]) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP: true });
    const look = await context.newPage();
    look.setDefaultTimeout(120000);
    await look.goto(url);
    await look.waitForFunction(() => document.getElementById("question").value !== "");
    out.violations.push(...(await audit(look, 3)).violations.map((v) => `${width} ${scheme} ${v}`));
    await look.screenshot({ path: path.join(folder, `review-${width}-${scheme}.png`) });
    await context.close();
  }
}
await browser.close();
console.log(JSON.stringify(out));
