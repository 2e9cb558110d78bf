// What the table has: what waits, what is dead, who has the lease, and what is in force.

import { h, put, sure, time, toast } from "./dom.js";
import { act, all, may, one, watch } from "./store.js";
import { visible } from "./markup.js";

export function books(root, go) {
  const chosen = new Set();
  const body = h("div", { class: "stack pad" });
  let drawn = "";
  put(root, body);
  const run = (name, keys, more = {}) => act(name, { keys, ...more }).then((done) => toast(`${done.done} ${name === "drop" ? "dropped" : "put back"}.`), (err) => toast(err.message, true)).then(() => { chosen.clear(); show(); });
  const drop = async (keys) => (await sure(keys.length === 1 ? "Drop this message?" : `Drop ${keys.length} messages?`, "Their texts and answers are deleted from the table. A redelivery is still recognised.", "Drop")) && run("drop", keys);

  function show() {
    const b = one("books", "books");
    if (!b) {
      put(body, h("h2", {}, "Books"), h("p", { class: "muted" }, "The table has not been read yet."));
      return;
    }
    const made = JSON.stringify([b, [...chosen], questions().map((m) => [m.id, m.pressed])]);
    if (made === drawn) return;
    drawn = made;
    for (const key of chosen) if (!b.dead.some((d) => d.key === key)) chosen.delete(key);
    const focused = body.contains(document.activeElement) && document.activeElement.dataset.focus;
    put(body,
      h("h2", {}, "Books"), b.error && h("p", { class: "why" }, `The table cannot be read: ${b.error}`),
      h("section", { class: "card", "aria-label": "The gateway" }, h("dl", { class: "facts" },
        fact("Lease", b.held ? ["held by ", h("code", {}, b.holder), ", until ", time(b.until)] : "free"),
        fact("Next sweep", b.asked ? "at the schedule's next firing: somebody asked" : b.sweep ? [time(b.sweep), b.sweep_why ? `: ${b.sweep_why}` : ""] : "at the schedule's next firing"),
        fact("Last drain", b.ended ? [b.last_status || "ended", ", ", time(b.ended)] : "never"),
        fact("Questions open", b.questions), fact("Not finished", b.pending), fact("Dead", b.dead.length),
        fact("Known to the connector as", b.gateway ? h("code", {}, b.gateway) : "nobody yet"),
        b.refused && Object.keys(b.refused).length ? fact("Refused in the last drain", Object.entries(b.refused).map(([c, n]) => `${n} ${c}`).join(", ")) : null),
      b.last_error && b.last_error !== b.disabled_by && h("p", { class: "why" }, b.last_error),
      b.disabled && h("div", { class: "notice" }, h("b", {}, "Disabled. "), b.disabled_by || "", may("enable") && h("button", { type: "button", class: "main", onclick: () => act("enable").then(() => toast("Enabled."), (err) => toast(err.message, true)) }, "Enable"))),
      h("section", { class: "card", "aria-labelledby": "b-waiting" }, h("h3", { id: "b-waiting" }, `Waiting (${b.waiting.length})`),
        table(["message", "state", "reason", "waits since", "tries", "next try"], b.waiting.map((w) => [way(w), w.state, visible(w.reason || "its turn"), w.since ? time(w.since) : "", w.tries || 0, w.next ? time(w.next) : "at once"]), "Nothing waits.")),
      h("section", { class: "card", "aria-labelledby": "b-dead" },
        h("div", { class: "row wrap" }, h("h3", { id: "b-dead", class: "grow" }, `Dead (${b.dead.length})`),
          b.dead.length > 0 && may("retry") && [
            h("button", { type: "button", data: { focus: "retry-some" }, disabled: !chosen.size, onclick: () => run("retry", [...chosen]) }, `Retry ${chosen.size || "chosen"}`),
            h("button", { type: "button", data: { focus: "retry-all" }, onclick: () => run("retry", b.dead.map((d) => d.key)) }, "Retry all"),
            h("button", { type: "button", class: "quiet", data: { focus: "ask-all" }, onclick: () => run("retry", b.dead.map((d) => d.key), { ask: true }) }, "Retry all, ask anew"),
            h("button", { type: "button", class: "bad", data: { focus: "drop-some" }, onclick: () => drop(chosen.size ? [...chosen] : b.dead.map((d) => d.key)) }, chosen.size ? `Drop ${chosen.size}` : "Drop all")]),
        table(["", "message", "reason", "died", "attempts", ""], b.dead.map((d) => [
          h("input", { type: "checkbox", "aria-label": `Choose ${d.text || d.key}`, checked: chosen.has(d.key), data: { focus: `c-${d.key}` }, onchange: (e) => { e.target.checked ? chosen.add(d.key) : chosen.delete(d.key); show(); } }),
          way(d), visible(d.reason), time(d.died), d.attempts,
          may("retry") && h("span", { class: "row" }, h("button", { type: "button", "aria-label": `Retry ${d.text || d.key}`, onclick: () => run("retry", [d.key]) }, "Retry"),
            h("button", { type: "button", class: "quiet", "aria-label": `Drop ${d.text || d.key}`, onclick: () => drop([d.key]) }, "Drop"))]), "Nothing is dead.")),
      h("section", { class: "card", "aria-labelledby": "b-questions" }, h("h3", { id: "b-questions" }, "Questions"),
        table(["question", "chat", "answers", "state"], questions().map((m) => [visible(m.text || ""), one("chat", m.chat)?.name || m.chat, m.buttons.map((x) => x.label).join(", "), m.pressed ? `answered by ${m.pressed_by}` : "open"]), "No question was asked here.")));
    if (focused) body.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  const way = (d) => (d.way ? h("button", { type: "button", class: "link", onclick: () => go(`messages/${d.way}`) }, visible(d.text || one("way", d.way)?.text || d.key.slice(0, 8))) : h("code", {}, d.key.slice(0, 12)));
  show();
  return { stop: watch(["books", "message"], show), keys: {} };
}

const questions = () => [...all("message").values()].filter((m) => m.prompt).sort((a, b) => b.n - a.n).slice(0, 50);
const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function table(heads, rows, none, kind = "") {
  if (!rows.length) return h("p", { class: "muted" }, none);
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": heads.filter(Boolean).join(", ") }, h("table", { class: kind }, h("thead", {}, h("tr", {}, heads.map((t) => (t ? h("th", { scope: "col" }, t) : h("td", {}))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

export function settings(root) {
  const search = h("input", { type: "search", placeholder: "Search settings", "aria-label": "Search settings", oninput: show });
  const body = h("div", {});
  const agent = h("div", { class: "card" });
  const said = h("section", { class: "card", "aria-label": "What the agent prints" });
  put(root, h("div", { class: "stack pad" }, h("h2", {}, "Settings in force"), agent, said, search, body));
  function showSaid() {
    const lines = one("agent", "agent") || [];
    said.hidden = !lines.length;
    put(said, h("h3", {}, "What the agent prints"), h("pre", { class: "printed", tabindex: 0, "aria-label": "Lines" }, lines.map((l) => `${visible(l.text)}\n`)));
    said.lastChild.scrollTop = said.lastChild.scrollHeight;
  }
  function show() {
    const a = one("page", "page") || {};
    put(agent, h("div", { class: "row wrap" }, h("div", { class: "grow" }, h("b", {}, "The agent: "), visible(a.agent_state || "unknown"), a.agent && h("span", { class: "muted" }, ` at ${a.agent}`), a.agent_why && h("p", { class: "muted small" }, a.agent_why)),
      may("agent") && (a.agent_state || "").includes(":") && h("button", { type: "button", onclick: () => act("agent").catch((err) => toast(err.message, true)) }, "Restart it")));
    const q = search.value.toLowerCase();
    const list = (one("settings", "settings") || []).filter((s) => !q || s.name.toLowerCase().includes(q) || s.source.toLowerCase().includes(q));
    put(body, table(["name", "value", "from"], list.map((s) => [h("code", {}, s.name), s.value ? h("code", {}, s.value) : h("span", { class: "muted" }, "not set"), s.source]), "No setting has such a name.", "two-lines"));
  }
  show();
  showSaid();
  const stops = [watch(["settings", "page"], show), watch(["agent"], showSaid)];
  return { stop: () => stops.forEach((stop) => stop()), keys: { "/": () => search.focus() } };
}
