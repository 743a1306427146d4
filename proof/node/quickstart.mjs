// The first steps with Svix's library for JavaScript: an application, an endpoint, a
// message, its attempts, and a receiver that verifies. The test changes two lines, the token
// and the server, and nothing else.
import http from "node:http";
import { Svix, Webhook } from "svix";

const token = "testsk_AUTH_TOKEN.eu";
const serverUrl = "https://api.eu.svix.com";

const svix = new Svix(token, { serverUrl });

const app = await svix.application.create({ name: "Quick start in JavaScript" });

let arrived;
const verified = new Promise((resolve) => (arrived = resolve));
const receiver = http.createServer(async (req, res) => {
  let payload = "";
  for await (const part of req) payload += part;
  try {
    arrived(new Webhook(secret.key).verify(payload, req.headers));
    res.writeHead(204).end();
  } catch (error) {
    arrived(error);
    res.writeHead(400).end();
  }
});
await new Promise((ready) => receiver.listen(0, "127.0.0.1", ready));

const endpoint = await svix.endpoint.create(app.id, {
  url: `http://127.0.0.1:${receiver.address().port}/webhook/`,
  description: "my first endpoint",
});
const secret = await svix.endpoint.getSecret(app.id, endpoint.id);

const message = await svix.message.create(app.id, {
  eventType: "invoice.paid",
  payload: { id: "invoice_WF7WtCLFFtd8ubcTgboSFNql", status: "paid", attempt: 2 },
});
const payload = await verified;
if (payload.status !== "paid") throw payload;
console.log("verified", message.eventType);

for (const end = Date.now() + 30_000; ; ) {
  const attempts = await svix.messageAttempt.listByMsg(app.id, message.id);
  if (attempts.data.length === 1 && attempts.data[0].responseStatusCode === 204) break;
  if (Date.now() > end) throw new Error(JSON.stringify(attempts.data));
  await new Promise((again) => setTimeout(again, 20));
}
console.log("attempts 1");
process.exit(0);
