// A message's text as its platform shows it. The result is elements; no part of the text is ever read as HTML.

import { h } from "./dom.js";

const pairs = {
  discord: [["**", "strong"], ["__", "u"], ["~~", "s"], ["||", "spoiler"], ["*", "em"], ["_", "em"]],
  telegram: [["**", "strong"], ["__", "u"], ["~~", "s"], ["||", "spoiler"], ["*", "strong"], ["_", "em"], ["~", "s"]],
  slack: [["*", "strong"], ["_", "em"], ["~", "s"]],
  whatsapp: [["*", "strong"], ["_", "em"], ["~", "s"]],
};
const fenced = /^```([\w+-]*)\n?([\s\S]*?)(?:```|$)/;
const safe = (url) => /^(https?:\/\/|mailto:)/i.test(url);

const link = (url, text) => (safe(url)
  ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, text)
  : document.createTextNode(text));

// markup returns the elements of a text.
export function markup(text, platform) {
  const style = pairs[platform] || [];
  const out = [];
  let rest = visible(text);
  while (rest) {
    const at = rest.indexOf("```");
    if (at < 0 || !style.length) {
      out.push(...blocks(rest, platform, style));
      break;
    }
    if (at > 0) out.push(...blocks(rest.slice(0, at), platform, style));
    const block = fenced.exec(rest.slice(at));
    out.push(h("pre", { class: "code", tabindex: 0, "aria-label": "code" }, block[2].replace(/\n$/, "")));
    rest = rest.slice(at + block[0].length).replace(/^\n/, "");
  }
  return out;
}

// visible shows control characters, which a terminal would obey, and turns of writing direction, which mislead.
export function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    (c) => (c < " " ? String.fromCharCode(0x2400 + c.charCodeAt(0)) : c === "\u007f" ? "\u2421" : "\ufffd"));
}

function blocks(text, platform, style) {
  const out = [];
  let lines = [], quote = [], list = [];
  const flush = () => {
    if (lines.length) out.push(h("p", {}, join(lines, platform, style)));
    if (quote.length) out.push(h("blockquote", {}, join(quote, platform, style)));
    if (list.length) out.push(h("ul", {}, list.map((line) => h("li", {}, spans(line, platform, style)))));
    lines = [], quote = [], list = [];
  };
  for (const line of text.split("\n")) {
    const quoted = style.length && /^(?:> ?|&gt; ?)(.*)$/.exec(line);
    const item = (platform === "discord" || platform === "whatsapp") && /^\s*[-*] (.*)$/.exec(line);
    const heading = platform === "discord" && /^(#{1,3}) (.*)$/.exec(line);
    if (quoted) {
      if (!quote.length) flush();
      quote.push(quoted[1]);
    } else if (item) {
      if (!list.length) flush();
      list.push(item[1]);
    } else if (heading) {
      flush();
      out.push(h("p", { class: `heading h${heading[1].length}` }, spans(heading[2], platform, style)));
    } else if (line.trim() === "") {
      flush();
    } else {
      if (quote.length || list.length) flush();
      lines.push(line);
    }
  }
  flush();
  return out;
}

const join = (lines, platform, style) => lines.flatMap((line, i) => [i ? h("br") : "", ...spans(line, platform, style)]);

function spans(text, platform, style, depth = 0) {
  const out = [];
  let plain = "";
  const flush = () => {
    if (plain) out.push(document.createTextNode(plain));
    plain = "";
  };
  let i = 0;
  while (i < text.length) {
    const rest = text.slice(i);
    if (platform === "discord" && rest[0] === "\\" && /[*_~|`>\\]/.test(rest[1] || "")) {
      plain += rest[1];
      i += 2;
      continue;
    }
    const found = style.length && depth < 8 && (code(rest) || named(rest, platform, style, depth) || address(rest, text[i - 1]) || paired(rest, text[i - 1], platform, style, depth));
    if (found) {
      flush();
      out.push(found[0]);
      i += found[1];
      continue;
    }
    plain += text[i++];
  }
  flush();
  return out;
}

function code(rest) {
  const m = /^(`{1,2})([^`\n]+)\1/.exec(rest);
  return m && [h("code", {}, m[2]), m[0].length];
}

function named(rest, platform, style, depth) {
  if (platform === "slack") {
    const m = /^<([^|>\s]+)(?:\|([^>]+))?>/.exec(rest);
    if (!m) return null;
    const mention = /^[@#!]/.test(m[1]);
    return [mention ? h("span", { class: "mention" }, (m[1][0] === "#" ? "#" : "@") + (m[2] || m[1].slice(1))) : link(m[1], m[2] || m[1]), m[0].length];
  }
  const mention = platform === "discord" && /^<(@[!&]?|#)(\w+)>/.exec(rest);
  if (mention) return [h("span", { class: "mention" }, mention[1][0] + mention[2]), mention[0].length];
  const m = platform !== "whatsapp" && /^\[([^\]\n]+)\]\(<?([^)\s>]+)>?\)/.exec(rest);
  if (!m || !safe(m[2])) return null;
  const a = link(m[2], "");
  a.append(...spans(m[1], platform, style.filter(([mark]) => mark), depth + 3));
  return [a, m[0].length];
}

function address(rest, before) {
  if (before && /[\w/]/.test(before)) return null;
  const m = /^https?:\/\/[^\s<>"'`]+[^\s<>"'`.,;:!?)\]*_~|]/.exec(rest);
  return m && [link(m[0], m[0]), m[0].length];
}

function paired(rest, before, platform, style, depth) {
  for (const [mark, tag] of style) {
    if (!rest.startsWith(mark)) continue;
    const single = mark.length === 1;
    if (single && before && /\w/.test(before)) return null;
    for (let end = rest.indexOf(mark, mark.length); end > 0; end = rest.indexOf(mark, end + 1)) {
      const inner = rest.slice(mark.length, end);
      if (!inner.trim() || /^\s/.test(inner) || /\s$/.test(inner) || inner.includes("\n")) continue;
      if (single && (rest[end + 1] === mark || /\w/.test(rest[end + 1] || ""))) continue;
      const children = spans(inner, platform, style, depth + 1);
      return [tag === "spoiler" ? spoiler(children) : h(tag, {}, children), end + mark.length];
    }
  }
  return null;
}

function spoiler(children) {
  const el = h("span", { class: "spoiler", role: "button", tabindex: 0, "aria-label": "spoiler, press to show" }, children);
  const show = () => el.classList.add("open") || el.setAttribute("aria-label", el.textContent);
  el.addEventListener("click", show);
  el.addEventListener("keydown", (e) => (e.key === "Enter" || e.key === " ") && (e.preventDefault(), show()));
  return el;
}
