// Stories of every day: log-in, making things, finding and explaining.
import assert from "node:assert/strict";
import { stories } from "./stories.js";
import { until } from "./world.js";

const story = stories();
let n = 0;

story.both("S1: log in with a key, and log out", async ({ page, world, login }) => {
  await login();
  assert.match(await page.title(), /Overview · Live/);
  assert.equal(await page.locator("h1").count(), 1);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.goto(world.url + "/ui/live/events");
  assert.match(page.url(), /\/ui\/login\?next=/);
});

story("S1: a wrong key is refused with one sentence", async ({ page, world, expects }) => {
  expects(/401/);
  await page.goto(world.url + "/ui/login");
  await page.fill("#key", "ph_live_operator_no_such_key_at_all");
  await page.click("button.go");
  assert.match(await page.locator("[role=alert]").innerText(), /not valid/);
});

story.both("S2: make a tenant and an endpoint, copy the secret, come back", async ({ page, world, login, go, scripts }) => {
  const id = "shop-" + ++n;
  await login();
  await go("tenants/new");
  await page.fill("#f-id", id);
  await page.fill("#f-name", "Shop");
  await page.click("main button.go");
  await page.getByRole("link", { name: "New endpoint" }).click();
  await page.fill("#f-url", world.hook + "/" + id);
  await page.click("main button.go");
  const secret = await page.locator("code.secret").innerText();
  assert.match(secret, /^whsec_/);
  if (scripts) {
    await page.getByRole("button", { name: "Copy secret" }).click();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), secret);
  }
  await page.getByRole("link", { name: "I have copied it" }).click();
  const endpoint = new URL(page.url()).pathname;
  for (const path of [endpoint, endpoint + "?tab=secret", endpoint + "?tab=settings", endpoint + "?tab=history", endpoint + "/edit", "/ui/live/audit", "/ui/live/tenants/" + id])
    assert.ok(!(await (await page.goto(world.url + path)).text()).includes(secret), path + " shows the secret");
  // The control: the same endpoint verifies with this secret, so it is the right one.
  const sent = world.got.length;
  await page.goto(world.url + endpoint);
  await page.getByRole("button", { name: "Send test event" }).click();
  await until("the test arrives", () => world.got.slice(sent).some((g) => g.path === "/" + id));
  const { createHmac } = await import("node:crypto");
  const g = world.got.slice(sent).find((x) => x.path === "/" + id);
  const mac = createHmac("sha256", Buffer.from(secret.slice(6), "base64")).update(`${g.headers["webhook-id"]}.${g.headers["webhook-timestamp"]}.${g.body}`).digest("base64");
  assert.equal(g.headers["webhook-signature"], "v1," + mac);
});

story.both("S2: a form says what is wrong beside the field, and keeps what was typed", async ({ page, login, go, expects }) => {
  expects(/422/);
  await login();
  await go("endpoints/new?tenant=acme");
  await page.fill("#f-url", "ftp://example.com/hook");
  await page.fill("#f-title", "Keep me");
  await page.click("main button.go");
  assert.equal(await page.locator("#f-url").getAttribute("aria-invalid"), "true");
  assert.ok((await page.locator("#w-url").innerText()).length > 10);
  assert.equal(await page.inputValue("#f-title"), "Keep me");
});

story.both("a form of somebody who was slower shows both versions", async ({ page, world, login, go, filled, expects }) => {
  expects(/412/);
  await login();
  await go(`endpoints/${filled.good.id}/edit`);
  await page.fill("#f-title", "Mine " + ++n);
  await world.call("PATCH", "/v1/endpoints/" + filled.good.id, { title: "Theirs " + n });
  await page.click("main button.go");
  assert.match(await page.locator("main").innerText(), new RegExp(`\\+ Mine ${n}[\\s\\S]*- Theirs ${n}`));
  assert.equal((await world.call("GET", "/v1/endpoints/" + filled.good.id)).title, "Theirs " + n);
  await page.click("main button.go"); // the control: the second time it is meant
  await page.waitForURL(/done=changed/);
  assert.equal((await world.call("GET", "/v1/endpoints/" + filled.good.id)).title, "Mine " + n);
});

story.both("an event type is made on a page, a wrong schema is said with its line, and a new version keeps the first", async ({ page, world, login, go, expects }) => {
  expects(/422/);
  const name = "story.type" + ++n;
  await login();
  await go("type/new");
  await page.fill("#f-name", name);
  await page.fill("#f-schema", '{\n  "type": "object",\n}');
  await page.click("main button.go");
  assert.match(await page.locator("#w-schema").innerText(), /line 3/);
  assert.equal(await page.inputValue("#f-name"), name); // what was typed stays
  await page.fill("#f-schema", '{"type": "object"}');
  await page.click("main button.go");
  await page.waitForURL(/done=typemade/);
  await page.getByRole("link", { name: "New version" }).click();
  await page.fill("#f-schema", '{"type": "object", "required": ["id"]}');
  await page.getByRole("button", { name: "Save version 2" }).click();
  await page.waitForURL(/done=typechanged/);
  const made = await world.call("GET", "/v1/event-types/" + name);
  assert.deepEqual([made.version, made.schema, made.other_versions[0].schema], [2, { type: "object", required: ["id"] }, { type: "object" }]);
});

