// Stories of customers: links and sessions, walls between tenants, frames, languages, themes.
// The portal is behind TLS, so that its cookies are those of production.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { all as axe, combinations } from "./axe.js";
import { launch } from "./browse.js";
import { phaseout } from "./front.js";
import { stories } from "./stories.js";
import { until } from "./world.js";

const story = stories({ args: ["--allow-reveal"], fill: 6, front: true });
const all = ["manage_endpoints", "see_secret", "retry", "replay", "test"];
let n = 0;

// session makes a session of the portal.
const session = (world, tenant, more = {}, mode = "live") => world.call("POST", "/v1/portal/sessions", { tenant, capabilities: all, ...more }, mode);

// enter opens a session with its link: a script presses the button, or we do. It returns the
// path of the session.
async function enter(page, { url }, scripts = true) {
  await page.goto(url);
  if (!scripts) await page.getByRole("button", { name: /Open|Öffnen/ }).click();
  await page.waitForURL((u) => /^\/portal\/[a-z0-9]{10}\//.test(u.pathname));
  return new URL(page.url()).origin + new URL(page.url()).pathname.split("/").slice(0, 3).join("/") + "/";
}

story.both("S9: a link works once, not late, not after its end, and looking at it uses nothing up", async ({ page, world, visitor, expects, scripts }) => {
  expects(/40[14]/);
  const back = world.front.origin("app.shop") + "/settings", more = { return_url: back };
  const open = await session(world, "acme", more), late = await session(world, "acme", more), ended = await session(world, "acme", more);
  for (const s of [open, late, ended]) for (let i = 0; i < 2; i++) {
    const seen = await world.front.look(s.url);
    assert.equal(seen.status, 200);
    assert.deepEqual(seen.cookies, []);
  }
  const at = await enter(page, open, scripts); // nothing was used up
  assert.equal(await page.locator("h1").count(), 1);
  const id = late.id.replaceAll("-", "");
  world.sql(`UPDATE web_links SET expires_at = 1 WHERE session = x'${id}'`);
  await world.call("DELETE", "/v1/portal/sessions/" + ended.id);
  for (const [why, s] of Object.entries({ used: open, late, ended })) {
    const other = await visitor(scripts ? {} : { javaScriptEnabled: false });
    other.expects(/404/);
    assert.equal((await other.page.goto(s.url)).status(), 404, why);
    await other.page.getByRole("heading", { name: "This link cannot be used any more" }).waitFor();
    if (why !== "ended") assert.equal(await other.page.getByRole("link", { name: /Back to app\.shop/ }).getAttribute("href"), back);
    assert.equal(await other.page.getByRole("button").count(), 0, why);
    assert.deepEqual(await other.context.cookies(), [], why);
    other.clean(why);
    await other.close();
  }
  await world.call("DELETE", "/v1/portal/sessions/" + open.id); // under the open page
  assert.equal((await page.goto(at + "deliveries")).status(), 401);
  await page.getByRole("heading", { name: "This session has ended" }).waitFor();
  assert.equal(await page.getByRole("link", { name: /Back to app\.shop/ }).getAttribute("href"), back);
});

// submit posts a form from the page that is open, as a person with a debugger would.
async function submit(page, to, fields = {}) {
  const answer = page.waitForResponse((a) => a.request().method() === "POST"), shown = page.waitForEvent("framenavigated", (frame) => frame === page.mainFrame());
  await page.evaluate(([to, fields]) => {
    const form = document.createElement("form");
    form.method = "post";
    form.action = to;
    for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement("input"), { name, value }));
    document.body.append(form);
    form.submit();
  }, [to, fields]);
  const status = (await answer).status();
  await shown;
  await page.waitForLoadState();
  return status;
}

// rows are what must not change of a tenant in both modes. Attempts by schedule may go on.
async function rows(world, tenant) {
  const out = [];
  for (const mode of ["live", "test"]) {
    const { data: endpoints } = await world.call("GET", "/v1/endpoints?limit=100&tenant=" + tenant, undefined, mode);
    for (const e of endpoints) out.push([e.id, e.url, e.title, e.enabled, e.revision, e.secrets?.length]);
    const { data: deliveries } = await world.call("GET", "/v1/deliveries?limit=250&tenant=" + tenant, undefined, mode);
    for (const d of deliveries) out.push([d.id, d.kind]);
    const { data: replays } = await world.call("GET", "/v1/replays?tenant=" + tenant, undefined, mode);
    for (const r of replays) out.push([r.id, r.endpoint]);
  }
  return out.sort().map((row) => JSON.stringify(row));
}

