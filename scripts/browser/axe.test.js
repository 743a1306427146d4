// S22: no finding of axe on any page, in both themes, both modes and three widths.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { World } from "./world.js";
import { launch, visitor } from "./browse.js";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let world, browser, filled;
before(async () => { world = await World.start("--allow-reveal"); browser = await launch(); filled = await world.fill(); });
after(async () => { await browser?.close(); await world?.stop(); });

// check runs axe without its own worker, past the policy of the page: the driver evaluates it.
async function check(page) {
  await page.evaluate(source);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return found.violations.map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? n.failureSummary)).join(" | "));
}

for (const colorScheme of ["light", "dark"])
  for (const width of [1440, 1024, 390])
    test(`S22: ${colorScheme}, ${width} px`, { timeout: 170000 }, async () => {
      const v = await visitor(browser, world, { colorScheme, viewport: { width, height: 900 }, reducedMotion: "reduce" });
      v.expects(/404/);
      const bad = [];
      const all = Object.entries(world.pages(filled));
      await v.login("test");
      await v.login("live");
      for (const mode of ["live", "test"])
        for (const [name, path] of all) {
          if (mode === "test" && path.includes(filled.bad.id) + path.includes("-7000-") > 0) continue; // of live mode
          await v.go(path, mode);
          for (const finding of await check(v.page)) bad.push(`${mode} ${name}: ${finding}`);
        }
      await v.page.goto(world.url + "/ui/login");
      for (const finding of await check(v.page)) bad.push("login: " + finding);
      assert.deepEqual(bad, []);
      // The control: a page with a mistake has a finding.
      await v.page.evaluate(() => { const b = document.createElement("button"); document.querySelector("main").append(b); });
      assert.ok((await check(v.page)).some((f) => f.startsWith("button-name")));
      v.clean("S22");
      await v.close();
    });
