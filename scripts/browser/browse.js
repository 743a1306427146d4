// A browser, and what every test asserts about what it saw.
import { chromium } from "playwright-core";
import assert from "node:assert/strict";

export const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const launch = (args = []) => chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage", ...args] });

// visitor opens a context and counts what pages must never do. world.ours are the addresses that
// pages may request.
export async function visitor(browser, world, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, permissions: options.javaScriptEnabled === false ? [] : ["clipboard-read", "clipboard-write"], ...options });
  const seen = { foreign: [], policy: [], console: [], dialogs: [], errors: [] };
  const expected = [];
  context.on("request", (r) => { const u = r.url(); if (!(world.ours ?? [world.url]).some((ours) => u.startsWith(ours)) && !u.startsWith("data:")) seen.foreign.push(u); });
  context.on("page", (page) => {
    page.on("dialog", (d) => { seen.dialogs.push(d.message()); d.accept(); });
    page.on("pageerror", (e) => seen.errors.push(String(e)));
    page.on("console", (m) => {
      if (m.type() !== "error" && m.type() !== "warning") return;
      const text = m.text();
      if (/Content Security Policy|TrustedHTML|Trusted Type/i.test(text)) seen.policy.push(text);
      else if (!expected.some((e) => e.test(text))) seen.console.push(text);
    });
  });
  const page = await context.newPage();
  return {
    context, page, seen,
    // expects tolerates console messages of the browser about answers that a test asks for.
    expects: (pattern) => expected.push(pattern),
    async login(mode = "live", next = `/ui/${mode}/`) {
      await page.goto(world.url + "/ui/login?next=" + encodeURIComponent(next));
      await page.fill("#key", world.keys[mode]);
      await page.click("button.go");
      await page.waitForURL((u) => u.pathname.startsWith("/ui/" + mode));
    },
    go: (path, mode = "live") => page.goto(`${world.url}/ui/${mode}/${path}`),
    // clean asserts that nothing of the kind happened.
    clean(what = "") {
      for (const [kind, list] of Object.entries(seen)) assert.deepEqual(list, [], `${what} ${kind}`);
    },
    close: () => context.close(),
  };
}
