// The rules of axe on a page, in both themes and at several widths.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const tags = { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };
const looks = { type: "rule", values: ["color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block"] };
export const combinations = [["light", 1440, tags], ["dark", 1440, looks], ["dark", 1024, looks], ["light", 1024, looks], ["light", 390, tags], ["dark", 390, looks]];

// check runs the rules past the policy of the page: the driver evaluates them.
async function check(page, runOnly) {
  const found = await page.evaluate((runOnly) => globalThis.axe.run({ include: document, exclude: "tbody tr:nth-child(n + 5)" }, { resultTypes: ["violations"], runOnly }), runOnly);
  return found.violations.map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? n.failureSummary)).join(" | "));
}

// all returns what axe finds on a page. Afterwards the page has the last look.
export async function all(page, views = combinations) {
  await page.evaluate(source);
  const bad = [];
  for (const [colorScheme, width, rules] of views) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height: 900 });
    for (const finding of await check(page, rules)) bad.push(`${colorScheme} ${width}: ${finding}`);
  }
  return bad;
}
