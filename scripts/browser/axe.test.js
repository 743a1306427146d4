// S22: no finding of axe on any page, in both modes, both themes and three widths. Every
// rule is tried at the widest and the narrowest width; at the other combinations those that
// depend on colours and sizes.
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { all } from "./axe.js";
import { World } from "./world.js";
import { launch, visitor } from "./browse.js";

let world, browser, filled;
before(async () => { world = await World.start("--allow-reveal"); browser = await launch(); filled = await world.fill(6); });
after(async () => { await browser?.close(); await world?.stop(); });

describe("S22", { concurrency: 2 }, () => {
  for (const mode of ["live", "test"])
    test(mode + " mode", { timeout: 900000 }, async () => {
      const v = await visitor(browser, world, { reducedMotion: "reduce" });
      v.expects(/404/);
      await v.login("test");
      await v.login("live");
      const bad = [];
      for (const [name, path] of Object.entries(world.pages(filled))) {
        if (mode === "test" && /-7000-/.test(path)) continue; // a thing of live mode
        await v.go(path, mode);
        bad.push(...(await all(v.page)).map((f) => `${name}, ${f}`));
      }
      await v.page.goto(world.url + "/ui/login");
      bad.push(...(await all(v.page)).map((f) => "login, " + f));
      assert.deepEqual(bad, []);
      // The control: a page with two mistakes has two findings.
      await v.page.evaluate(() => { const b = document.createElement("button"), p = document.createElement("p"); p.className = "muted"; p.innerText = "grey"; p.attributeStyleMap?.set("color", "#bbb"); document.querySelector("main").append(b, p); });
      const found = (await all(v.page)).join("\n");
      assert.match(found, /button-name/);
      assert.match(found, /light 1440: color-contrast/);
      v.clean("S22");
      await v.close();
    });
});