story("S10: a session reaches nothing of another tenant or mode", async ({ page, world, filled: f, expects }) => {
  expects(/40[134]/);
  const at = await enter(page, await session(world, "acme"));
  const before = await rows(world, "nordlicht");
  const things = [["endpoints", f.good.id], ["endpoints", f.bad.id], ["deliveries", f.delivery.id], ["deliveries", f.done.id], ["events", f.event.id], ["replays", f.replay.id],
    ["endpoints", f.testEndpoint.id], ["events", f.testEvent.id], ["endpoints", f.gone.id], ["events", f.harbour.id]];
  const tails = { endpoints: ["", "?tab=secret", "?tab=settings", "/disable", "/delete"], deliveries: ["", "?attempt=1"], events: ["", "?view=raw", "/data"], replays: [""] };
  const addresses = things.flatMap(([noun, id]) => tails[noun].map((tail) => `${noun}/${id}${tail}`));
  assert.ok(addresses.length >= 30, addresses.length + " addresses");
  for (const path of addresses) {
    const answer = await page.goto(at + path);
    assert.equal(answer.status(), 404, path);
    assert.doesNotMatch(await answer.text(), /nordlicht|harbour|\/posthorn\b(?!\.)|\/audit|a-secret/, path);
  }
  const acts = { [`endpoints/${f.good.id}/disable`]: {}, [`endpoints/${f.good.id}/test`]: {}, [`endpoints/${f.bad.id}/rotate`]: { overlap: "0h" }, [`endpoints/${f.bad.id}/reveal`]: {}, [`endpoints/${f.good.id}/settings`]: { url: world.hook + "/mine", types: "*", revision: "1" },
    [`endpoints/${f.good.id}/delete`]: { host: new URL(world.hook).host }, [`deliveries/${f.delivery.id}/retry`]: {}, [`events/${f.event.id}/resend`]: {}, [`events/${f.testEvent.id}/resend`]: {}, [`replays/${f.replay.id}/cancel`]: {},
    "replays/new": { endpoint: f.good.id, source: "all", do: "start" }, verify: { endpoint: f.bad.id, capture: "webhook-id: a\n\n{}" }, [`events/${(await world.publish("acme", "mandate.created")).id}/resend`]: { endpoint: f.good.id } };
  for (const [path, fields] of Object.entries(acts)) {
    await page.goto(at);
    assert.ok([403, 404].includes(await submit(page, at + path, fields)), path);
  }
  assert.deepEqual(await rows(world, "nordlicht"), before);
  const { attempt_log: attempts } = await world.call("GET", "/v1/deliveries/" + f.delivery.id);
  assert.deepEqual([...new Set(attempts.map((a) => a.trigger))], ["schedule"]);
  // The control: with ids of its own the same session reaches them, and the same check sees a change.
  const own = await rows(world, "acme");
  assert.equal((await page.goto(at + "endpoints/" + f.acme.id + "?tab=secret")).status(), 200);
  assert.equal(await submit(page, at + `endpoints/${f.acme.id}/test`), 303);
  assert.notDeepEqual(await rows(world, "acme"), own);
});

// catalogue returns the texts of a language by key.
function catalogue(lang) {
  const out = {};
  for (const line of readFileSync(join(import.meta.dirname, `../../internal/web/portal/words/${lang}.yaml`), "utf8").split("\n")) {
    const m = line.match(/^([a-z0-9_.]+): (.*)$/);
    if (!m) continue;
    const quoted = [...m[2].matchAll(/"((?:[^"\\]|\\.)*)"/g)].map((q) => JSON.parse(q[0]));
    out[m[1]] = m[2].startsWith("{") ? quoted : m[2].startsWith('"') ? [quoted[0]] : [m[2]];
  }
  return out;
}

