// paywise: one header, X-Paywise-Signature: sha256=HEX, over the body alone.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

// key returns the bytes of the secret's text. The secret is not decoded.
export function key(secret) {
  if (secret.length < 24) throw new Error("SECRET is too short");
  return Buffer.from(secret);
}

// verify returns 200, or the status of the refusal.
export function verify(headers, body, keys) {
  const got = Buffer.from(headers["x-paywise-signature"] ?? "");
  if (!headers["x-paywise-delivery-id"] || !got.toString().startsWith("sha256=")) return 400;
  for (const k of keys) {
    const want = Buffer.from("sha256=" + createHmac("sha256", k).update(body).digest("hex"));
    if (got.length === want.length && timingSafeEqual(got, want)) return 200;
  }
  return 401;
}

// read parses a verified request. paywise signs neither the delivery id nor a time, so
// anyone who recorded a request could send it again under another id. The receiver therefore
// also remembers the digest of the body.
export function read(headers, body) {
  const { event, data } = JSON.parse(body.toString());
  const digest = createHash("sha256").update(body).digest("hex");
  return { type: event, data, ids: [headers["x-paywise-delivery-id"], "body:" + digest] };
}
