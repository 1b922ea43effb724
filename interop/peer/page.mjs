// Opens pages in Chromium at two sizes, in the light and in the dark, and prints as JSON what axe-core finds, what the page
// asked the network for, errors of its scripts, and whether it is wider than the window. Screenshots go to a folder.
// node page.mjs CHROMIUM FOLDER URL...
import { createRequire } from "node:module";
import path from "node:path";
const require = createRequire(path.join(process.env.BROWSER_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
const [program, folder, ...urls] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
const found = [];
const strict = await browser.newContext(); // under the page's own policy: nothing of it may be blocked
for (const url of urls) {
  const page = await strict.newPage();
  const one = { url, width: 0, scheme: "", violations: [], requests: [], errors: [], passes: 0, overflow: 0 };
  page.on("console", (m) => m.type() === "error" && one.errors.push(m.text()));
  page.on("pageerror", (e) => one.errors.push(String(e)));
  page.on("request", (r) => one.requests.push(r.url()));
  await page.goto(url, { waitUntil: "load" });
  await page.waitForTimeout(300);
  one.passes = await page.locator("svg").count();
  found.push(one);
}
await strict.close();
for (const [n, url] of urls.entries()) {
  for (const [width, height] of [[1280, 900], [390, 844]]) {
    for (const scheme of ["light", "dark"]) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP: true });
      const page = await context.newPage();
      const one = { url, width, scheme, violations: [], requests: [], errors: [] };
      page.on("pageerror", (e) => one.errors.push(String(e)));
      page.on("console", (m) => m.type() === "error" && one.errors.push(m.text()));
      page.on("request", (r) => one.requests.push(r.url()));
      await page.goto(url, { waitUntil: "load" });
      await page.addScriptTag({ path: axe });
      const result = await page.evaluate(async () => await window.axe.run(document, { resultTypes: ["violations"] }));
      one.violations = result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((x) => x.html.slice(0, 120) + " " + x.failureSummary).join(" | ")}`);
      one.passes = result.passes.length;
      one.overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      await page.screenshot({ path: path.join(folder, `${n}-${width}-${scheme}.png`), fullPage: true });
      found.push(one);
      await context.close();
    }
  }
}
await browser.close();
console.log(JSON.stringify(found));
