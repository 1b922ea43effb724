// What the scripts that use pages in Chromium share.
import { createRequire } from "node:module";
import path from "node:path";
const require = createRequire(path.join(process.env.BROWSER_MODULES, "x.js"));
const axe = require.resolve("axe-core/axe.min.js");

// launch opens the browser.
export const launch = (program) => require("playwright-core").chromium.launch({ executablePath: program, args: ["--no-sandbox"] });

// stepper gives a function that takes a step and notes in steps whether it went well: one that finds something else tells it.
export const stepper = (steps) => async (name, f) => {
  try {
    const got = await f();
    steps[name] = got === undefined || got === true ? "ok" : "found " + JSON.stringify(got);
  } catch (e) {
    steps[name] = String(e).slice(0, 400);
  }
};

// same is true, or what was got instead of what was wanted.
export const same = (got, want) => (JSON.stringify(got) === JSON.stringify(want) ? true : got);

// answered waits until the chat page's answer is whole.
export const answered = (page) => page.waitForFunction(() => document.getElementById("thread").ariaBusy !== "true");

// watch notes errors of a page's scripts. A file that is refused is not one.
export const watch = (page, errors) => {
  page.on("pageerror", (e) => errors.push(String(e)));
  page.on("console", (m) => m.type() === "error" && !m.text().startsWith("Failed to load resource") && errors.push(m.text()));
};

// audit is what axe-core finds in a page, a text each, with up to most places.
export const audit = async (page, most) => {
  if (!(await page.evaluate(() => window.axe))) await page.addScriptTag({ path: axe });
  const result = await page.evaluate(async () => await window.axe.run(document, { resultTypes: ["violations"] }));
  return {
    passes: result.passes.length,
    violations: result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, most).map((x) => x.html.slice(0, 120) + " " + x.failureSummary).join(" | ")}`),
  };
};

// excess is by how much a page is wider than the window.
export const excess = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
