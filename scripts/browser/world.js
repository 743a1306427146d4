// A server of the built binary with its own directory, a receiver, and data on every page.
// Everything is on loopback.
import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as tcp } from "node:net";

export const binary = process.env.POSTHORN_BIN ?? join(import.meta.dirname, "../../posthorn");
const keys = { live: "live-operator-key-of-the-browser-tests", test: "test-operator-key-of-the-browser-tests" };

const port = () => new Promise((done) => { const s = tcp().listen(0, "127.0.0.1", () => { const { port } = s.address(); s.close(() => done(port)); }); });

// until waits for what must become true within 60 s.
export async function until(what, ok) {
  for (const end = Date.now() + 60000; Date.now() < end; await new Promise((r) => setTimeout(r, 25))) {
    const value = await ok();
    if (value) return value;
  }
  throw new Error("not within 60 s: " + what);
}

export class World {
  keys = keys;
  answers = new Map(); // path of the receiver: a function that answers
  got = []; // requests of the receiver

  static async start(...args) {
    const w = new World();
    w.dir = mkdtempSync(join(tmpdir(), "posthorn-browser."));
    w.receiver = createServer((q, a) => {
      let body = "";
      q.on("data", (d) => (body += d));
      q.on("end", () => {
        w.got.push({ path: q.url, headers: q.headers, body });
        const act = w.answers.get(q.url.split("?")[0]);
        act ? act(q, a) : a.writeHead(204).end();
      });
    });
    await new Promise((done) => w.receiver.listen(0, "127.0.0.1", done));
    w.hook = `http://localhost:${w.receiver.address().port}`;
    w.port = await port();
    w.args = args;
    await w.serve();
    return w;
  }

  async serve() {
    this.log = "";
    this.process = spawn(binary, ["serve", "--dev", "--listen", `127.0.0.1:${this.port}`, "--data", this.dir, "--synchronous", "off", "--log-format", "json", ...this.args],
      { env: { PATH: process.env.PATH, POSTHORN_OPERATOR_KEY: keys.live, POSTHORN_OPERATOR_TEST_KEY: keys.test }, stdio: ["ignore", "pipe", "pipe"] });
    for (const s of [this.process.stdout, this.process.stderr]) s.on("data", (d) => (this.log += d));
    this.url = `http://127.0.0.1:${this.port}`;
    await until("the server is ready", () => fetch(this.url + "/readyz").then((a) => a.ok, () => false));
  }

  async kill() {
    const over = new Promise((done) => this.process.once("exit", done));
    this.process.kill("SIGKILL");
    await over;
  }

