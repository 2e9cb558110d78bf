// Faults, as switches, each with what the promises say will happen.

import { h, put, toast } from "./dom.js";
import { about, act, all, may, watch } from "./store.js";

const places = [["connector", "The connector"], ["host", "The functions' host"], ["ledger", "The table"], ["agent", "The agent"]];
const presets = {
  hosted: "The hosted one: buffers one at a time, pokes on the first, provisions.",
  whatrouter: "WhatsApp over a serial queue: one action after the other, refuses a second socket.",
  agentsync: "Rows with a limit per hello; some live messages have a buffer id; errors without a result.",
  rustcell: "One message per chat; pokes while something waits; a message's turn ends when the eyes come off.",
  slacksidecar: "Slack alone, live alone: nothing is buffered, nothing is poked.",
};

export function faults(root) {
  const values = new Map(); // what was typed into a fault's fields
  const body = h("div", { class: "stack pad" });
  put(root, body);
  const cards = new Map();

  function card(f) {
    const fields = (f.params || []).map((p) => {
      const key = `${f.id}.${p.name}`;
      const props = { "aria-label": `${p.label} of: ${f.title}`, onchange: (e) => values.set(key, e.target.value) };
      const input = p.choices ? h("select", props, p.choices.map((c) => h("option", { value: c }, c || "any"))) : h("input", { ...props, size: 8, inputmode: p.name === "reason" ? "text" : "decimal" });
      input.value = values.get(key) ?? p.value;
      return h("label", { class: "small" }, `${p.label} `, input);
    });
    const inject = async (off) => {
      const params = {};
      (f.params || []).forEach((p, i) => { params[p.name] = fields[i].lastChild.value; });
      try {
        await act("fault", { id: f.id, off, params });
        if (!f.lasts || params.count > 0) toast(`${f.title}: done.`);
      } catch (err) {
        toast(err.message, true);
      }
    };
    const button = f.lasts
      ? h("button", { type: "button", role: "switch", class: "switch", "aria-checked": f.on ? "true" : "false", "aria-label": f.title, disabled: !may("fault"), onclick: () => inject(f.on) }, f.on ? "on" : "off")
      : h("button", { type: "button", disabled: !may("fault"), "aria-label": `Do it: ${f.title}`, onclick: () => inject(false) }, "Do it");
    return h("article", { class: f.on ? "card fault on" : "card fault", data: { fault: f.id } },
      h("div", { class: "row" }, h("h4", { class: "grow" }, f.title), button),
      h("p", { class: "promise" }, f.promise), fields.length ? h("div", { class: "row wrap" }, fields) : null,
      f.error ? h("p", { class: "why small" }, f.error) : f.used ? h("p", { class: "muted small" }, `used ${f.used === 1 ? "once" : `${f.used} times`}`) : null);
  }

  function show() {
    const focused = document.activeElement?.closest?.("[data-fault]")?.dataset.fault;
    const which = focused && [...document.activeElement.closest("[data-fault]").querySelectorAll("button,input,select")].indexOf(document.activeElement);
    for (const f of all("fault").values()) {
      const before = cards.get(f.id);
      if (before?.rev === f.rev) continue;
      const el = card(f);
      before?.el.replaceWith(el);
      cards.set(f.id, { el, rev: f.rev });
    }
    if (focused && !document.activeElement?.closest?.("[data-fault]")) cards.get(focused)?.el.querySelectorAll("button,input,select")[which]?.focus();
  }

  function layout() {
    show();
    const by = (where) => [...all("fault").values()].filter((f) => f.where === where).map((f) => cards.get(f.id).el);
    const on = [...all("fault").values()].filter((f) => f.on).length;
    put(body,
      h("header", {}, h("h2", {}, "Faults"), h("p", { class: "muted" }, "Things that go wrong, on purpose. Each says what happens then, if the promises hold.", on ? ` ${on} are on.` : "")),
      h("section", { "aria-labelledby": "f-presets" }, h("h3", { id: "f-presets" }, "Which connector"),
        h("div", { class: "grid", role: "radiogroup", "aria-labelledby": "f-presets" }, (about().presets || []).map((p) => h("label", { class: "card preset" },
          h("span", { class: "row" }, h("input", { type: "radio", name: "preset", value: p, checked: about().preset === p, disabled: !may("preset"), onchange: () => act("preset", { name: p }).catch((err) => toast(err.message, true)) }), h("b", {}, p)),
          h("span", { class: "promise" }, presets[p] || ""))))),
      places.map(([where, title]) => by(where).length ? h("section", { "aria-label": title }, h("h3", {}, title), h("div", { class: "grid" }, by(where))) : null));
  }
  layout();
  const stops = [watch(["fault"], show), watch(["page"], layout)];
  return { stop: () => stops.forEach((stop) => stop()), keys: {} };
}