story("a session is ended from the page of keys, and its page says so", async ({ page, world, login, visitor }) => {
  const key = await world.call("POST", "/v1/keys", { kind: "operator", name: "on call" });
  const theirs = await visitor({});
  await theirs.page.goto(world.url + "/ui/login?next=/ui/live/nodes");
  await theirs.page.fill("#key", key.key);
  await theirs.page.click("button.go");
  await theirs.page.getByText("Updates on").waitFor();
  await login("live", "/ui/live/keys");
  await page.getByRole("link", { name: /End the session of on call/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End the session" }).click();
  await page.waitForURL(/done=ended/);
  await theirs.page.getByText("Logged out").waitFor();
  await theirs.page.getByRole("link", { name: "Load again" }).click();
  await theirs.page.waitForURL(/\/ui\/login/);
  theirs.clean("the ended session");
  await theirs.close();
});

story("S5: paste any id", async ({ page, login, go, filled, expects }) => {
  expects(/404/);
  await login();
  const ids = { [filled.event.id]: "events", [filled.delivery.id]: "deliveries", [filled.good.id]: "endpoints", [filled.replay.id]: "replays", nordlicht: "tenants", "payment.settled": "types", [filled.key.id]: "keys" };
  for (const [id, to] of Object.entries(ids)) {
    await go("");
    await page.fill("#q", id);
    await page.press("#q", "Enter");
    await page.waitForURL((u) => u.pathname.startsWith("/ui/live/" + to));
  }
  await go("");
  await page.fill("#q", filled.testEvent.id);
  await page.press("#q", "Enter");
  await page.getByText("It may belong to the other mode").waitFor();
  assert.ok(!(await page.locator("main").innerText()).includes("payment.settled"));
});

story.both("S6: the page of an event says why an endpoint did not get it", async ({ page, login, go, filled }) => {
  await login();
  await go(`events/${filled.event.id}?tenant=nordlicht`);
  const text = await page.locator("main").innerText();
  assert.match(text, /Endpoints that did not get it[\s\S]*\/crm[\s\S]*It wanted only mandate\.\*/);
});

story("S8: the modes never look alike, and never mix", async ({ page, world, context, login, go, filled, expects }) => {
  expects(/404/);
  await login("test");
  await login("live");
  const look = async () => ({ band: await page.locator(".band").innerText(), color: await page.locator(".band").evaluate((e) => getComputedStyle(e).backgroundColor), accent: await page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue("--solid")), title: await page.title() });
  await go("events");
  const live = await look();
  await page.getByRole("navigation", { name: "Mode" }).getByText("Test").click();
  const test = await look();
  for (const k of Object.keys(live)) assert.notEqual(live[k], test[k], k);
  assert.match(test.title, /^Test · /);
  assert.equal((await go("deliveries/" + filled.delivery.id, "test")).status(), 404);
  const other = await context.newPage();
  await other.goto(world.url + "/ui/live/deliveries");
  await page.goto(world.url + "/ui/test/deliveries");
  await other.reload();
  assert.match(await other.locator(".band").innerText(), /LIVE/);
});

story("S20: a link from another site opens signed in", async ({ page, world, context, login, filled }) => {
  await login();
  const { createServer } = await import("node:http");
  const site = createServer((q, a) => a.writeHead(200, { "Content-Type": "text/html" }).end(`<title>chat</title><link rel="icon" href="data:,"><a href="${world.url}/ui/live/deliveries/${filled.delivery.id}">look</a>`)).listen(0, "127.0.0.1");
  await new Promise((r) => site.once("listening", r));
  try {
    const chat = await context.browser().newContext({ storageState: await context.storageState() });
    const tab = await chat.newPage();
    await tab.goto(`http://localhost:${site.address().port}/`);
    await tab.click("a");
    await tab.getByRole("heading", { level: 1, name: /has not reached nordlicht/ }).waitFor();
    await chat.close();
  } finally {
    site.closeAllConnections();
    site.close();
  }
});

story("S23: a large payload is cut, and its download equals what was sent", async ({ page, world, login, go }) => {
  const big = { note: "x".repeat(200 * 1024) };
  const { id } = await world.publish("acme", "payout.sent", big);
  await login();
  await go(`events/${id}?tenant=acme`);
  await page.getByText("This is the beginning.").waitFor();
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download all of it" }).click()]);
  const { readFileSync } = await import("node:fs");
  assert.equal(readFileSync(await file.path(), "utf8"), JSON.stringify(big));
});

story.both("S25: a filter that matches nothing says so, and drops part by part", async ({ page, login, go }) => {
  await login();
  await go("deliveries?tenant=acme&type=no.such.type");
  await page.getByText("Nothing matches: tenant acme, type no.such.type").waitFor();
  await page.getByRole("link", { name: /type no.such.type/ }).click();
  assert.ok(!page.url().includes("no.such"));
  assert.ok(await page.locator("tbody tr").count());
});

story("the audit log downloads as CSV whose cells are no formulas", async ({ page, world, login, go }) => {
  await world.call("POST", "/v1/tenants", { id: "formula", name: "=1+1" });
  await login();
  await go("audit");
  await page.getByText("no entry is changed or missing").waitFor();
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "CSV", exact: true }).click()]);
  const { readFileSync } = await import("node:fs");
  const text = readFileSync(await file.path(), "utf8");
  assert.match(text, /tenant.created/);
  assert.doesNotMatch(text, /(^|,)"?[=+@-]/m);
});
