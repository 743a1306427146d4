// Screenshots of the pages: node shoot.js DIR [name ...]. WIDTHS, THEMES and HEIGHT choose what
// is shot; without HEIGHT whole pages are.
import { mkdirSync } from "node:fs";
import { World } from "./world.js";
import { launch, visitor } from "./browse.js";

const [dir, ...names] = process.argv.slice(2);
const widths = (process.env.WIDTHS ?? "1440,390").split(",").map(Number), themes = (process.env.THEMES ?? "light,dark").split(",");
mkdirSync(dir, { recursive: true });
const world = await World.start("--allow-reveal"), browser = await launch();
try {
  const pages = world.pages(await world.fill());
  for (const colorScheme of themes) for (const width of widths) {
    const v = await visitor(browser, world, { colorScheme, viewport: { width, height: Number(process.env.HEIGHT ?? 900) }, reducedMotion: "reduce" });
    await v.login();
    for (const [name, path] of Object.entries(pages)) {
      if (names.length && !names.includes(name)) continue;
      await v.go(path);
      await v.page.waitForTimeout(120);
      await v.page.screenshot({ path: `${dir}/${name}-${width}-${colorScheme}.png`, fullPage: !process.env.HEIGHT });
    }
    await v.close();
  }
} finally {
  await browser.close();
  await world.stop();
}
