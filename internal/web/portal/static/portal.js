// What scripts add to the portal: messages to the page around the frame, copying, and links
// that open by themselves. live.js keeps pages up to date. Every page works without.
import { span } from "./live.js";

const body = document.body;
const origins = (body.dataset.origins || "").split(" ").filter(Boolean);
const framed = window.parent !== window;

// say sends a message to each allowed origin by name; a page of another origin gets nothing.
function say(message) {
  if (!framed) return;
  const around = window.location.ancestorOrigins && window.location.ancestorOrigins[0];
  for (const origin of origins) {
    if (!around || around === origin) window.parent.postMessage({ posthorn: 1, ...message }, origin);
  }
}

window.addEventListener("message", (e) => {
  if (!framed || e.source !== window.parent || !origins.includes(e.origin)) return;
  const m = e.data;
  if (m && m.posthorn === 1 && m.type === "theme" && (m.mode === "light" || m.mode === "dark")) {
    document.documentElement.dataset.theme = m.mode;
    // For the pages that follow. Storage may be blocked in a frame; a partitioned cookie is not.
    document.cookie = location.protocol === "https:" ? `__Host-pht=${m.mode}; Path=/; Max-Age=86400; Secure; SameSite=None; Partitioned` : `pht=${m.mode}; Path=/; Max-Age=86400; SameSite=Lax`;
  }
});

const ended = document.querySelector("[data-ended]");
if (ended) {
  const reason = ended.dataset.ended;
  say(reason === "blocked" ? { type: "blocked" } : { type: "ended", reason });
} else {
  say({ type: "ready" });
}
const path = "/" + location.pathname.split("/").slice(3).join("/");
if (!ended && location.pathname.split("/")[2] !== "enter") say({ type: "page", path });

let told = 0, waiting = false;
function height() {
  const px = Math.ceil(document.documentElement.getBoundingClientRect().height);
  if (px !== told) { told = px; say({ type: "height", px }); }
}
if (framed && window.ResizeObserver) {
  new ResizeObserver(() => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; height(); }, 100);
  }).observe(document.documentElement);
}

const expires = body.dataset.left ? Date.now() + Number(body.dataset.left) : 0; // by this clock, which may be wrong
if (expires) {
  const notice = document.getElementById("expiring");
  const at = (ms, run) => { if (ms > 0 && ms < 2 ** 31) setTimeout(run, ms); };
  const left = expires - Date.now();
  const soon = () => say({ type: "expiring", in: Math.max(0, Math.round((expires - Date.now()) / 1000)) });
  if (left > 0 && left <= 300000) soon(); else at(left - 300000, soon);
  const warn = () => { notice.hidden = false; document.getElementById("said").textContent = notice.textContent.trim(); };
  if (left > 0 && left <= 120000) warn(); else at(left - 120000, warn);
  at(left, () => { say({ type: "ended", reason: "expired" }); });
}

document.addEventListener("ended", () => { if (Date.now() < expires) say({ type: "ended", reason: "revoked" }); });

for (const button of document.querySelectorAll("[data-copy]")) {
  const from = document.getElementById(button.dataset.copy);
  if (!navigator.clipboard || !from) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(from.textContent);
      document.getElementById("said").textContent = button.dataset.done;
      const word = button.querySelector("span");
      if (word) word.textContent = button.dataset.done; else button.title = button.dataset.done;
    } catch {
      getSelection().selectAllChildren(from);
    }
  });
}

// Relative times go on. Their words come from the page, such as "vor {span}".
const before = (body.dataset.ago || "").split("{span}"), after = (body.dataset.in || "").split("{span}");
const within = (text, [start, end]) => text.startsWith(start) && text.endsWith(end) && /\d/.test(text);
function times() {
  for (const t of document.querySelectorAll("time[datetime]")) {
    if (!within(t.textContent, before) && !within(t.textContent, after)) continue; // an exact time, or a word
    const s = (Date.parse(t.dateTime) - Date.now()) / 1000;
    const text = s > 0 ? after.join(span(s)) : before.join(span(-s));
    if (t.textContent !== text) t.textContent = text;
  }
}
if (body.dataset.ago) setInterval(() => { if (!document.hidden) times(); }, 1000);

// Readers go on at what became of the form that was sent.
const became = document.querySelector("main .note[role]:not([hidden])");
if (became) {
  became.tabIndex = -1;
  became.focus({ preventScroll: true });
}

// Where the menu and the tabs scroll, what is current is seen.
for (const here of document.querySelectorAll(".pnav [aria-current], .tabs [aria-current]")) {
  const row = here.closest("nav");
  row.scrollLeft += here.getBoundingClientRect().right - row.getBoundingClientRect().right + 24;
}

const press = document.querySelector("form[data-press]");
if (press) press.requestSubmit();
