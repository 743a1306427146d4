// Stories of bad weather and bad people: the store away, keys revoked, other sites, hostile
// texts, the audit log unwritable, many tabs.
import assert from "node:assert/strict";
import { stories } from "./stories.js";
import { until } from "./world.js";

const story = stories();

const sql = (world, text) => world.sql(text);
const updating = (page) => until("the page follows", () => page.evaluate(() => document.querySelector("[data-updates]")?.textContent === "Updates on"));

story("S27: with the audit log unwritable the page comes without the payload", async ({ page, world, login, go }) => {
  const { id } = await world.publish("acme", "payout.sent", { secretly: "seen-by-nobody" });
  await login();
  sql(world, "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END;");
  try {
    const answer = await go(`events/${id}?tenant=acme`);
    assert.equal(answer.status(), 200);
    assert.ok(!(await answer.text()).includes("seen-by-nobody"));
    await page.getByText("The audit log cannot be written just now").waitFor();
  } finally {
    sql(world, "DROP TRIGGER no_audit;");
  }
  await go(`events/${id}?tenant=acme`); // the control
  await page.getByText("seen-by-nobody").waitFor();
  const { data } = await world.call("GET", "/v1/audit?act=event.read&object_id=" + id);
  assert.equal(data.length, 1);
  await page.reload(); // once in 5 minutes
  assert.equal((await world.call("GET", "/v1/audit?act=event.read&object_id=" + id)).data.length, 1);
});

story("S13: the store goes away and comes back under an open page", async ({ page, world, login, go, expects, filled }) => {
  expects(/50[03]|Failed to load/);
  await login();
  await go("deliveries/" + filled.delivery.id);
  await updating(page);
  sql(world, "ALTER TABLE events RENAME TO events_away;");
  try {
    await page.locator("[data-down]").waitFor({ state: "visible", timeout: 10000 });
    const text = await (await page.context().newPage()).goto(world.url + "/ui/live/events").then((a) => a.text());
    assert.doesNotMatch(text, /goroutine|\.go:\d+|SQL|no such table/);
  } finally {
    sql(world, "ALTER TABLE events_away RENAME TO events;");
  }
  await page.locator("[data-down]").waitFor({ state: "hidden", timeout: 10000 });
});

story("S13: the server is restarted under an open page", async ({ page, world, login, go, expects, filled }) => {
  expects(/ERR_|Failed to load|401|303/);
  await login();
  await go("deliveries/" + filled.delivery.id);
  await updating(page);
  await world.kill();
  await page.locator("[data-updates]", { hasText: /paused|off/ }).waitFor({ timeout: 10000 });
  await world.serve();
});

story("S18: a key is revoked under an open page and its stream", async ({ page, world, expects }) => {
  expects(/401/);
  const key = await world.call("POST", "/v1/keys", { kind: "operator", name: "leaves" });
  await page.goto(world.url + "/ui/login?next=" + encodeURIComponent("/ui/live/deliveries"));
  await page.fill("#key", key.key);
  await page.click("button.go");
  await page.waitForURL(/deliveries/);
  await updating(page);
  await world.call("DELETE", "/v1/keys/" + key.id);
  await page.locator("[data-updates]", { hasText: "Logged out" }).waitFor({ timeout: 8000 });
  await page.goto(world.url + "/ui/live/deliveries");
  assert.match(page.url(), /\/ui\/login/);
});

story("S19: forms of another site do nothing", async ({ page, world, context, login, filled, expects }) => {
  expects(/403/);
  await login();
  const { createServer } = await import("node:http");
  const acts = [`endpoints/${filled.good.id}/disable`, `endpoints/${filled.good.id}/test`, `endpoints/${filled.good.id}/rotate`, `deliveries/${filled.delivery.id}/cancel`, `deliveries/${filled.delivery.id}/retry`, "deliveries/many", "tenants/new", "keys/new", `keys/${filled.key.id}/revoke`, `replays/${filled.replay.id}/cancel`];
  const site = createServer((q, a) => a.writeHead(200, { "Content-Type": "text/html" }).end(`<title>evil</title><link rel="icon" href="data:,">` + acts.map((p, i) => `<form id="f${i}" method="post" action="${world.url}/ui/live/${p}"><input name="id" value="evil"><input name="kind" value="operator"></form>`).join(""))).listen(0, "127.0.0.1");
  await new Promise((r) => site.once("listening", r));
  const other = await context.browser().newContext({ storageState: await context.storageState() }), tab = await other.newPage();
  try {
    for (let i = 0; i < acts.length; i++) {
      await tab.goto(`http://localhost:${site.address().port}/`);
      const [answer] = await Promise.all([tab.waitForResponse((a) => a.request().method() === "POST"), tab.waitForURL((u) => u.href.startsWith(world.url)), tab.evaluate((n) => document.getElementById("f" + n).submit(), i)]);
      assert.equal(answer.status(), 403, acts[i]);
    }
  } finally {
    await other.close();
    site.closeAllConnections();
    site.close();
  }
  assert.equal((await world.call("GET", "/v1/endpoints/" + filled.good.id)).enabled, true);
  // The control: the same act from a page of ours.
  await page.goto(world.url + `/ui/live/endpoints/${filled.narrow.id}/disable`);
  await page.getByRole("button", { name: "Disable the endpoint" }).click();
  await page.waitForURL(/done=disabled/);
  await world.call("PATCH", "/v1/endpoints/" + filled.narrow.id, { enabled: true });
});

