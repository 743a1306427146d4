// Stories of people on duty: failing endpoints, replays, live pages, the keyboard.
import assert from "node:assert/strict";
import { stories } from "./stories.js";
import { until } from "./world.js";

const story = stories();

story("S3: a test event arrives without a reload", async ({ page, world, login, go, filled }) => {
  let hold;
  world.answers.set("/crm", (q, a) => { hold = () => a.writeHead(200, { "X-Seen": "yes" }).end("thank you"); });
  await login();
  await go("endpoints/" + filled.narrow.id);
  await page.getByRole("button", { name: "Send test event" }).click();
  await page.getByText("This is the delivery of the test event.").waitFor();
  await until("the request comes", () => hold);
  assert.equal(await page.locator(".state.big").innerText(), "Pending");
  await page.evaluate(() => { window.sameDocument = true; });
  await until("the page follows", () => page.evaluate(() => document.querySelector("[data-updates]")?.textContent === "Updates on"));
  hold();
  await page.locator(".state.big", { hasText: "Delivered" }).waitFor({ timeout: 5000 });
  await page.getByText("thank you").waitFor();
  assert.equal(await page.evaluate(() => window.sameDocument), true);
  world.answers.delete("/crm");
});

async function replayBacklog({ page, world, login, go, filled }) {
  const got = (path) => world.got.filter((g) => g.path === path).length;
  for (let i = 0; i < 3; i++) await world.publish("acme", "payout.sent", { i });
  await until("they failed", async () => (await world.call("GET", `/v1/deliveries?state=failed&endpoint=${filled.dead.id}&limit=250`)).data.length >= 3 && (await world.call("GET", `/v1/deliveries?state=pending&endpoint=${filled.dead.id}`)).data.length === 0);
  const failed = (await world.call("GET", `/v1/deliveries?state=failed&endpoint=${filled.dead.id}&limit=250`)).data.length;
  await login();
  await page.locator(".attn").getByRole("link", { name: /Look at .*\/dead/ }).click();
  await page.locator(".note.bad:visible").waitFor();
  const bad = world.answers.get("/dead"), before = got("/in");
  world.answers.delete("/dead");
  await page.getByRole("link", { name: "Replay…" }).click();
  await page.getByRole("button", { name: "Preview" }).click();
  const counted = Number((await page.locator("#h-prev >> xpath=../.. >> css=.countdown").innerText()).match(/\d+/)[0]);
  assert.equal(counted, failed);
  const sent = got("/dead");
  await page.getByRole("button", { name: "Start the replay" }).click();
  await page.waitForURL(/replays\/.*done=started/);
  await until("all are delivered", async () => (await world.call("GET", `/v1/deliveries?state=failed&endpoint=${filled.dead.id}`)).data.length === 0);
  assert.equal(got("/dead") - sent, failed);
  assert.equal(got("/in"), before); // other endpoints got nothing
  world.answers.set("/dead", bad);
}
story.both("S4: from the overview to the failing endpoint, its reason and its replay", replayBacklog);

story("S15: the same at 390 px, without sideways scrolling", async (s) => {
  await replayBacklog(s);
  for (const path of Object.values(s.world.pages(s.filled))) {
    await s.expects(/404/);
    await s.go(path);
    const wide = await s.page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 390, `${path} is ${wide} px wide`);
  }
}, { viewport: { width: 390, height: 800 } });

story("S7: rotate with overlap: both secrets sign", async ({ page, world, login, go }) => {
  const made = await world.endpoint("acme", "/rotated", { event_types: ["rotated.*"] });
  await login();
  await go(`endpoints/${made.id}?tab=secret`);
  await page.getByRole("link", { name: "Rotate…" }).click();
  await page.getByRole("button", { name: "Rotate the secret" }).click();
  const next = await page.locator("code.secret").innerText();
  await world.publish("acme", "rotated.now", {});
  const g = await until("it arrives", () => world.got.find((x) => x.path === "/rotated"));
  const { createHmac } = await import("node:crypto");
  const mac = (secret) => "v1," + createHmac("sha256", Buffer.from(secret.slice(6), "base64")).update(`${g.headers["webhook-id"]}.${g.headers["webhook-timestamp"]}.${g.body}`).digest("base64");
  const signatures = g.headers["webhook-signature"].split(" ");
  assert.deepEqual(new Set(signatures), new Set([mac(next), mac(made.secret)]));
  assert.ok(!signatures.includes(mac("whsec_" + Buffer.alloc(32).toString("base64")))); // the control
});

story("S11: by keyboard only, from the log-in to a retry", async ({ page, world, filled, seen }) => {
  const { id, attempts } = await world.deliveryOf(filled.failed.id, filled.dead.id);
  await page.goto(world.url + "/ui/login?next=" + encodeURIComponent("/ui/live/"));
  await page.locator("#key:focus").waitFor(); // the browser gives it the focus when it has drawn it
  await page.keyboard.type(world.keys.live);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/ui\/live\/$/);
  await page.keyboard.press("/");
  await page.locator("#q:focus").waitFor();
  await page.keyboard.type(id);
  await page.keyboard.press("Enter");
  await page.waitForURL(/deliveries\//);
  for (let i = 0; i < 40; i++) { // focus is always to be seen
    await page.keyboard.press("Tab");
    const visible = await page.evaluate(() => { const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e); return e === document.body || r.width > 0 && r.height > 0 && (s.outlineStyle !== "none" || s.boxShadow !== "none"); });
    assert.ok(visible, "focus is not to be seen after " + i);
    if (await page.evaluate(() => /Retry now|Send again/.test(document.activeElement.textContent))) break;
  }
  await page.keyboard.press("Enter");
  await page.getByText("One more attempt was asked for.").waitFor();
  await until("it was made", async () => (await world.call("GET", "/v1/deliveries/" + id)).attempts > attempts);
  await page.keyboard.press("g");
  await page.keyboard.press("e");
  await page.waitForURL(/\/ui\/live\/events/);
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/ui\/live\/events\/./);
  assert.deepEqual(seen.dialogs, []);
});

