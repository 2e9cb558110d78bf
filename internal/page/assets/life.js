// What the gateway is doing, and how it came to that: drains, drawn from what really happened.

import { clock, h, keyed, money, put, span, svg, time, toast } from "./dom.js";
import { act, all, get, may, one, watch } from "./store.js";

export const words = {
  asleep: "Nothing runs and nothing is paid for. The connector keeps what comes, and pokes.",
  waking: "A poke came: drain starts, proves itself and dials.",
  connected: "The link is up: messages are journalled, answered and acked.",
  "going idle": "It has asked the connector to buffer, and serves on until that is acknowledged.",
  disabled: "The connector refused it for good. Nothing is dialled until somebody enables it in the books.",
};

// phases are what a drain's time goes to: from one mark to another.
const phases = [
  ["asking", "poke", ["lease", "start"], "from the poke to the lease"],
  ["init", "init", ["start"], "init of a cold start"],
  ["linking", "lease", ["descriptor"], "from the lease to the descriptor"],
  ["working", "descriptor", ["last"], "messages and replies"],
  ["lingering", "last", ["going_idle"], "waits for more to come"],
  ["leaving", "going_idle", ["freeze"], "going idle, closing, freezing"],
];

let chosen = null;

export function life(root) {
  const now = h("section", { class: "card", "aria-label": "Now" });
  const list = h("ul", { class: "drain-list" });
  const view = h("section", { class: "card grow", "aria-label": "Drain" });
  const charts = h("section", { class: "charts", "aria-label": "Metrics" });
  const quiet = h("input", { type: "checkbox", onchange: () => show() });
  const trouble = h("p", { class: "why", role: "status" });
  put(root, h("div", { class: "stack pad" }, trouble, now, charts,
    h("div", { class: "split" },
      h("section", { class: "card side-list", "aria-label": "Drains" }, h("h2", {}, "Drains"), h("label", { class: "small muted" }, quiet, " with those that had nothing to do"), list),
      view)));

  const none = h("p", { class: "muted" }, "No drain has run yet.");
  list.after(none);
  let drawn = 0, last = "", lines;

  function show(changed) {
    if (!changed || changed.has("now") || changed.has("books")) drawNow(now);
    if (!changed || changed.has("charts")) drawCharts(charts);
    const why = one("page", "page")?.trouble || "";
    if (trouble.textContent !== why) trouble.textContent = why;
    trouble.hidden = !why;
    const drains = [...all("drain").values()].sort((a, b) => b.begun - a.begun);
    const wanted = drains.filter((d) => quiet.checked || !idle(d));
    const at = one("drain", chosen) || wanted[0];
    keyed(list, wanted, (d) => d.id, (d) => {
      const words = [clock(d.begun), d.ended ? d.status || "ended" : "runs", `${d.reason || "poke"}${d.cold ? ", cold" : ""}, ${d.turns === 1 ? "1 turn" : `${d.turns || 0} turns`}`];
      return [JSON.stringify([words, d === at, d.error]), () => h("li", {},
        h("button", { type: "button", class: d === at ? "item here" : "item", "aria-current": d === at ? "true" : null, data: { drain: d.id }, onclick: () => { chosen = d.id; show(); } },
          h("span", {}, words[0]), h("span", { class: d.error ? "tag bad" : "tag" }, words[1]), h("span", { class: "muted small" }, words[2])))];
    });
    none.hidden = wanted.length > 0;
    if (!at) put(view, h("p", { class: "muted" }, "Write something in a chat, and the gateway is poked."));
    else if (at.rev !== drawn) {
      if (last !== at.id) {
        last = at.id;
        lines = h("details", { ontoggle: (e) => e.target.open && showLines(e.target, at) }, h("summary", {}, "Log lines of this drain"), h("div", { class: "lines" }));
      }
      drawn = at.rev;
      drawDrain(view, at, lines);
    }
  }
  show();
  const stop = watch(["now", "drain", "charts", "books", "page"], show);
  return { stop, keys: {} };
}

