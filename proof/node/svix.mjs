// Svix's library for JavaScript against a running server: SERVER, TOKEN and MAJOR (1 or 2)
// are variables (2.x leaves the content of answers out unless it is asked for it). Each line that is printed is a call and its outcome; the exit code is the
// number of calls that failed. BREAK names a member of answers that is renamed on the way,
// for the control.
import http from "node:http";
import { createRequire } from "node:module";

const { Svix, Webhook } = process.env.MAJOR === "2" ? await import("svix2") : createRequire(import.meta.url)("svix");

if (process.env.BREAK) {
  const real = globalThis.fetch;
  globalThis.fetch = async (...args) => {
    const answer = await real(...args);
    if (answer.status === 204) return answer;
    const text = (await answer.text()).replaceAll(`"${process.env.BREAK}":`, '"broken":');
    return new Response(text, { status: answer.status, headers: answer.headers });
  };
}

const got = [];
let down = false;
const receiver = http.createServer((req, res) => {
  const parts = [];
  req.on("data", (part) => parts.push(part));
  req.on("end", () => {
    res.statusCode = down ? 500 : 200;
    if (!down) got.push({ headers: req.headers, body: Buffer.concat(parts).toString() });
    res.end("said");
  });
});
await new Promise((ready) => receiver.listen(0, "127.0.0.1", ready));
const url = `http://127.0.0.1:${receiver.address().port}`;

const svix = new Svix(process.env.TOKEN, { serverUrl: process.env.SERVER });
const unique = `${process.env.MAJOR}-${Date.now()}`;
const uid = `js-${unique}`;
const kind = `invoice.paid-${unique}`;

let failed = 0;
const step = async (call, run) => {
  if (process.env.BREAK && failed) return; // the control ends with the first
  try {
    await run();
    console.log(`${call.padEnd(70)} as Svix`);
  } catch (error) {
    failed++;
    console.log(`${call.padEnd(70)} FAILED ${error.code ?? ""} ${JSON.stringify(error.body ?? error.message)}`);
  }
};
const must = (ok, ...seen) => {
  if (!ok) throw new Error(JSON.stringify(seen));
};
const refused = async (promise, status, text) => {
  let error;
  await promise.catch((e) => (error = e));
  must(error && error.code === status && JSON.stringify(error.body).includes(text), error?.code, error?.body, String(error));
};
const until = async (ok) => {
  const end = Date.now() + 10_000;
  while (!(await ok())) {
    must(Date.now() < end, "waited in vain");
    await new Promise((again) => setTimeout(again, 20));
  }
};

