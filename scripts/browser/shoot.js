// Screenshots of the pages: node shoot.js DIR [name ...]. WIDTHS, THEMES and HEIGHT choose what
// is shot; without HEIGHT whole pages are. Names that begin with portal- are pages of the
// portal, in LANGS, with the CHROME of a session; portal- alone is all of them.
import { mkdirSync } from "node:fs";
import { World } from "./world.js";
import { launch, visitor } from "./browse.js";

const [dir, ...names] = process.argv.slice(2);
const list = (name, otherwise) => (process.env[name] ?? otherwise).split(",");
const widths = list("WIDTHS", "1440,390").map(Number), themes = list("THEMES", "light,dark"), langs = list("LANGS", "en,de"), { CHROME: chrome = "full", HEIGHT: height } = process.env;
const customers = names.filter((name) => name.startsWith("portal-"));
mkdirSync(dir, { recursive: true });
const world = await World.start("--allow-reveal"), browser = await launch();
try {
  const filled = await world.fill(), pages = world.pages(filled), customer = world.customer(filled);
  await world.tenant("newcomer", "Newcomer");
  for (const colorScheme of themes) for (const width of widths) {
    const v = await visitor(browser, world, { colorScheme, viewport: { width, height: Number(height ?? 900) }, reducedMotion: "reduce" });
    const shoot = async (name) => {
      await v.page.waitForTimeout(120);
      await v.page.screenshot({ path: `${dir}/${name}-${width}-${colorScheme}.png`, fullPage: !height });
    };
    for (const locale of customers.length ? langs : []) {
      const sessions = {};
      for (const [name, [tenant, path, press]] of Object.entries(customer)) {
        if (!customers.includes("portal-") && !customers.includes("portal-" + name)) continue;
        sessions[tenant] ??= await world.enter(v.page, tenant, { locale, theme: { chrome }, return_url: "https://app.example.com/settings" });
        await v.page.goto(sessions[tenant] + path);
        await press?.(v.page);
        await shoot(`portal-${name}-${locale}`);
        if (name === "left") delete sessions[tenant];
      }
    }
    if (customers.length === names.length && names.length) { await v.close(); continue; }
    await v.login();
    for (const [name, path] of Object.entries(pages)) {
      if (names.length && !names.includes(name)) continue;
      await v.go(path);
      await shoot(name);
    }
    await v.close();
  }
} finally {
  await browser.close();
  await world.stop();
}
