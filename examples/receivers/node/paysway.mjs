// PaySway, in both spellings: one header, X-PaySway-Signature: t=SECONDS,v1=HEX
import { createHmac, timingSafeEqual } from "node:crypto";

// key decodes a secret, which is base64, to a key.
export function key(secret) {
  const bytes = Buffer.from(secret, "base64");
  if (bytes.length < 24 || bytes.toString("base64") !== secret) throw new Error("SECRET is not base64");
  return bytes;
}

// verify returns 200, or the status of the refusal.
export function verify(headers, body, keys, now = Date.now() / 1000) {
  const pairs = (headers["x-paysway-signature"] ?? "").split(",").map((pair) => pair.split("="));
  const values = (name) => pairs.filter((pair) => pair[0] === name).map((pair) => pair[1] ?? "");
  const [timestamp = ""] = values("t");
  const signatures = values("v1"); // several during a rotation
  if (signatures.length === 0 || !/^[0-9]{1,12}$/.test(timestamp)) return 400;
  if (Math.abs(now - Number(timestamp)) > 300) return 401;
  for (const k of keys) {
    const want = Buffer.from(createHmac("sha256", k).update(`${timestamp}.`).update(body).digest("hex"));
    for (const text of signatures) {
      const got = Buffer.from(text);
      if (got.length === want.length && timingSafeEqual(got, want)) return 200;
    }
  }
  return 401;
}

// read parses a verified request. The id in the body is the id of the event.
export function read(headers, body) {
  const { id, eventType, object } = JSON.parse(body.toString());
  return { type: eventType, data: object, ids: [id] };
}
