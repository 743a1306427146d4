// Verifies requests as a receiver does. Reads one JSON object per line from standard input,
// {scheme, secret, headers, body (base64)}, and prints one line for each: "ok", or "no " and
// the reason.
//
// standard uses the library that receivers install. paysway and paywise have no library, so
// the steps that their documentation gives are implemented here with node:crypto.
"use strict";

const crypto = require("node:crypto");
const readline = require("node:readline");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

const toleranceSeconds = 300;

class Refused extends Error {}

function sameText(a, b) {
  const x = Buffer.from(a);
  const y = Buffer.from(b);
  return x.length === y.length && crypto.timingSafeEqual(x, y);
}

const schemes = {
  standard({ secret, headers, body }) {
    try {
      new Webhook(secret).verify(body, headers, { jsonParse: false });
    } catch (e) {
      if (e instanceof WebhookVerificationError) throw new Refused(e.message);
      throw e;
    }
  },

  // PaySway: split the header, take t and v1, sign "t.body" with the decoded secret, compare,
  // then check the age.
  paysway({ secret, headers, body }) {
    let t, v1;
    for (const pair of (headers["x-paysway-signature"] || "").split(",")) {
      const [key, value] = pair.split("=");
      if (key === "t") t = value;
      if (key === "v1") v1 = value;
    }
    if (!t || !v1) throw new Refused("header without t or v1");
    const want = crypto
      .createHmac("sha256", Buffer.from(secret, "base64"))
      .update(t + ".")
      .update(body)
      .digest("hex");
    if (!sameText(want, v1)) throw new Refused("signature differs");
    if (!(Math.abs(Date.now() / 1000 - Number(t)) <= toleranceSeconds)) throw new Refused("too old or too new");
  },

  // paywise: the body alone, signed with the secret's text.
  paywise({ secret, headers, body }) {
    const want = "sha256=" + crypto.createHmac("sha256", secret).update(body).digest("hex");
    if (!sameText(want, headers["x-paywise-signature"] || "")) throw new Refused("signature differs");
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