// english returns what of a page is English: texts of the catalogue that the German one does not
// have, and small words in what is no data.
async function english(page) {
  const { text, words } = await page.evaluate(() => {
    const copy = document.body.cloneNode(true);
    for (const data of copy.querySelectorAll("pre, code, .code, .mono, .id, [lang=en], [data-stream] script, .desc, textarea")) data.remove();
    const names = [...copy.querySelectorAll("[aria-label], [title], [alt], [placeholder]")].flatMap((e) => ["aria-label", "title", "alt", "placeholder"].map((a) => e.getAttribute(a) ?? ""));
    return { text: document.body.innerText + "\n" + names.join("\n"), words: copy.textContent + "\n" + names.join("\n") };
  });
  const en = catalogue("en"), de = Object.values(catalogue("de")).flat().join("\n"), found = [];
  for (const [key, texts] of Object.entries(en))
    for (const part of texts.flatMap((t) => t.split(/\{[a-z]+\}/)).map((t) => t.trim()))
      if (part.length > 4 && /[a-z] [a-z]/.test(part) && !de.includes(part) && text.includes(part)) found.push(`${key}: ${part}`);
  for (const word of words.match(/[A-Za-z]+/g) ?? []) if (/^(the|of|and|not|your|is|are|been|with|this|has|have|to|it|its|ago|now|from|older|copy)$/.test(word)) found.push(word);
  return found;
}

story("S14: in German no English word is left", async ({ page, world, expects, visitor }) => {
  expects(/40[1-49]|422/);
  // What the platform writes is data: here it is German too.
  await world.tenant("hafen-" + ++n, "Hafen");
  const tenant = "hafen-" + n, good = await world.endpoint(tenant, "/annahme", { title: "Buchhaltung", event_types: ["zahlung.*"] }), bad = await world.endpoint(tenant, "/kaputt", { event_types: ["zahlung.*"], retry: { steps: ["1h"] } });
  world.answers.set("/kaputt", (q, a) => a.writeHead(500, { "X-Grund": "Wartung" }).end("kaputt"));
  const event = await world.publish(tenant, "zahlung.angekommen", { betrag: "12,50" });
  const failed = await world.settled(event.id, bad.id, (d) => d.attempts > 0), done = await world.settled(event.id, good.id);
  await world.call("PATCH", "/v1/event-types/payment.settled", { description: "Eine Zahlung kam an." });
  for (const type of ["payment.refunded", "payout.sent", "mandate.created"]) await world.call("PATCH", "/v1/event-types/" + type, { description: "" });
  const s = await session(world, tenant, { locale: "de", return_url: world.front.origin("app.shop") + "/" });
  const look = async (what, least = 5) => {
    assert.equal(await page.locator("html").getAttribute("lang"), "de", what);
    assert.ok((await page.locator("body").innerText()).split(/\s+/).length > least, what + " is empty");
    assert.deepEqual(await english(page), [], what);
  };
  const at = await enter(page, s);
  const paths = ["", "endpoints", "endpoints/new", ...["", "?tab=deliveries", "?tab=settings", "?tab=secret", "/disable", "/delete", "/enable"].map((t) => `endpoints/${bad.id}${t}`), "endpoints/" + good.id, "deliveries", "deliveries?state=held", "deliveries?endpoint=x", "deliveries/" + failed.id, "deliveries/" + done.id,
    "events/" + event.id, "events/" + event.id + "?view=raw", "replays", "replays/new", "replays/new?endpoint=" + good.id, "types", "types/payment.settled", "verify", "nirgends", "events/" + bad.id, "?done=saved"];
  for (const path of paths) {
    await page.goto(at + path);
    await look(path);
  }
  const press = async (name) => { await page.getByRole("button", { name, exact: true }).click(); await page.waitForLoadState(); };
  await page.goto(at + "endpoints/new");
  await page.fill("[name=url]", "ftp://hafen.example");
  await press("Endpunkt anlegen");
  await page.locator("[role=alert]:focus").waitFor(); // readers go on there
  await look("a form that was refused");
  await page.goto(at + `endpoints/${good.id}?tab=secret`);
  await press("Wechseln");
  await page.locator("#secret").waitFor();
  await look("a new secret");
  await page.goto(at + "replays/new?endpoint=" + good.id);
  await page.check("[value=all]");
  await press("Vorschau");
  await page.getByRole("button", { name: "Wiederholung starten" }).waitFor();
  await look("the preview of a replay");
  await press("Wiederholung starten");
  await page.waitForURL(/replays\/0/);
  await look("a replay");
  await page.goto(at + "verify");
  await page.fill("[name=capture]", "webhook-id: a\nwebhook-timestamp: 1\nwebhook-signature: v1,AAAA\n\n{}");
  await press("Ursache finden");
  await page.getByRole("status").filter({ hasText: /\S/ }).first().waitFor();
  await look("a verdict");
  const viewer = await visitor();
  viewer.expects(/403/);
  const low = await enter(viewer.page, await session(world, tenant, { locale: "de", capabilities: [] }));
  for (const path of ["", `endpoints/${bad.id}?tab=settings`, `endpoints/${bad.id}?tab=secret`, "endpoints/new", "deliveries/" + failed.id]) {
    await viewer.page.goto(low + path);
    assert.deepEqual(await english(viewer.page), [], "a viewer, " + path);
  }
  // The control: the same pages in English are found to be, and one sentence is enough.
  await viewer.page.goto(low + "?lang=en");
  assert.ok((await english(viewer.page)).length > 10);
  await page.evaluate(() => document.querySelector("main").append("Nothing has been sent to you yet."));
  assert.ok((await english(page)).length > 0);
  await page.goto(s.url);
  await look("a used link", 2);
  await page.goto(at);
  await press("Sitzung beenden");
  await page.getByRole("heading", { name: "Die Sitzung wurde beendet" }).waitFor();
  await look("after leaving", 2);
  await page.goto(at);
  await look("a session that is over", 2);
});