let app, endpoint, message, key;
await step("health.get", () => svix.health.get());
await step("application.create, again: 409, getOrCreate, get", async () => {
  app = await svix.application.create({ name: "Acme", uid, metadata: { plan: "gold" } });
  must(app.uid === uid && app.metadata.plan === "gold" && app.createdAt instanceof Date && !Number.isNaN(+app.createdAt), app);
  await refused(svix.application.create({ name: "Acme", uid }), 409, "conflict");
  must((await svix.application.getOrCreate({ name: "Acme", uid })).id === app.id);
  must((await svix.application.get(uid)).id === app.id);
  await refused(svix.application.get("nobody"), 404, "not_found");
});
await step("application.list forward and back, patch", async () => {
  for (let i = 0; i < 3; i++) await svix.application.create({ name: `listed ${i}` });
  const first = await svix.application.list({ limit: 2 });
  const second = await svix.application.list({ limit: 2, iterator: first.iterator });
  const back = await svix.application.list({ limit: 2, iterator: second.prevIterator });
  must(first.data.length === 2 && !first.done && back.data[0].id === first.data[0].id && back.done, first, back);
  must((await svix.application.patch(uid, { name: "Acme 2" })).metadata.plan === "gold");
});
await step("eventType.create, again: 409, list, get, patch", async () => {
  await svix.eventType.create({ name: kind, description: "Paid", schemas: { 1: { type: "object", examples: [{ id: 1 }] } } });
  await refused(svix.eventType.create({ name: kind, description: "Paid" }), 409, "event_type_exists");
  must((await svix.eventType.list({ withContent: true })).data.some((e) => e.name === kind && e.schemas));
  must((await svix.eventType.patch(kind, { description: "new" })).description === "new");
});
await step("endpoint.create, get, list, patch, headers", async () => {
  const types = process.env.MAJOR === "2" ? { eventTypes: [kind] } : { filterTypes: [kind] };
  endpoint = await svix.endpoint.create(uid, { url: `${url}/one`, uid: "one", ...types, metadata: { k: "v" }, description: "first" });
  must(endpoint.id.startsWith("ep_") && endpoint.id.length === 30, endpoint);
  must(((await svix.endpoint.get(uid, "one")).filterTypes ?? (await svix.endpoint.get(uid, "one")).eventTypes)[0] === kind);
  must((await svix.endpoint.list(uid)).data.length === 1);
  must((await svix.endpoint.patch(uid, "one", { description: "second" })).metadata.k === "v");
  await (svix.endpoint.setHeaders ?? svix.endpoint.updateHeaders ?? svix.endpoint.headersUpdate).call(svix.endpoint, uid, "one", { headers: { "X-One": "1" } });
  must((await svix.endpoint.getHeaders(uid, "one")).sensitive[0] === "X-One");
  await refused(svix.endpoint.create(uid, { url: "ftp://example.com" }), 422, '"loc"');
  const other = await svix.endpoint.create(uid, { url, channels: ["c-2", "c-1"] });
  must((await svix.endpoint.get(uid, other.id)).channels.join() === "c-1,c-2");
  await svix.endpoint.delete(uid, other.id);
  await refused(svix.endpoint.create(uid, { url, channels: ["c d"] }), 422, "channels");
});
await step("message.create: delivered and verified; eventId again: 409", async () => {
  key = (await svix.endpoint.getSecret(uid, "one")).key;
  const before = got.length;
  message = await svix.message.create(uid, { eventType: kind, payload: { amount: "49.90" }, eventId: `evt-${unique}` });
  await until(() => got.length > before);
  const last = got[before];
  new Webhook(key).verify(last.body, last.headers); // throws if it does not verify
  let forged = false;
  try {
    new Webhook(key).verify(last.body + " ", last.headers);
    forged = true;
  } catch {}
  must(!forged && JSON.parse(last.body).amount === "49.90" && last.headers["svix-id"] === message.id, last, message);
  await refused(svix.message.create(uid, { eventType: kind, payload: {}, eventId: `evt-${unique}` }), 409, "conflict");
  await refused(svix.message.create(uid, { eventType: kind, payload: { x: "x".repeat(2 << 20) } }), 413, "payload_too_large");
});
await step("message.get, list", async () => {
  must((await svix.message.get(uid, `evt-${unique}`, { withContent: true })).payload.amount === "49.90");
  const list = await svix.message.list(uid, { eventTypes: [kind], after: new Date(Date.now() - 3600e3), before: new Date(Date.now() + 3600e3) });
  must(list.data.length === 1 && list.data[0].id === message.id && list.data[0].eventId === `evt-${unique}`, list);
});
await step("a failing receiver: attempts, resend", async () => {
  down = true;
  const failing = await svix.message.create(uid, { eventType: kind, payload: { n: 1 } });
  let page;
  await until(async () => (page = await svix.messageAttempt.listByMsg(uid, failing.id, { withContent: true })).data.length > 0);
  must(page.data[0].status === 2 && page.data[0].responseStatusCode === 500 && page.data[0].response === "said" && page.data[0].triggerType === 0, page);
  must((await svix.messageAttempt.get(uid, failing.id, page.data[0].id)).id === page.data[0].id);
  must((await svix.messageAttempt.listByEndpoint(uid, "one", { status: 2 })).data.length === 1);
  must((await svix.messageAttempt.listAttemptedMessages(uid, "one")).data.length === 2);
  must((await svix.messageAttempt.listAttemptedDestinations(uid, failing.id)).data[0].id === endpoint.id);
  down = false;
  const before = got.length;
  await svix.messageAttempt.resend(uid, failing.id, "one");
  await until(() => got.length > before);
});
await step("rotateSecret, recover, replayMissing, stats, sendExample", async () => {
  await svix.endpoint.rotateSecret(uid, "one", {});
  must((await svix.endpoint.getSecret(uid, "one")).key !== key);
  must((await svix.endpoint.recover(uid, "one", { since: new Date(Date.now() - 3600e3) })).task === "endpoint.recover");
  await svix.endpoint.replayMissing(uid, "one", { since: new Date(Date.now() - 3600e3) });
  await svix.endpoint.getStats(uid, "one");
  const before = got.length;
  await svix.endpoint.sendExample(uid, "one", { eventType: "svix.ping" });
  await until(() => got.length > before);
});
await step("not supported: 404 at once; a wrong token: 401", async () => {
  await refused(svix.integration.list(uid), 404, "not_supported");
  await refused(new Svix("wrong", { serverUrl: process.env.SERVER }).application.list(), 401, "authentication_failed");
});
await step("endpoint.delete, application.delete", async () => {
  await svix.endpoint.delete(uid, "one");
  await refused(svix.endpoint.get(uid, endpoint.id), 404, "not_found");
  await svix.application.delete(uid);
  await refused(svix.application.get(uid), 404, "not_found");
});
receiver.close();
receiver.closeAllConnections();
process.exit(failed);
