// Standard Webhooks: the headers webhook-id, webhook-timestamp, webhook-signature.
import { createHmac, timingSafeEqual } from "node:crypto";

// key decodes a secret, which is base64 after whsec_, to a key.
export function key(secret) {
  const text = secret.replace(/^whsec_/, "");
  const bytes = Buffer.from(text, "base64");
  if (bytes.length < 24 || bytes.toString("base64") !== text) throw new Error("SECRET is not whsec_ and base64");
  return bytes;
}

// verify returns 200, or the status of the refusal.
export function verify(headers, body, keys, now = Date.now() / 1000) {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"] ?? "";
  const signatures = headers["webhook-signature"];
  if (!id || !signatures || !/^[0-9]{1,12}$/.test(timestamp)) return 400;
  if (Math.abs(now - Number(timestamp)) > 300) return 401;
  for (const k of keys) {
    const digest = createHmac("sha256", k).update(`${id}.${timestamp}.`).update(body).digest("base64");
    const want = Buffer.from("v1," + digest);
    // During a rotation there are several signatures, separated by spaces.
    for (const text of signatures.split(" ")) {
      const got = Buffer.from(text);
      if (got.length === want.length && timingSafeEqual(got, want)) return 200;
    }
  }
  return 401;
}

// read parses a verified request. The webhook-id is signed, and is the same in every attempt
// of one event.
export function read(headers, body) {
  const { type, data } = JSON.parse(body.toString());
  return { type, data, ids: [headers["webhook-id"]] };
}