// framed opens a page of a platform that shows the address in a frame.
async function framed(page, world, platform, src) {
  await page.goto(world.front.origin(platform) + "/?src=" + encodeURIComponent(src));
  return page.frameLocator("#webhooks");
}

// works presses through the portal in a frame: it is there, forms work, and its session lasts.
async function works(frame) {
  await frame.getByRole("heading", { level: 1 }).waitFor();
  await frame.getByRole("link", { name: "Endpoints", exact: true }).click();
  await frame.getByRole("heading", { level: 1, name: "Endpoints", exact: true }).waitFor();
  await frame.getByRole("link", { name: /\/in$/ }).click();
  await frame.getByRole("button", { name: "Send test event" }).click();
  await frame.getByText("This is the delivery of the test event.").waitFor();
  await frame.locator(".state.big", { hasText: "Delivered" }).waitFor({ timeout: 60000 });
}

story("S16: in frames of exact origins only, also without third-party cookies", async ({ page, world, seen, expects, visitor, context }) => {
  expects(/401/);
  const bank = world.front.origin("app.bank"), shop = world.front.origin("app.shop"), third = world.front.origin("app.third");
  const embedded = () => session(world, "acme", { frame_origins: [bank, shop, third] });
  await works(await framed(page, world, "app.bank", (await embedded()).url)); // another site
  const heard = await page.evaluate(() => window.heard);
  for (const type of ["ready", "page", "height"]) assert.ok(heard.some((m) => m.posthorn === 1 && m.type === type), type + " was not heard");
  const [cookie] = (await context.cookies(world.front.url)).filter((c) => c.name.startsWith("__Host-php-"));
  assert.deepEqual([cookie.secure, cookie.httpOnly, cookie.sameSite, cookie.path], [true, true, "None", "/"]);
  assert.match(String(cookie.partitionKey), /bank\.example/);
  const inside = page.frames().find((f) => f.url().startsWith(world.front.url)).url();
  const elsewhere = await framed(page, world, "app.third", inside); // the cookie is of that site's frames alone
  await elsewhere.getByRole("heading", { name: "There is no session here" }).or(elsewhere.getByRole("heading", { name: "This session has ended" })).waitFor();
  await works(await framed(page, world, "app.shop", (await embedded()).url)); // the same site

  const refused = await session(world, "acme", { frame_origins: [bank] });
  for (const origin of ["app.evil", "app.shop"]) {
    await framed(page, world, origin, refused.url);
    await until("the browser refuses the frame of " + origin, () => seen.policy.some((text) => text.includes("frame-ancestors")));
    assert.equal(seen.policy.splice(0).length, 1);
    assert.deepEqual(await page.evaluate(() => window.heard), []);
  }
  await works(await framed(page, world, "app.bank", refused.url)); // the control: the link was not used up

  const strict = await launch(phaseout), tab = await visitor({}, strict);
  tab.expects(/401/);
  try {
    await works(await framed(tab.page, world, "app.bank", (await embedded()).url)); // partitioned cookies are sent
    world.front.strip = true; // the control: without Partitioned the cookie does not come back
    const frame = await framed(tab.page, world, "app.bank", (await embedded()).url);
    await frame.getByRole("heading", { name: "Your browser keeps nothing for this page" }).waitFor();
    await until("the page around the frame hears of it", () => tab.page.evaluate(() => window.heard.some((m) => m.type === "blocked")));
    const [own] = await Promise.all([tab.context.waitForEvent("page"), frame.getByRole("link", { name: "Open in a new tab" }).click()]);
    await own.waitForURL((u) => /^\/portal\/[a-z0-9]{10}\/$/.test(u.pathname));
    await works(own);
    tab.clean("third-party cookies off");
  } finally {
    world.front.strip = false;
    await tab.close();
    await strict.close();
  }
});