const idle = (d) => d.ended && !d.turns && !d.received && !d.error && ["schedule", ""].includes(d.reason || "") ;

let nowMade = "";
function drawNow(el) {
  const made = JSON.stringify([one("now", "now"), one("books", "books")?.sweep, one("books", "books")?.sweep_why]);
  if (made === nowMade && el.firstChild) return;
  nowMade = made;
  const now = one("now", "now") || { word: "asleep", cost: {} };
  const c = now.cost || {};
  const books = one("books", "books");
  put(el,
    h("div", { class: "row wrap" },
      h("div", { class: "grow" },
        h("h2", { class: `word w-${now.word.replace(" ", "-")}` }, now.word), now.since ? h("span", { class: "muted" }, " since ", time(now.since)) : null,
        h("p", {}, words[now.word]), now.why && h("p", { class: "why" }, now.why),
        now.buffered ? h("p", {}, `${now.buffered} ${now.buffered === 1 ? "message waits" : "messages wait"} with the connector.`) : null,
        books?.sweep ? h("p", { class: "muted small" }, "Next sweep: ", time(books.sweep), books.sweep_why ? `, ${books.sweep_why}` : "") : null,
        el.tools ||= h("div", { class: "row" },
          may("schedule") && h("button", { type: "button", onclick: () => act("schedule").catch((e) => toast(e.message, true)) }, "Let the schedule fire"),
          may("arm") && h("button", { type: "button", class: "quiet", onclick: () => act("arm").catch((e) => toast(e.message, true)) }, "Look now (arm)"))),
      h("dl", { class: "facts" },
        fact("Cost so far", money(c.dollars || 0)), fact("Drains", c.drains || 0), fact("Function time", span((c.seconds || 0) * 1000)),
        fact("of it init", span((c.init_seconds || 0) * 1000)), fact("of it lingering", span((c.linger_seconds || 0) * 1000)),
        c.writes || c.reads ? fact("Table units", `${Math.round(c.writes || 0)} written, ${Math.round(c.reads || 0)} read`) : null)),
    h("p", { class: "muted small" }, `List prices in us-east-1, beyond the free tier, with init and linger counted; the time is ${one("page", "page")?.deployed ? "what Lambda reports" : "this machine's"}.`));
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function drawDrain(el, d, lines) {
  const start = d.begun;
  const end = Math.max(d.ended || Date.now(), ...d.marks.map((m) => m.at));
  put(el,
    h("div", { class: "row wrap" }, h("h2", { class: "grow" }, `Drain of ${clock(d.begun)}`),
      h("span", { class: "tag" }, d.cold ? "cold start" : d.ended ? "warm start" : "runs"), d.status && h("span", { class: d.error ? "tag bad" : "tag" }, d.status)),
    d.error && h("p", { class: "why" }, d.error),
    h("dl", { class: "facts" },
      fact("Reason", d.reason || "poke"), fact("From poke to freeze", span(end - start)), d.init_ms ? fact("Init", span(d.init_ms)) : null,
      fact("Billed", span((d.run_ms || 0) + (d.init_ms || 0))), fact("Lingered", span(d.linger_ms || 0)), fact("Cost", money(d.cost?.dollars || 0)),
      fact("Turns", d.turns || 0), fact("Actions", d.replies || 0)),
    bar(d, start, end),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Timeline" }, h("table", { class: "timeline" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "num" }, "ms"), h("th", { scope: "col" }, "who"), h("th", { scope: "col" }, "what"))),
      h("tbody", {}, d.marks.map((m) => h("tr", { class: m.bad ? "bad" : "" }, h("td", { class: "num" }, (m.at - start).toFixed(m.at - start < 100 ? 1 : 0)),
        h("td", {}, h("span", { class: `who ${m.who}` }, m.who)), h("td", {}, m.text, m.n ? ` (and ${m.n - 1} more)` : "")))))),
    lines);
}

