// Opens pages in Chromium at two sizes, in the light and in the dark, and prints as JSON what axe-core finds, what the page
// asked the network for, errors of its scripts, and whether it is wider than the window. Screenshots go to a folder.
// node page.mjs CHROMIUM FOLDER URL...
import path from "node:path";
import { audit, excess, launch } from "./browser.mjs";
const [program, folder, ...urls] = process.argv.slice(2);
const browser = await launch(program);
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
      Object.assign(one, await audit(page, 3));
      one.overflow = await excess(page);
      await page.screenshot({ path: path.join(folder, `${n}-${width}-${scheme}.png`), fullPage: true });
      found.push(one);
      await context.close();
    }
  }
}
await browser.close();
console.log(JSON.stringify(found));