story.both("S17: two sessions of two tenants in two tabs stay what they are", async ({ page, context, world, scripts }) => {
  const mark = ++n;
  const made = async (tenant) => (await world.call("GET", `/v1/endpoints?limit=100&tenant=${tenant}`)).data.map((e) => e.url).filter((url) => /\/tab-/.test(url) && url.endsWith("-" + mark));
  const other = await context.newPage();
  const first = await enter(page, await session(world, "acme"), scripts), second = await enter(other, await session(world, "harbour-co"), scripts);
  await page.goto(first + "endpoints/new"); // both forms are open before one is sent
  await other.goto(second + "endpoints/new");
  const fill = async (tab, name) => { await tab.fill("[name=url]", `${world.hook}/tab-${name}-${mark}`); await tab.fill("[name=types]", "never.sent"); };
  await fill(page, "a");
  await fill(other, "b");
  for (const tab of [page, other]) {
    await tab.getByRole("button", { name: "Create the endpoint" }).click();
    await tab.locator("#secret").waitFor();
  }
  assert.deepEqual(await made("acme"), [`${world.hook}/tab-a-${mark}`]);
  assert.deepEqual(await made("harbour-co"), [`${world.hook}/tab-b-${mark}`]);
  for (const [tab, at, mine, theirs] of [[page, first, "/tab-a-", "/tab-b-"], [other, second, "/tab-b-", "/tab-a-"]]) {
    await tab.goto(at + "endpoints");
    const text = await tab.locator("main").innerText();
    assert.ok(text.includes(mine) && !text.includes(theirs), text);
  }
  // The control: a form with the other session in its path is that session's, and the check sees it.
  await page.goto(first + "endpoints/new");
  await fill(page, "c");
  await page.evaluate((to) => { document.querySelector("form.pform").action = to; }, second + "endpoints/new");
  await page.getByRole("button", { name: "Create the endpoint" }).click();
  await page.locator("#secret").waitFor();
  assert.ok((await made("harbour-co")).includes(`${world.hook}/tab-c-${mark}`));
});

// A logo of 2 by 2 pixels.
const logo = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg==";

// contrasts returns the contrast of the links and buttons of a page that have the accent.
const contrasts = (frame) => frame.locator("body").evaluate((body) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255, 255]; };
  const all = [...body.querySelectorAll("main a:not(.main), .btn.go")].filter((e) => e.offsetParent && e.textContent.trim());
  const least = all.map((e) => [ratio(rgb(getComputedStyle(e).color), ground(e)), e.textContent.trim(), getComputedStyle(e).color, String(ground(e))]).sort((a, b) => a[0] - b[0])[0];
  return { n: all.length, least: least[0], of: least, raw: ratio(rgb("#ffff00"), rgb("#ffffff")), styles: body.ownerDocument.querySelectorAll("[style], style").length };
});

