// Judges requests the way receivers of Stripe and GitHub are told to, each step
// done by hand from their public documentation (Stripe: "Verify webhook signatures
// manually"; GitHub: "Validating webhook deliveries"). Reads one JSON object a line
// {scheme, secret, headers, body (base64)} and answers "ok" or "no REASON".
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
  // Split at the commas, then at the equals signs; sign "t.body" with the whole
  // text of the secret; one of the v1 must be that; the time must be near.
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

  // "sha256=" and the digest of the body; where the older header is there too, it
  // must hold "sha1=" and the older digest.
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
    if (!(e instanceof Refused)) throw e; // a broken verifier must not pass for a refusal
    process.stdout.write("no " + e.message + "\n");
  }
});