const hostile = [`"><img src=x onerror=alert(1)>`, `</script><script>alert(2)</script>`, `javascript:alert(3)`, `'"--></style></title><svg onload=alert(4)>`, "{{.}}${7*7}", "<iframe src=//canary.invalid>", `<a href="https://canary.invalid/">x</a>`, "<!--", "]]>", "&lt;b&gt;", "<base href=//canary.invalid>", `<meta http-equiv=refresh content="0;url=//canary.invalid">`];

story("S21: hostile texts in every field stay texts on every page", async ({ page, world, login, go, filled, expects }) => {
  expects(/404|422/);
  const all = hostile.join(" ");
  await world.call("PATCH", "/v1/endpoints/" + filled.bad.id, { title: all.slice(0, 250), description: all, headers: { "X-Odd": "1" } });
  await world.call("PATCH", "/v1/tenants/nordlicht", { name: all.slice(0, 250) });
  await world.call("PATCH", "/v1/event-types/payment.settled", { description: all, example: { [all]: all } });
  await world.call("POST", "/v1/keys", { kind: "publisher", name: all.slice(0, 250) });
  world.answers.set("/audit", (q, a) => a.writeHead(500, { "X-Odd": hostile[0] }).end(all));
  const { id } = await world.publish("nordlicht", "payment.settled", { [all]: [all, { [hostile[0]]: null }] });
  const d = await world.settled(id, filled.good.id, (x) => x.attempts > 0);
  world.answers.delete("/audit");
  await login();
  const pages = { ...world.pages(filled), theirs: "deliveries/" + d.id, event2: `events/${id}?tenant=nordlicht`, raw: `events/${id}?tenant=nordlicht&view=raw`, q: "search?q=" + encodeURIComponent(all.slice(0, 300)), f: "deliveries?tenant=" + encodeURIComponent(hostile[0]), t: "endpoints/new?tenant=" + encodeURIComponent(hostile[0]), r: "replays/new?types=" + encodeURIComponent(hostile[0]), a: "audit?act=" + encodeURIComponent(hostile[1]) };
  for (const [name, path] of Object.entries(pages)) {
    await go(path);
    const odd = await page.evaluate(() => document.querySelectorAll("main img, main iframe, main script, base, main a[href^='javascript'], main [onerror], main [onload], main meta").length);
    assert.equal(odd, 0, name);
  }
  // The control: the text is really there, and the check finds it as markup.
  await go("deliveries/" + d.id);
  assert.ok((await page.locator("main").innerText()).includes("<img src=x"));
  assert.equal(await page.evaluate(() => new DOMParser && document.querySelectorAll("main pre").length > 0), true);
});

story("S24: 30 tabs, most hidden: another page loads, and hidden tabs have no stream", async ({ page, world, context, login, go }) => {
  await login();
  await go("deliveries");
  await updating(page);
  const requests = [];
  context.on("request", (r) => { if (r.url().includes("/stream?")) requests.push(r); });
  for (let i = 0; i < 12; i++) {
    const tab = await context.newPage();
    await tab.addInitScript(() => { Object.defineProperty(document, "hidden", { get: () => true }); });
    await tab.goto(world.url + "/ui/live/deliveries");
  }
  assert.equal(requests.length, 0);
  const last = await context.newPage();
  await last.goto(world.url + "/ui/live/"); // behind the streams of the others it would never load
  assert.ok(await last.locator("h1").count());
});
