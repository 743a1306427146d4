// Verifies requests by the steps in the public documentation of Stripe ("Verify webhook
// signatures manually") and GitHub ("Validating webhook deliveries"). Reads one JSON object
// per line, {scheme, secret, headers, body (base64)}, and prints "ok" or "no REASON" for
// each.
"use strict";

const crypto = require("node:crypto");
const readline = require("node:readline");

const toleranceSeconds = 300;

class Refused extends Error {}

function sameText(a, b) {
  const x = Buffer.from(a);
  const y = Buffer.from(b);
  return x.length === y.length && crypto.timingSafeEqual(x, y);
}

function hmac(algorithm, secret, ...parts) {
  const mac = crypto.createHmac(algorithm, secret);
  for (const part of parts) mac.update(part);
  return mac.digest("hex");
}

const schemes = {
  // Split at the commas, then at the equals signs. Sign "t.body" with the entire text of the
  // secret. One of the v1 values must match, and the time must be close.
  stripe({ secret, headers, body }) {
    let t;
    const signatures = [];
    for (const pair of (headers["x-acme-signature"] || "").split(",")) {
      const [prefix, value] = pair.split("=");
      if (prefix === "t") t = value;
      if (prefix === "v1") signatures.push(value || "");
    }
    if (!t || signatures.length === 0) throw new Refused("header without t or v1");
    const want = hmac("sha256", secret, t, ".", body);
    if (!signatures.some((got) => sameText(got, want))) throw new Refused("signature differs");
    if (!(Math.abs(Date.now() / 1000 - Number(t)) <= toleranceSeconds)) throw new Refused("too old or too new");
  },

  // "sha256=" and the digest of the body. If the older header is present, it must contain
  // "sha1=" and the older digest.
  github({ secret, headers, body }) {
    const got = headers["x-acme-signature-256"] || "";
    if (!sameText(got, "sha256=" + hmac("sha256", secret, body))) throw new Refused("signature differs");
    const older = headers["x-acme-signature"];
    if (older !== undefined && !sameText(older, "sha1=" + hmac("sha1", secret, body))) throw new Refused("older signature differs");
  },
};

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on("line", (line) => {
  const request = JSON.parse(line);
  request.body = Buffer.from(request.body, "base64");
  try {
    schemes[request.scheme](request);
    process.stdout.write("ok\n");
  } catch (e) {
    if (!(e instanceof Refused)) throw e; // a broken verifier must not look like a refusal
    process.stdout.write("no " + e.message + "\n");
  }
});
