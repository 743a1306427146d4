// An example webhook receiver. It verifies every request over its raw bytes, handles each
// event once and responds immediately.
//
// PROFILE names the wire format. SECRET contains the endpoint's secret, or two of them
// separated by a space during a rotation. PORT is the port on 127.0.0.1. Run it behind your
// TLS proxy.
import { createServer } from "node:http";
import * as paysway from "./paysway.mjs";
import * as paywise from "./paywise.mjs";
import * as standard from "./standard.mjs";

const formats = { standard, paysway, "paysway-2025-09": paysway, paywise };
const bodyLimit = 1 << 20;

const profile = process.env.PROFILE || "standard";
const port = Number(process.env.PORT || 3000);
const format = formats[profile];
if (!format) stop(`PROFILE is ${profile}; it must be one of ${Object.keys(formats).join(", ")}.`);
const keys = (process.env.SECRET ?? "").split(" ").filter(Boolean).map(toKey);
if (keys.length === 0) stop("SECRET is empty; it holds the endpoint's secret.");

function toKey(secret) {
  try {
    return format.key(secret);
  } catch {
    stop(`SECRET is not a secret of ${profile}; copy it whole, as it was shown with the endpoint.`);
  }
}

function stop(message) {
  console.error(message);
  process.exit(1);
}

// once represents a transaction of your database: look up the ids in a unique column, act,
// insert the ids, commit. Unlike this set, a table survives a restart.
const seen = new Set();
function once({ type, ids }) {
  if (ids.some((id) => seen.has(id))) {
    console.log("duplicate", type, ids[0]);
    return;
  }
  console.log("handled", type, ids[0]);
  for (const id of ids) seen.add(id);
}

async function answer(request) {
  if (request.method !== "POST") return 405;
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= bodyLimit) chunks.push(chunk);
  }
  if (size > bodyLimit) return 413;
  const body = Buffer.concat(chunks); // the raw bytes, not text: they were signed
  const status = format.verify(request.headers, body, keys);
  if (status !== 200) return status;
  let event;
  try {
    event = format.read(request.headers, body);
  } catch {
    return 400; // genuine, but not JSON
  }
  if (!event.type || !event.ids[0]) return 400;
  once(event);
  return 200;
}

const server = createServer(async (request, response) => {
  try {
    response.writeHead(await answer(request)).end();
  } catch (error) {
    console.error(error); // not 200, so the sender will retry
    response.writeHead(500).end();
  }
});
server.keepAliveTimeout = 120_000;
server.on("error", (error) => stop(`Cannot listen on 127.0.0.1:${port}: ${error.message}`));
server.listen(port, "127.0.0.1", () => console.error(`listening on 127.0.0.1:${port}`));