story("S26: a theme is readable, also in the dark, and comes without inline styles", async ({ page, world, seen }) => {
  const bank = world.front.origin("app.bank");
  const made = await session(world, "acme", { frame_origins: [bank], theme: { accent: "#ffff00", logo, name: "Hafenbank", radius: 12, mode: "light" } });
  assert.ok(made.warnings.some((w) => (w.code ?? w) === "accent_adjusted"), JSON.stringify(made.warnings));
  const plain = await session(world, "acme", { theme: { accent: "#1d4ed0" } });
  assert.ok(!plain.warnings?.length); // the control
  const frame = await framed(page, world, "app.bank", made.url);
  await frame.getByRole("heading", { level: 1 }).waitFor();
  assert.ok(await frame.locator(".brand img").evaluate(async (img) => { await img.decode(); return img.naturalWidth; }) === 2);
  assert.match(await frame.locator(".brand").innerText(), /Hafenbank/);
  const day = await contrasts(frame);
  assert.ok(day.n > 2 && day.least >= 4.5, JSON.stringify(day));
  assert.ok(day.raw < 4.5); // the control: as it was asked for, nobody could read it
  assert.equal(day.styles, 0);
  await until("the frame is ready", () => page.evaluate(() => window.heard.some((m) => m.type === "page")));
  const ground = () => frame.locator("body").evaluate((body) => getComputedStyle(body).backgroundColor);
  const bright = await ground(), tell = (message) => page.evaluate(([message, to]) => document.getElementById("webhooks").contentWindow.postMessage(message, to), [message, world.front.url]);
  await tell({ posthorn: 2, type: "theme", mode: "dark" }); // of another version: not heard
  await tell({ posthorn: 1, type: "theme", mode: "x" });
  await tell({ posthorn: 1, type: "theme", mode: "dark" });
  await frame.locator("html[data-theme=dark]").waitFor({ state: "attached" });
  assert.notEqual(await ground(), bright);
  const night = await contrasts(frame);
  assert.ok(night.least >= 4.5 && night.styles === 0, JSON.stringify(night));
  await frame.getByRole("link", { name: "Deliveries", exact: true }).click(); // it stays on the next page
  await frame.getByRole("heading", { level: 1, name: "Deliveries", exact: true }).waitFor();
  await frame.locator("html[data-theme=dark]").waitFor({ state: "attached" });
  assert.deepEqual(seen.policy, []);
  await frame.locator("[data-updates]", { hasText: "Updates on" }).waitFor();
  assert.ok(!await page.evaluate(() => window.heard.some((m) => m.type === "ended")));
  await world.call("DELETE", "/v1/portal/sessions/" + made.id);
  await until("the page around the frame hears of the end", () => page.evaluate(() => window.heard.some((m) => m.type === "ended" && m.reason === "revoked")));
}, { reducedMotion: "reduce" });

story("a page of the portal is kept up to date, and ends with its session", async ({ page, world, filled, expects }) => {
  expects(/401/);
  const s = await session(world, "acme", { locale: "de" }), at = await enter(page, s);
  // What comes to the receiver is held, all of it: an older delivery may be attempted too.
  const held = [];
  let released = false;
  world.answers.set("/in", (q, a) => (released ? a.writeHead(200).end("danke") : held.push(a)));
  const release = () => { released = true; for (const a of held.splice(0)) a.writeHead(200).end("danke"); };
  const tested = () => world.got.filter((g) => g.path === "/in" && g.body.includes('"test"')).length, before = tested();
  try {
    await page.goto(at + "endpoints/" + filled.acme.id);
    await page.getByRole("button", { name: "Testereignis senden" }).click();
    await until("the test event comes", () => tested() > before);
    await page.locator(".state.big", { hasText: "Ausstehend" }).waitFor();
    await page.evaluate(() => { window.sameDocument = true; });
    await page.locator("[data-updates]", { hasText: "Live" }).waitFor();
    release();
    await page.locator(".state.big", { hasText: "Zugestellt" }).waitFor();
    await page.getByText("danke").waitFor();
    assert.equal(await page.evaluate(() => window.sameDocument), true);
  } finally {
    release(); // a request that stays open would hold up the endpoint
    world.answers.delete("/in");
  }
  await page.goto(at + "deliveries");
  const first = await page.locator("tbody tr").first().getAttribute("data-id");
  await page.locator("[data-updates]", { hasText: "Live" }).waitFor();
  await world.publish("acme", "mandate.created", {});
  await page.locator("[data-fresh]", { hasText: "1 neuere Zustellung: anzeigen" }).waitFor();
  assert.equal(await page.locator("tbody tr").first().getAttribute("data-id"), first); // rows hold still
  await page.locator("[data-fresh]").click();
  await page.locator(`tbody tr:first-child:not([data-id="${first}"])`).waitFor();
  await page.locator("[data-updates]", { hasText: "Live" }).waitFor();
  await world.call("DELETE", "/v1/portal/sessions/" + s.id);
  await page.locator("[data-updates]", { hasText: "Sitzung beendet" }).waitFor();
  assert.equal((await page.goto(at)).status(), 401);
});

