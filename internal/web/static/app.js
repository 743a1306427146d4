// Adds to pages that work without it: copying, times, shortcuts, questions, ticked rows.
import { parse, say, span } from "./live.js";

const all = (q, in_ = document) => in_.querySelectorAll(q);
const one = (q, in_ = document) => in_.querySelector(q);

// Times: relative ones go on, exact ones are local.
function relative(t) {
  const s = (Date.parse(t.dateTime) - Date.now()) / 1000;
  return s > 0 ? "in " + span(s) : span(-s) + " ago";
}
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const whole = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
function times(in_ = document) {
  for (const t of all("time[datetime]", in_)) {
    if (!t.dataset.exact) { t.dataset.exact = t.title; t.title = whole.format(new Date(t.dateTime)) + " · " + t.title; }
    if (/ ago$|^in /.test(t.textContent)) { const r = relative(t); if (t.textContent !== r) t.textContent = r; }
  }
  for (const c of all("[data-clock]", in_)) if (!c.dataset.local && !/ /.test(c.textContent)) { c.dataset.local = "1"; c.textContent = clock.format(new Date(c.dataset.clock)); }
}
for (const el of all("[data-zone],[data-zonefact]")) el.textContent = "Times are local (" + zone + "); point at one for UTC";
setInterval(() => document.hidden || times(), 1000);

// Copying. Without a secure context there is no clipboard, and no button.
function copies(in_ = document) { if (navigator.clipboard) for (const b of all("[data-copy]", in_)) b.hidden = false; }
document.addEventListener("click", async (e) => {
  const b = e.target.closest?.("[data-copy]");
  if (!b) return;
  try { await navigator.clipboard.writeText(b.dataset.from ? document.getElementById(b.dataset.from).textContent : b.dataset.copy || location.href); say("Copied"); b.classList.add("did"); setTimeout(() => b.classList.remove("did"), 1500); } catch { say("Copying was refused by the browser"); }
});

// Questions in a dialog instead of a page of their own.
let opener;
document.addEventListener("click", async (e) => {
  const a = e.target.closest?.("a[data-ask]");
  if (!a || e.metaKey || e.ctrlKey || e.shiftKey || e.button) return;
  e.preventDefault();
  try {
    const answer = await fetch(a.href, { headers: { Accept: "text/html" } });
    const page = parse(await answer.text()), ask = one(".ask", page), h = one("h1", page);
    if (!answer.ok || answer.redirected || !ask) throw 0;
    const d = document.createElement("dialog");
    h.id = "ask";
    d.setAttribute("aria-labelledby", "ask");
    d.append(h, ask);
    const back = one(".actions > a", ask);
    back?.addEventListener("click", (x) => { x.preventDefault(); d.close(); });
    d.addEventListener("close", () => { d.remove(); opener?.focus(); });
    opener = a;
    document.body.append(d);
    d.showModal();
  } catch { location.href = a.href; }
});

// Ticked rows.
const every = one("[data-all]");
if (every) {
  every.hidden = false;
  const boxes = [...all("tbody input[name=id]")];
  every.addEventListener("change", () => boxes.forEach((b) => { b.checked = every.checked; }));
}

// On narrow screens the navigation and the tabs are rows that scroll.
for (const a of all(".side [aria-current],.tabs [aria-current]")) a.scrollIntoView({ block: "nearest", inline: "center" });

// Shortcuts.
const base = document.body.dataset.base, go = { o: "", e: "events", d: "deliveries", p: "endpoints", t: "tenants", r: "replays" };
const off = () => localStorage.getItem("posthorn-keys") === "off";
let g = 0, row = -1;
function move(step) {
  const rows = [...all("main tbody tr")].filter((r) => one("a.main", r));
  if (!rows.length) return;
  row = Math.max(0, Math.min(rows.length - 1, row + step));
  one("a.main", rows[row]).focus();
}
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest?.("input,select,textarea,dialog") || off()) return;
  const k = e.key, after = Date.now() - g < 1500;
  g = 0;
  if (after && k in go) location.href = base + go[k];
  else if (k === "g") g = Date.now();
  else if (k === "/") { one("#q")?.focus(); e.preventDefault(); }
  else if (k === ".") { one(".filters input:not([type=hidden])")?.focus(); e.preventDefault(); }
  else if (k === "?") location.href = base + "shortcuts";
  else if (k === "j") move(1);
  else if (k === "k") move(-1);
  else if (k === "r") { const f = one("[data-shortcut=r]"); if (f && confirm("Retry this delivery now?")) f.requestSubmit(); }
});
const keys = one("[data-keys]");
if (keys) {
  const name = () => { keys.textContent = off() ? "Turn shortcuts on" : "Turn shortcuts off"; };
  keys.hidden = false;
  keys.addEventListener("click", () => { localStorage.setItem("posthorn-keys", off() ? "on" : "off"); name(); });
  name();
}

// A press counts once, and the choice of a form leads to its page.
document.addEventListener("submit", (e) => {
  if (e.target.method !== "post" || e.defaultPrevented) return;
  if (e.target.dataset.sent) return e.preventDefault();
  e.target.dataset.sent = "1";
  setTimeout(() => document.body.classList.add("busy"), 300); // a thin bar, until the next page is here
  setTimeout(() => { delete e.target.dataset.sent; }, 4000);
});

// The end of the session is said two minutes before, and one press makes an idle one go on.
const ending = one("[data-ending]");
if (ending) {
  const key = "posthorn-session", form = one("form", ending), start = Date.now();
  let idle = start + Number(ending.dataset.idle), hard = start + Number(ending.dataset.hard), said = "";
  const other = () => { try { return Number(localStorage.getItem(key)) || 0; } catch { return 0; } };
  const share = () => { try { localStorage.setItem(key, idle); } catch { /* each tab for itself */ } };
  const check = () => {
    const end = Math.min(hard, Math.max(idle, other())), left = end - Date.now(); // other tabs use the session too
    const what = left > 120000 ? "" : left <= 0 ? "over" : end === hard ? "hard" : "idle";
    if (what === said) return;
    said = what;
    ending.hidden = !what;
    form.hidden = what !== "idle";
    for (const p of all("[data-end]", ending)) if (!(p.hidden = p.dataset.end !== what)) say(p.textContent);
  };
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    try {
      const answer = await fetch(form.action, { method: "POST", headers: { Accept: "text/plain" } });
      if (answer.redirected || !answer.ok) throw 0;
      const [i, h] = (await answer.text()).split(" ");
      idle = Date.now() + Number(i); hard = Date.now() + Number(h);
      share(); check();
      say("The session goes on");
    } catch { location.reload(); }
  });
  share();
  setInterval(check, 1000);
}

addEventListener("pageshow", () => document.body.classList.remove("busy"));

document.addEventListener("changed", (e) => { times(e.detail); copies(e.detail); });
times();
copies();