async function showLines(el, d) {
  try {
    put(el.querySelector(".lines"), logLines(await get(`/api/drain/${d.id}/lines`)));
  } catch (err) {
    toast(err.message, true);
  }
}

// logLines are lines of functions' logs.
export function logLines(lines) {
  return h("div", { class: "scroll log", tabindex: 0, role: "region", "aria-label": "Log lines" }, h("ul", {}, lines.map((l) => h("li", { class: `l-${String(l.level).toLowerCase()}` },
    h("details", {}, h("summary", {}, h("span", { class: "muted" }, `${clock(Date.parse(l.timestamp))} ${l.function} ${l.level} `), l.message, l.error ? `: ${l.error}` : ""),
      h("pre", { tabindex: 0, "aria-label": "the whole line" }, JSON.stringify(l.raw, null, 1)))))), !lines.length && h("p", { class: "muted" }, "No line is kept."));
}

// bar draws where the time went. Its axis is the square root of time, so that milliseconds are seen beside seconds.
function bar(d, start, end) {
  const first = (what) => d.marks.find((m) => m.what === what)?.at;
  const at = { last: Math.max(...d.marks.filter((m) => ["inbound", "ack", "reply", "turn"].includes(m.what)).map((m) => m.at), first("descriptor") || 0) };
  const moment = (what) => (what === "last" ? at.last || undefined : what === "going_idle" ? d.marks.findLast((m) => m.what === what)?.at : first(what));
  const total = Math.max(1, end - start);
  const x = (ms) => 1000 * Math.sqrt(Math.max(0, ms - start) / total);
  const rows = [];
  for (const [name, from, tos, words] of phases) {
    const a = moment(from);
    const b = tos.map(moment).find((t) => t) || (name === "working" || name === "lingering" ? undefined : d.ended ? undefined : end);
    if (a && b && b >= a) rows.push([name, a, b, words]);
  }
  const height = rows.length * 22 + 26;
  const ticks = [1, 10, 100, 1000, 5000, 15_000, 60_000].filter((ms) => ms < total && x(start + ms) > 20);
  return h("figure", { class: "bar" }, svg("svg", { viewBox: `0 0 1000 ${height}`, role: "img", "aria-label": rows.map(([, a, b, words]) => `${words}: ${span(b - a)}`).join("; ") || "no step was seen" },
    ticks.map((ms) => [svg("line", { x1: x(start + ms), x2: x(start + ms), y1: 0, y2: height - 18, class: "tick" }), svg("text", { x: x(start + ms), y: height - 4, class: "tick-text", "text-anchor": "middle" }, span(ms))]),
    rows.map(([name, a, b], i) => svg("rect", { x: x(a), y: i * 22 + 3, width: Math.max(3, x(b) - x(a)), height: 16, rx: 3, class: `phase p-${name}` }))),
  h("figcaption", { class: "legend" }, rows.map(([name, a, b, words]) => h("span", {}, h("i", { class: `swatch p-${name}`, "aria-hidden": "true" }), `${words} ${span(b - a)}`))));
}

function drawCharts(el) {
  const list = one("charts", "charts") || [];
  put(el, list.map((c) => {
    const values = c.points.map((p) => p[1]);
    const top = Math.max(...values, 1e-9);
    const from = c.points[0]?.[0] || 0;
    const width = Math.max(1, (c.points.at(-1)?.[0] || 1) - from);
    const path = c.points.map((p, i) => `${i ? "L" : "M"}${(300 * (p[0] - from)) / width} ${60 - (56 * p[1]) / top}`).join("");
    return h("figure", { class: "card chart" }, h("figcaption", {}, c.title, h("b", {}, ` ${values.at(-1) ?? "-"} ${c.unit || ""}`)),
      svg("svg", { viewBox: "0 0 300 62", role: "img", "aria-label": `${c.title}: at most ${top} ${c.unit || ""}` }, svg("path", { d: path || "M0 0", class: "line" })));
  }));
}
