// Uses the editor of profiles in Chromium, asks a question for a profile, and prints as JSON which steps went well, errors of
// scripts, and what axe-core finds at two sizes, in the light and in the dark. Screenshots go to a folder.
// node profilepage.mjs CHROMIUM FOLDER URL
import path from "node:path";
import { answered, audit, excess, launch, same, stepper, watch } from "./browser.mjs";
const [program, folder, url] = process.argv.slice(2);
const browser = await launch(program);
const out = { steps: {}, errors: [], violations: [], overflow: 0, looks: 0 };
const open = async (width, height, scheme) => {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP: width < 1280 || scheme === "dark" });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  watch(page, out.errors);
  await page.goto(url, { waitUntil: "load" });
  await page.waitForFunction(() => document.getElementById("model").options.length > 1);
  return page;
};
const page = await open(1280, 900, "light");
const step = stepper(out.steps), idle = () => answered(page);
const profiles = async () => (await (await fetch(url + "lentil/profiles")).json()).profiles;
const box = (name) => page.locator(".profiles label.check", { hasText: new RegExp(`^${name}$`) }).locator("input");
const how = (name) => page.getByLabel(`How bad ${name} is`);
await step("profiles have a menu of their own", async () => {
  const models = await page.locator("#model option").allInnerTexts();
  await page.click("#open-settings");
  return same([models.some((m) => m.includes("@")), await page.locator("#profile option").allInnerTexts()], [false, ["none", "anna"]]);
});
await step("the server's files are shown", async () => {
  await page.selectOption("#profile", "anna");
  await page.click("#open-profiles");
  await page.waitForSelector("#profiles[open]");
  const got = [await box("vegetarian").isChecked(), await box("gluten").isChecked(), await how("gluten").inputValue(), await page.inputValue("#profiles-dislikes"), await page.locator(".profiles button[title^=Delete]").isVisible()];
  return same(got, [true, true, "intolerance", "coriander", false]);
});
await step("the server's files are not changed", async () => {
  await page.click(".profiles button[type=submit]");
  await page.waitForFunction(() => document.querySelector(".profiles .error").textContent.includes("take another name"));
});
await step("a profile is made", async () => {
  await page.selectOption("#profiles-which", "");
  await page.click(".profiles button[type=submit]");
  await page.waitForFunction(() => document.querySelector(".profiles .error").textContent.includes("needs a name"));
  await page.fill("#profiles-name", "ben");
  await box("vegan").check();
  await box("nuts").check();
  await box("milk").check();
  await how("milk").selectOption("intolerance");
  await page.fill("#profiles-avoid", "is, of, good, kiwi (allergy)");
  await page.fill("#profiles-goals", "1500 kcal\n30 g of fibre");
  await page.selectOption("#profiles-units", "metric");
  await page.click(".profiles button[type=submit]");
  await page.waitForFunction(() => !document.querySelector("#profiles[open]"));
  const [ben] = (await profiles()).filter((p) => p.profile.id === "ben");
  return same([await page.inputValue("#profile"), ben.profile], ["ben", { id: "ben", diet: ["vegan"], avoid: ["milk", "nuts", "is", "of", "good", "kiwi"], severity: { kiwi: "allergy", milk: "intolerance", nuts: "allergy" }, goals: ["1500 kcal", "30 g of fibre"], units: "metric" }]);
});
await step("a mistake is told", async () => {
  await page.click("#open-profiles");
  await page.fill("#profiles-name", "a b");
  await page.click(".profiles button[type=submit]");
  await page.waitForFunction(() => document.querySelector(".profiles .error").textContent.includes("expected letters"));
  await page.click(".profiles button[title^=Close]");
});
await step("an answer is checked", async () => {
  await page.click("#open-settings");
  await page.fill("#ask", "What is beef good for?");
  await page.press("#ask", "Enter");
  await idle();
  await page.waitForSelector(".kept");
  return (await page.locator(".kept").innerText()).includes("Checked for ben");
});
await step("what breaks the profile is marked", async () => {
  const said = await page.locator(".kept .error").innerText(), marks = await page.locator(".said mark.broken").allInnerTexts();
  return said.startsWith("Not for ben: ") && marks.length > 0 && marks.every((m) => said.includes(m + ": ")) ? true : [said, marks];
});
await step("a reload shows it again", async () => {
  await page.reload({ waitUntil: "load" });
  await page.waitForSelector(".said mark.broken");
  await page.waitForFunction(() => document.getElementById("profile").value === "ben");
});
for (const [width, height, scheme] of [[1280, 900, "dark"], [390, 844, "light"], [390, 844, "dark"]]) {
  await step(`looks ${width} ${scheme}`, async () => {
    const p = await open(width, height, scheme);
    const id = (await (await fetch(url + "lentil/chats")).json()).chats[0].id;
    await p.goto(url + "#" + id);
    await p.reload({ waitUntil: "load" });
    await p.waitForSelector(".said mark.broken");
    const look = async (what) => {
      out.violations.push(...(await audit(p, 2)).violations.map((v) => `${what}, ${width} ${scheme}, ${v}`));
      out.overflow = Math.max(out.overflow, await excess(p));
      out.looks++;
      await p.screenshot({ path: path.join(folder, `${what}-${width}-${scheme}.png`) });
    };
    await look("broken");
    await p.click("#open-settings");
    await p.click("#open-profiles");
    await p.waitForSelector("#profiles[open]");
    await look("profiles");
    await p.context().close();
  });
}
await step("a profile is deleted", async () => {
  await page.click("#open-settings");
  await page.click("#open-profiles");
  await page.click(".profiles button[title^=Delete]");
  await page.click("#dialog-ok");
  await page.waitForFunction(() => document.getElementById("profile").options.length === 2);
  return same([await page.inputValue("#profile"), (await profiles()).length], ["", 1]);
});
await browser.close();
console.log(JSON.stringify(out));