story("newer rows wait behind a sentence, and rows hold still", async ({ page, world, login, go }) => {
  await login();
  await go("deliveries?tenant=acme");
  const first = await page.locator("tbody tr").first().getAttribute("data-id");
  await until("the page follows", () => page.evaluate(() => document.querySelector("[data-updates]")?.textContent === "Updates on"));
  await world.publish("acme", "mandate.created", {});
  await page.locator("[data-fresh]", { hasText: "1 newer delivery: show it" }).waitFor({ timeout: 12000 });
  assert.equal(await page.locator("tbody tr").first().getAttribute("data-id"), first);
  await page.locator("[data-fresh]").click();
  await page.waitForLoadState();
  assert.notEqual(await page.locator("tbody tr").first().getAttribute("data-id"), first);
});

story("ticked rows are retried and, after a question, cancelled", async ({ page, world, login, go, filled }) => {
  await login();
  await go(`deliveries?endpoint=${filled.bad.id}&state=pending&tenant=nordlicht`);
  const ids = (await page.locator("tbody tr").evaluateAll((rows) => rows.slice(0, 2).map((r) => r.dataset.id)));
  for (const id of ids) await page.check(`input[value="${id}"]`);
  await page.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("heading", { name: "Cancel 2 deliveries?" }).waitFor();
  for (const id of ids) assert.equal((await world.call("GET", "/v1/deliveries/" + id)).state, "pending"); // not before the answer
  await page.getByRole("button", { name: "Cancel 2 deliveries" }).click();
  await page.waitForURL(/done=manyend/);
  for (const id of ids) assert.equal((await world.call("GET", "/v1/deliveries/" + id)).state, "cancelled");
});

story("a question opens as a dialog and gives the focus back", async ({ page, login, go, filled }) => {
  await login();
  await go("endpoints/" + filled.good.id);
  await page.getByRole("link", { name: "Disable…" }).click();
  await page.locator("dialog h1", { hasText: "Disable" }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), "Disable…");
});

story.both("the theme is chosen by a press and stays", async ({ page, login, go }) => {
  await login();
  await page.getByRole("button", { name: "Dark" }).click();
  await go("keys");
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  await page.getByRole("button", { name: "Auto" }).click();
  assert.equal(await page.locator("html").getAttribute("data-theme"), null);
});

story("the end of the session is said two minutes before, and a press goes on", async ({ page, world, login, go }) => {
  await page.clock.install();
  await login();
  await go("settings");
  const notice = page.locator("[data-ending]"), said = page.locator("[data-said]");
  const pass = async (minutes) => { await page.clock.fastForward(minutes * 60000); await page.clock.runFor(2000); };
  await pass(26);
  assert.equal(await notice.isVisible(), false);
  await pass(2);
  await notice.getByText("This session ends in two minutes, because").waitFor();
  assert.match(await said.textContent(), /ends in two minutes/);
  const form = await page.locator("[data-ending] form input").inputValue();
  assert.equal(form, "/ui/live/settings");
  const before = page.url();
  await page.getByRole("button", { name: "Go on" }).click();
  await notice.waitFor({ state: "hidden" });
  assert.equal(page.url(), before);
  await pass(26);
  assert.equal(await notice.isVisible(), false);
  await pass(5); // nobody goes on
  await notice.getByText("This session has ended").waitFor();
  assert.equal(await page.getByRole("button", { name: "Go on" }).isVisible(), false);
  assert.match(await page.locator(".foot").innerText(), /Session ends at \d\d:\d\d:\d\d/);
});

story.both("several states and a status are ticked and written in the form", async ({ page, login, go, filled }) => {
  await login();
  await go("deliveries?tenant=nordlicht");
  await page.getByText("Several states at once").click();
  await page.getByRole("checkbox", { name: "Pending or retrying" }).check();
  await page.getByRole("checkbox", { name: "Failed" }).check();
  await page.getByRole("textbox", { name: "Answered" }).fill("5xx");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.waitForURL((url) => url.searchParams.getAll("state").join() === "pending,failed" && url.searchParams.get("status") === "5xx");
  assert.ok(await page.locator("tbody tr").count() > 0);
  await page.getByRole("textbox", { name: "Answered" }).fill("2xx"); // what is open or failed has no such answer
  await page.getByRole("button", { name: "Apply" }).click();
  await page.waitForURL(/status=2xx/);
  assert.equal(await page.locator("tbody tr").count(), 0);
  assert.ok(filled.bad.id);
});

story("an operator sees what the customer sees in one press, and changes nothing", async ({ page, login, go }) => {
  await login();
  await go("tenants/nordlicht");
  await page.getByRole("button", { name: "See it as the customer" }).click();
  await page.getByText("You are an operator").waitFor();
  assert.match(page.url(), /\/portal\//);
  assert.equal(await page.getByRole("link", { name: "New endpoint" }).count(), 0);
  await page.getByRole("link", { name: "Back to the dashboard" }).click();
  await page.waitForURL(/\/ui\/live\//);
});
