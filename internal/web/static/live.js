// Keeps a page up to date. The only place that makes HTML of text: the server's own fragments.
const policy = window.trustedTypes ? trustedTypes.createPolicy("posthorn", { createHTML: (s) => s }) : { createHTML: (s) => s };

// parse returns a document for HTML of the server. Its scripts do not run.
export const parse = (html) => new DOMParser().parseFromString(policy.createHTML(html), "text/html");

const one = (q) => document.querySelector(q);
const plain = (el) => { const c = el.cloneNode(true); c.querySelectorAll("time").forEach((t) => t.replaceChildren()); c.querySelectorAll("[hidden]").forEach((t) => t.removeAttribute("hidden")); return c.innerHTML; };

let source, failures = 0, timer, last = 0, seen = "";

// What is said about updates; pages in another language have their own words.
const words = { running: "Updates on", paused: "Updates paused", off: "Updates are off", away: "Store away", large: "There is more to see", stopped: "Logged out", over: "Your session ended. Load the page again.", load: "Load again", ...one("[data-updates]")?.dataset };

const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];

// span says how long so many seconds are, with one or two units.
export function span(s) {
  for (const [big, name, small, part] of units) {
    if (s < big) continue;
    const n = Math.floor(s / big), rest = Math.floor((s % big) / small);
    return n >= 10 || !rest ? `${n} ${name}` : `${n} ${name} ${rest} ${part}`;
  }
  return Math.max(0, Math.floor(s)) + " s";
}

export const say = (text) => { const el = one("[data-said]"); if (el) el.textContent = text; };

function state(text, on) {
  const el = one("[data-updates]");
  if (!el) return;
  el.hidden = false;
  el.textContent = text;
  el.classList.toggle("paused", !on);
}

// off says that updates are off, and offers to load the page again.
function off(text) {
  state(text, false);
  const el = one("[data-updates]"), a = document.createElement("a");
  a.href = location.href;
  a.textContent = words.load;
  a.addEventListener("click", (e) => { e.preventDefault(); location.reload(); });
  el?.append(" · ", a);
}

function part(name, html) {
  const el = document.querySelector(`[data-live="${CSS.escape(name)}"]`);
  if (!el) return;
  const next = document.createElement(el.localName);
  next.innerHTML = policy.createHTML(html);
  if (plain(next) === plain(el) || el.contains(document.activeElement) && document.activeElement.matches("input,select")) return;
  for (const d of el.querySelectorAll("details[data-k]")) {
    const same = next.querySelector(`details[data-k="${CSS.escape(d.dataset.k)}"]`);
    if (same && d.open) same.open = true;
  }
  el.replaceChildren(...next.childNodes);
  document.dispatchEvent(new CustomEvent("changed", { detail: el }));
}

function open() {
  if (source || document.hidden) return;
  const first = one("[data-first]")?.dataset.first;
  source = new EventSource(document.body.dataset.stream + (first ? "&first=" + encodeURIComponent(first) : "") + (seen ? "&seen=" + seen : ""));
  const on = (type, act) => source.addEventListener(type, (e) => act(JSON.parse(e.data)));
  source.onopen = () => { failures = 0; state(words.running, true); };
  source.onerror = () => { close(); later(++failures); };
  on("part", ([name, html]) => part(name, html));
  on("said", (text) => { if (Date.now() - last > 5000) { last = Date.now(); say(text); } });
  on("newer", (n) => {
    const el = one("[data-fresh]");
    if (!el) return;
    el.hidden = n < 1;
    if (el.dataset.single) el.textContent = n === 1 ? el.dataset.single : el.dataset.other.replace("{n}", n > 49 ? "50+" : n);
    else el.textContent = n === 1 ? "1 newer " + el.dataset.fresh + ": show it" : (n > 49 ? "50 or more" : n) + " newer " + el.dataset.many + ": show them";
  });
  on("seen", (word) => { seen = word; }); // of parts that are too large to be sent: after a pause it says whether they are as they were
  on("down", (down) => { const el = one("[data-down]"); if (el) el.hidden = !down; state(down ? words.away : words.running, !down); });
  on("end", (why) => {
    close();
    if (why === "restart") later(1);
    else if (why === "session") { off(words.stopped); say(words.over); document.dispatchEvent(new CustomEvent("ended")); }
    else off(why === "large" ? words.large : words.off); // else at a limit, or what the page shows is gone
  });
}

function close() { source?.close(); source = undefined; }

function later(n) {
  clearTimeout(timer);
  if (n >= 5) return off(words.off);
  state(words.paused, false);
  timer = setTimeout(open, 1000 + Math.random() * 4000);
}

if (document.body.dataset.stream) {
  document.addEventListener("visibilitychange", () => { if (document.hidden) { close(); state(words.paused, false); } else open(); });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (e) => { if (e.persisted) open(); });
  open();
}
