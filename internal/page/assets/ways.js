// Each delivery, from the buffer to its finish, and again.

import { $, Windowed, clock, copy, dialog, h, json, put, span, sure, time, toast } from "./dom.js";
import { act, all, get, may, one, watch } from "./store.js";
import { logLines } from "./life.js";
import { visible } from "./markup.js";

let query = "";
let only = "";

export function ways(root, go, id) {
  const search = h("input", { type: "search", placeholder: "Search text, name, key", "aria-label": "Search messages", value: query, oninput: () => { query = search.value; show(); } });
  const filter = h("select", { "aria-label": "State", onchange: () => { only = filter.value; show(); } },
    [["", "every state"], ["open", "not finished"], ["answered", "answered"], ["waiting", "waiting"], ["dead", "dead"], ["seen before", "seen before"], ["stopped", "stopped"]].map(([v, t]) => h("option", { value: v }, t)));
  filter.value = only;
  const box = h("div", { class: "way-list", tabindex: 0, role: "region", "aria-label": "Messages" });
  const list = new Windowed(box, draw, { guess: 58, label: "Messages" });
  const view = h("section", { class: "way", "aria-label": "One message", tabindex: -1 });
  const open = may("case") && h("label", { class: "button quiet" }, "Open a case file", h("input", { type: "file", accept: ".json,application/json", class: "unseen", onchange: openCase }));
  put(root, h("div", { class: id ? "two one" : "two" },
    h("aside", { class: "side", "aria-label": "Messages" }, h("div", { class: "row" }, h("h2", { class: "grow" }, "Messages"), open), search, filter, box), view));

  function draw(w) {
    return h("article", { class: w.id === id ? "item here" : "item" }, h("button", { type: "button", class: "item-button", "aria-current": w.id === id ? "true" : null, onclick: () => go(`messages/${w.id}`) },
      h("span", { class: "row" }, h("b", { class: "grow ellipsis" }, w.name || "somebody"), state(w.state), time(w.at)),
      h("span", { class: "ellipsis muted" }, visible(w.text || "no text"))));
  }

  function items() {
    const q = query.trim().toLowerCase();
    const fits = (w) => (!q || [w.text, w.name, w.key, w.chat, w.mid, w.buffer, w.why].some((t) => t && t.toLowerCase().includes(q))) &&
      (!only || w.state === only || (only === "open" && ["sent", "buffered", "journalled", "asked", "waiting"].includes(w.state)));
    return [...all("way").values()].filter(fits).sort((a, b) => b.at - a.at);
  }

  let drawnRev = -1;
  function show() {
    list.set(items());
    const w = one("way", id) || [...all("way").values()].find((w) => w.key === id && !w.replayed);
    if (!id) put(view, h("p", { class: "muted pad" }, "Choose a message to see its way: from the buffer, past its journalling and its turn, to the chat."));
    else if (w && w.rev !== drawnRev) {
      drawnRev = w.rev;
      load(w.id);
    }
  }

  async function load(way) {
    try {
      drawWay(view, await get(`/api/way/${encodeURIComponent(way)}`), go);
    } catch (err) {
      put(view, h("p", { class: "why pad" }, err.message));
    }
  }

  async function openCase(e) {
    try {
      const made = await act("case", JSON.parse(await e.target.files[0].text()));
      go(`messages/${made.way}`);
    } catch (err) {
      toast(err.message, true);
    }
    e.target.value = "";
  }

  show();
  const step = (by) => {
    const found = items();
    const at = found.findIndex((w) => w.id === id);
    const next = found[Math.max(0, Math.min(found.length - 1, at + by))];
    if (next) go(`messages/${next.id}`);
  };
  return {
    stop: watch(["way"], show),
    keys: { "/": () => search.focus(), j: () => step(1), k: () => step(-1), r: () => $("[data-replay=same]", view)?.click() },
  };
}

const state = (s) => h("span", { class: `tag s-${s.replace(/ /g, "-")}` }, s);