  async stop() {
    await this.kill();
    this.front?.stop();
    this.receiver.closeAllConnections();
    this.receiver.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  // behind puts the server behind a TLS proxy: browsers accept its certificate.
  behind(front) {
    this.front = front;
    front.target = this.port;
    this.tls = { ignoreHTTPSErrors: true };
    this.ours = [this.url, front.url, ...["app.shop", "app.bank", "app.evil", "app.third"].map((name) => front.origin(name))];
  }

  // sql runs statements on the database of the server from outside.
  sql(text) {
    const run = spawnSync("python3", ["-c", "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1],timeout=10)\nc.executescript(sys.argv[2])\nc.commit()", join(this.dir, "posthorn.db"), text], { encoding: "utf8" });
    if (run.status !== 0) throw new Error(run.stderr);
  }

  // call calls the API. mode chooses the key.
  async call(method, path, body, mode = "live") {
    const a = await fetch(this.url + path, { method, headers: { Authorization: "Bearer " + keys[mode], "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
    const text = await a.text();
    if (!a.ok) throw new Error(`${method} ${path}: ${a.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  tenant(id, name) { return this.call("POST", "/v1/tenants", { id, name }); }
  endpoint(tenant, path, more = {}, mode = "live") { return this.call("POST", "/v1/endpoints", { tenant, url: this.hook + path, event_types: ["*"], ...more }, mode); }
  publish(tenant, type, data = {}, mode = "live") { return this.call("POST", "/v1/events", { tenant, type, data }, mode); }
  async deliveryOf(event, endpoint, mode = "live") {
    const { data } = await this.call("GET", `/v1/deliveries?event=${event}&limit=50`, undefined, mode);
    return data.find((d) => !endpoint || d.endpoint === endpoint);
  }
  settled(event, endpoint, ok = (d) => d.state === "succeeded", mode = "live") {
    return until("the delivery settles", async () => { const d = await this.deliveryOf(event, endpoint, mode); return d && ok(d) && d; });
  }

  // fill makes a small platform: endpoints that work, fail, are gone, are disabled; a replay; both modes.
  async fill(events = 40) {
    const f = {};
    const answer = (status, body = "", headers = {}) => (q, a) => a.writeHead(status, headers).end(body);
    this.answers.set("/posthorn", answer(503, "upstream connect error or disconnect before headers", { "Retry-After": "240", "Content-Type": "text/plain", Server: "nginx" }));
    this.answers.set("/gone", answer(410, "gone"));
    for (const [id, name] of [["nordlicht", "Nordlicht GmbH"], ["harbour-co", "Harbour & Co"], ["acme", "Acme Ltd"]]) await this.tenant(id, name);
    for (const [name, description] of [["payment.settled", "A payment has arrived."], ["payment.refunded", "A payment was sent back."], ["payout.sent", "A payout left for the bank."], ["mandate.created", "A customer signed a mandate."]])
      await this.call("POST", "/v1/event-types", { name, description, example: { payment_id: "pay_4f1c09d2", amount: { value: "1202.50", currency: "EUR" } }, schema: { type: "object", properties: { payment_id: { type: "string" } } } });
    f.good = await this.endpoint("nordlicht", "/audit", { title: "Audit trail" });
    f.bad = await this.endpoint("nordlicht", "/posthorn?key=a-secret-of-the-query", { title: "Payments to ERP", event_types: ["payment.*", "payout.*"], headers: { "X-Tenant-Token": "a-secret-of-a-header" }, description: "Booked by the ERP every hour." });
    f.narrow = await this.endpoint("nordlicht", "/crm", { title: "CRM", event_types: ["mandate.*"] });
    f.gone = await this.endpoint("harbour-co", "/gone", { title: "Old shop" });
    f.acme = await this.endpoint("acme", "/in", { title: "Shop" });
    f.once = await this.endpoint("acme", "/flaky", { title: "Ledger", event_types: ["payment.*"], retry: { steps: ["1s"] } });
    let calls = 0;
    this.answers.set("/flaky", (q, a) => a.writeHead(calls++ % 2 ? 204 : 500).end("try again"));
    const data = (i) => ({ payment_id: "pay_" + (4096 + i * 977).toString(16), amount: { value: (12 + i * 31.5).toFixed(2), currency: "EUR" }, debtor: { name: "J. Bach", iban: "DE89370400440532013000" }, captured: true, rate: 1.5, lines: [{ sku: "A-1", n: 2 }, { sku: "B-7", n: 1 }], reference: "INV-" + (2041 + i) });
    const types = ["payment.settled", "payout.sent", "mandate.created", "payment.refunded", "payment.settled"];
    f.event = await this.publish("nordlicht", "payment.settled", data(7));
    f.delivery = await this.settled(f.event.id, f.bad.id, (d) => d.attempts > 0);
    f.done = await this.settled(f.event.id, f.good.id);
    const load = [];
    for (let i = 0; i < events; i++) load.push({ tenant: i % 3 ? "nordlicht" : "acme", type: types[i % types.length], data: data(i) });
    await this.call("POST", "/v1/events/batch", load);
    f.harbour = await this.publish("harbour-co", "payment.settled", data(41));
    await this.settled(f.harbour.id, f.gone.id, (d) => d.state === "held" || d.state === "failed");
    for (let i = 0; i < 4; i++) await this.publish("harbour-co", "payment.settled", data(42 + i));
    const dead = await this.endpoint("acme", "/dead", { title: "Dead end", event_types: ["payout.*"], retry: { steps: ["1s"] }, max_consecutive_failures: 1000 });
    this.answers.set("/dead", answer(500, "no"));
    for (let i = 0; i < 5; i++) f.failed = await this.publish("acme", "payout.sent", data(60 + i));
    await until("all of them fail", async () => (await this.call("GET", `/v1/deliveries?state=failed&endpoint=${dead.id}`)).data.length >= 5);
    f.dead = dead;
    f.replay = await this.call("POST", "/v1/replays", { endpoint: f.good.id, source: "all", rate: 0.5 });
    f.key = await this.call("POST", "/v1/keys", { kind: "publisher", name: "platform-backend" });
    f.testEndpoint = await this.endpoint("nordlicht", "/test", { title: "Staging" }, "test");
    f.testEvent = await this.publish("nordlicht", "payment.settled", data(1), "test");
    await this.settled(f.testEvent.id, f.testEndpoint.id, undefined, "test");
    return f;
  }

  // enter opens a session of the portal for a tenant in a page, and returns the path of the session.
  async enter(page, tenant, more = {}) {
    const { url } = await this.call("POST", "/v1/portal/sessions", { tenant, capabilities: ["manage_endpoints", "see_secret", "retry", "replay", "test"], ...more });
    await page.goto(this.url + new URL(url).pathname);
    await page.waitForURL((u) => /^\/portal\/[a-z0-9]{10}\//.test(u.pathname));
    return new URL(page.url()).origin + new URL(page.url()).pathname.split("/").slice(0, 3).join("/") + "/";
  }

  // customer are the pages of the portal, by name: the tenant, the path, and what is pressed there.
  customer(f) {
    const e = "endpoints/" + f.bad.id, nordlicht = (path, press) => ["nordlicht", path, press], send = (p) => p.locator("form.pform button.go").click();
    return { home: nordlicht(""), endpoints: nordlicht("endpoints"), health: nordlicht(e), "endpoint-deliveries": nordlicht(e + "?tab=deliveries"), settings: nordlicht(e + "?tab=settings"), secret: nordlicht(e + "?tab=secret"),
      disable: nordlicht(e + "/disable"), enable: ["harbour-co", `endpoints/${f.gone.id}/enable`], gone: ["harbour-co", "endpoints/" + f.gone.id], delete: nordlicht(e + "/delete"), deliveries: nordlicht("deliveries"), "deliveries-none": nordlicht("deliveries?type=no.such"), retrying: nordlicht("deliveries/" + f.delivery.id), done: nordlicht("deliveries/" + f.done.id),
      event: nordlicht("events/" + f.event.id), replays: nordlicht("replays"), replay: nordlicht("replays/" + f.replay.id), "replay-new": ["acme", "replays/new?endpoint=" + f.dead.id], "replay-preview": ["acme", "replays/new?endpoint=" + f.dead.id, send],
      types: nordlicht("types"), type: nordlicht("types/payment.settled"), verify: nordlicht("verify"), missing: nordlicht("nothing"),
      verdict: nordlicht("verify", async (p) => { await p.fill("[name=capture]", "webhook-id: a\nwebhook-timestamp: 1\nwebhook-signature: v1,AAAA\n\n{}"); await send(p); }),
      empty: ["newcomer", ""], "empty-deliveries": ["newcomer", "deliveries"], "empty-verify": ["newcomer", "verify"], "empty-replays": ["newcomer", "replays"], new: ["newcomer", "endpoints/new"],
      "new-refused": ["newcomer", "endpoints/new", async (p) => { await p.fill("[name=url]", "ftp://shop.example/in"); await send(p); }],
      made: ["acme", "endpoints/new", async (p) => { await p.fill("[name=url]", this.hook + "/made"); await p.fill("[name=types]", "payment.*"); await send(p); await p.locator("#secret").waitFor(); }],
      tested: ["acme", "endpoints/" + f.acme.id, async (p) => { await p.locator("form[action*='/test'] button").click(); await p.locator(".state.ok.big").waitFor(); }],
      failing: ["acme", "deliveries?state=failed", async (p) => { await p.locator("tbody a.main").first().click(); await p.locator(".state.big").waitFor(); }], left: ["newcomer", "", (p) => p.locator("form[action*='/leave'] button").click()] };
  }

  // pages are the addresses of all pages of the dashboard, in live mode.
  pages(f) {
    const e = "endpoints/" + f.bad.id;
    return { overview: "", "overview-table": "?span=1h&as=table", events: "events", event: `events/${f.event.id}?tenant=nordlicht`, "event-raw": `events/${f.event.id}?tenant=nordlicht&view=raw`, resend: `events/${f.event.id}/resend?tenant=nordlicht`,
      deliveries: "deliveries", "deliveries-filtered": "deliveries?tenant=nordlicht&state=pending&tried=yes", "deliveries-none": "deliveries?type=no.such&tenant=acme", "delivery-retrying": "deliveries/" + f.delivery.id, "delivery-done": "deliveries/" + f.done.id, cancel: `deliveries/${f.delivery.id}/cancel`,
      endpoints: "endpoints", "endpoint-health": e, "endpoint-deliveries": e + "?tab=deliveries", "endpoint-settings": e + "?tab=settings", "endpoint-secret": e + "?tab=secret", "endpoint-history": e + "?tab=history", "endpoint-new": "endpoints/new", "endpoint-edit": e + "/edit",
      disable: e + "/disable", rotate: e + "/rotate", delete: e + "/delete", tenants: "tenants", tenant: "tenants/nordlicht", "tenant-new": "tenants/new", replays: "replays", replay: "replays/" + f.replay.id, "replay-form": "replays/new?endpoint=" + f.dead.id, "replay-preview": `replays/new?endpoint=${f.dead.id}&source=failed&preview=1`,
      types: "types", type: "types/payment.settled", "type-new": "type/new", "type-edit": "type/edit/payment.settled", "type-version": "type/edit/payment.settled?version=new", "type-delete": "type/delete/payment.settled", reclaim: "nodes/reclaim", "portal-link": "tenants/nordlicht/portal", profiles: "profiles", profile: "profiles/standard", keys: "keys", "key-new": "keys/new", audit: "audit", "audit-none": "audit?act=no.such", nodes: "nodes", settings: "settings", search: "search?q=nothing", shortcuts: "shortcuts", missing: "events/00000000-0000-7000-8000-000000000000" };
  }
}