story("the end of a session is announced, and a wrong clock announces none", async ({ page, world }) => {
  await page.addInitScript(() => { const real = Date.now.bind(Date); Date.now = () => real() + 59 * 60000; });
  await enter(page, await session(world, "acme"));
  await page.locator("[data-updates]", { hasText: "Updates on" }).waitFor(); // the scripts have run
  assert.ok(await page.locator("#expiring").isHidden());
  await enter(page, await session(world, "acme", { expires_in: 115 })); // the control
  await page.getByText("This session ends in less than two minutes").first().waitFor();
  assert.ok(await page.locator("#expiring").isVisible());
});

story("S22, S15: pages of customers have no finding of axe, and none is wider than a telephone", async ({ page, world, filled: f, expects }) => {
  expects(/404|422/);
  const at = await enter(page, await session(world, "nordlicht", { return_url: world.front.origin("app.shop") + "/" })), e = "endpoints/" + f.bad.id;
  const corners = [combinations.find(([theme, width]) => theme === "light" && width === 1440), combinations.find(([theme, width]) => theme === "dark" && width === 390)];
  const bad = [];
  const check = async (what) => {
    bad.push(...(await axe(page, corners)).map((finding) => `${what}: ${finding}`));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > 390) bad.push(`${what} is ${wide} px wide`);
  };
  for (const path of ["", "endpoints", "endpoints/new", e, e + "?tab=settings", e + "?tab=secret", e + "/disable", e + "/delete", "deliveries", "deliveries/" + f.delivery.id, "events/" + f.event.id, "replays", "replays/" + f.replay.id, "replays/new", "types", "types/payment.settled", "verify", "nothing"]) {
    await page.goto(at + path);
    await check(path);
  }
  // What forms lead to.
  const acme = await enter(page, await session(world, "acme")), send = (name) => page.getByRole("button", { name, exact: true }).click();
  for (const [what, path, act] of [
    ["a form that was refused", "endpoints/new", async () => { await page.fill("[name=url]", world.hook + "/x"); await send("Create the endpoint"); await page.locator("[role=alert]:focus").waitFor(); }],
    ["a secret", "endpoints/new", async () => { await page.fill("[name=url]", world.hook + "/axe"); await page.fill("[name=types]", "never.sent"); await send("Create the endpoint"); await page.locator("#secret").waitFor(); }],
    ["a preview", "replays/new?endpoint=" + f.dead.id, async () => { await send("Preview"); await page.getByRole("button", { name: "Start the replay" }).waitFor(); }],
    ["a verdict", "verify", async () => { await page.fill("[name=capture]", "webhook-id: a\nwebhook-timestamp: 1\nwebhook-signature: v1,AAAA\n\n{}"); await send("Find out why"); await page.locator(".note:focus").waitFor(); }],
  ]) {
    await page.goto(acme + path);
    await act();
    await check(what);
  }
  assert.deepEqual(bad, []);
  // The control: a button without a name and a wide line are found.
  await page.evaluate(() => { const p = document.createElement("p"); p.textContent = "x".repeat(200); p.attributeStyleMap.set("white-space", "nowrap"); document.querySelector("main").append(document.createElement("button"), p); });
  assert.match((await axe(page, corners)).join(), /button-name/);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth > 390));
}, { reducedMotion: "reduce" });
