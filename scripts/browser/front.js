// A TLS proxy in front of a server, as platforms have one, and pages of platforms that show the
// portal in a frame. Every host name leads to loopback; the certificate is thrown away.
import { execFileSync } from "node:child_process";
import { createServer } from "node:https";
import { request } from "node:http";
import { get } from "node:https";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// What a browser needs to find the hosts. phaseout sends no third-party cookies but partitioned ones.
export const hosts = ["--host-resolver-rules=MAP *.example 127.0.0.1"];
export const phaseout = [...hosts, "--test-third-party-cookie-phaseout"];

export class Front {
  strip = false; // of the cookies' Partitioned, for controls

  static async start() {
    const f = new Front(), dir = mkdtempSync(join(tmpdir(), "posthorn-front."));
    const [key, cert] = [join(dir, "key"), join(dir, "cert")];
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=example"], { stdio: "ignore" });
    f.server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (q, a) => (q.headers.host === f.portalHost ? f.pass(q, a) : f.platform(q, a)));
    rmSync(dir, { recursive: true });
    await new Promise((done) => f.server.listen(0, "127.0.0.1", done));
    f.port = f.server.address().port;
    f.portalHost = `webhooks.shop.example:${f.port}`;
    f.url = "https://" + f.portalHost;
    return f;
  }

  // origin returns the origin of a platform, such as origin("app.bank").
  origin(name) { return `https://${name}.example:${this.port}`; }

  pass(q, a) {
    const on = request({ host: "127.0.0.1", port: this.target, method: q.method, path: q.url, headers: q.headers }, (b) => {
      const headers = { ...b.headers };
      if (this.strip && headers["set-cookie"]) headers["set-cookie"] = headers["set-cookie"].map((c) => c.replace("; Partitioned", ""));
      a.writeHead(b.statusCode, headers);
      b.pipe(a);
    });
    on.on("error", () => a.destroy());
    a.on("close", () => on.destroy());
    q.pipe(on);
  }

  // platform is a page with a frame, which keeps the messages of the frame.
  platform(q, a) {
    const src = new URL(q.url, "https://x").searchParams.get("src") ?? "about:blank";
    a.writeHead(200, { "Content-Type": "text/html" }).end(`<!doctype html><title>A platform</title><link rel="icon" href="data:,"><h1>A platform</h1>
<script>window.heard = []; addEventListener("message", (e) => { if (e.origin === "${this.url}") heard.push(e.data); });</script>
<iframe id="webhooks" title="Webhooks" width="1000" height="800" allow="clipboard-write" referrerpolicy="origin" src="${src.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}"></iframe>`);
  }

  // look gets a path of the portal without a browser, as a scanner of mail does.
  look(url) {
    return new Promise((done, fail) => get({ host: "127.0.0.1", port: this.port, path: new URL(url).pathname, headers: { Host: this.portalHost }, rejectUnauthorized: false }, (b) => {
      let text = "";
      b.on("data", (d) => (text += d));
      b.on("end", () => done({ status: b.statusCode, cookies: b.headers["set-cookie"] ?? [], text }));
    }).on("error", fail));
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