function drawWay(el, w, go) {
  const replay = async (body, words) => {
    try {
      const made = await act("replay", { way: w.id, ...body });
      toast(words);
      go(`messages/${made.way}`);
    } catch (err) {
      toast(err.message, true);
    }
  };
  const edit = async () => {
    const area = h("textarea", { class: "wide mono", rows: 18, spellcheck: "false", "aria-label": "Event", name: "event" }, JSON.stringify(w.event, null, 2));
    const id = h("select", { name: "id" }, h("option", { value: "new" }, "under a new id"), h("option", { value: "same" }, "under its id"));
    const form = await dialog("Deliver it again, changed", [area, h("label", { class: "field" }, h("span", {}, "Deliver it"), id)], { ok: "Deliver it" });
    if (!form) return;
    try {
      await replay({ new: id.value === "new", event: JSON.parse(area.value) }, "Delivered.");
    } catch (err) {
      toast(`That is no JSON: ${err.message}`, true);
    }
  };
  const keep = async () => {
    const file = JSON.stringify(await get(`/api/case/${w.id}`), null, 1);
    await copy(file + "\n", "The case file");
  };
  const from = w.replayed && one("way", w.replayed);
  put(el,
    h("header", { class: "way-head" }, h("button", { type: "button", class: "quiet back", onclick: () => go("messages"), "aria-label": "All messages" }, "‹"),
      h("div", { class: "grow" }, h("h2", { class: "ellipsis" }, visible(w.text || "no text")), h("div", { class: "row wrap small" }, state(w.state), h("span", { class: "muted" }, w.name, " ", clock(w.at)))),
      h("div", { class: "row wrap" },
        may("replay") && w.event && [
          h("button", { type: "button", data: { replay: "same" }, onclick: () => replay({}, "Delivered again under the same id.") }, "Replay, same id"),
          h("button", { type: "button", onclick: () => replay({ new: true }, "Delivered under a new id.") }, "Replay, new id"),
          h("button", { type: "button", class: "quiet", onclick: edit }, "Edit and replay")],
        w.curl && h("button", { type: "button", class: "quiet", onclick: () => copy(w.curl, "The curl line") }, "Copy as curl"),
        h("button", { type: "button", class: "quiet", onclick: () => keep().catch((err) => toast(err.message, true)) }, "Copy as case file"),
        w.state === "dead" && may("retry") && [
          h("button", { type: "button", class: "main", onclick: () => act("retry", { keys: [w.key] }).then(() => toast("Put back."), (err) => toast(err.message, true)) }, "Retry"),
          h("button", { type: "button", class: "bad", onclick: async () => await sure("Drop this message?", "Its answer and its text are deleted from the table.", "Drop it") && act("drop", { keys: [w.key] }).catch((err) => toast(err.message, true)) }, "Drop")])),
    w.state === "seen before" && h("p", { class: "notice" }, "Seen before: the gateway has recognised it as a repeat. It is acked and not answered again.", from && h("button", { type: "button", class: "quiet", onclick: () => go(`messages/${from.id}`) }, "The first")),
    w.with && h("p", { class: "notice" }, "One turn with others that waited in its session: the last of them has the answer.", h("button", { type: "button", class: "quiet", onclick: () => go(`messages/${w.with}`) }, "The last")),
    w.why && w.state !== "seen before" && h("p", { class: "why" }, w.why, w.next ? h("span", {}, ", next try ", time(w.next)) : ""),
    h("dl", { class: "facts" },
      fact("Key", h("code", {}, w.key || "none yet")), fact("Message id", h("code", {}, w.mid || "none")), fact("Buffer id", h("code", {}, w.buffer || "live")),
      fact("Attempts", w.attempts || 0), w.repeats ? fact("Came again", w.repeats) : null),
    h("h3", {}, "Its way"),
    h("ol", { class: "steps" }, w.steps.map((s) => h("li", { class: s.bad ? "bad" : "" }, h("span", { class: "num muted" }, `+${span(s.at - w.at)}`), h("span", {}, visible(s.text))))),
    h("h3", {}, "Its turn and the answer"),
    w.exchanges.length ? w.exchanges.map((e) => exchange(e)) : h("p", { class: "muted" }, "The agent has not been asked."),
    h("h3", {}, "Actions"),
    w.done.length ? h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Actions" }, h("table", {},
      h("thead", {}, h("tr", {}, ["op", "outcome", "class", "text or error", "message", "request"].map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", {}, w.done.map((d) => h("tr", { class: d.outcome === "ok" ? "" : "bad" }, h("td", {}, d.op), h("td", {}, d.outcome, d.tries > 1 ? ` (${d.tries} tries)` : ""), h("td", {}, d.class || ""),
        h("td", {}, visible(d.error || d.content || "")), h("td", {}, h("code", {}, d.mid || "")), h("td", {}, h("code", {}, (d.request || "").slice(0, 8)))))))) : h("p", { class: "muted" }, "None has been taken."),
    h("h3", {}, "Log lines"), logLines(w.lines),
    w.event && [h("h3", {}, w.forward ? "The request as it came" : "The event as it came"), json(w.event, "The event")]);
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function exchange(e) {
  let answer = e.answer;
  try {
    answer = JSON.parse(e.answer);
  } catch { /* a stream, or no JSON: shown as it is */ }
  return h("div", { class: "pair" },
    h("figure", {}, h("figcaption", {}, `Turn, attempt ${e.attempt}`), json(e.turn, "The turn")),
    h("figure", {}, h("figcaption", {}, e.error && !e.status ? "No answer" : `Answer: HTTP ${e.status}, ${e.type || "no type"}, ${span(e.ms)}`),
      e.error && h("p", { class: "why" }, e.error),
      typeof answer === "string" ? h("pre", { class: "json", tabindex: 0, "aria-label": "The answer" }, visible(answer) || "(empty)") : json(answer, "The answer"),
      e.cut && h("p", { class: "muted" }, "It is longer: the rest is not kept.")));
}
