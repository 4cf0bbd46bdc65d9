// Bodies as people read them.

import { api, bytes, h, save } from "./elements.js";

/** Longest text that is coloured; longer ones are shown plain. */
const COLOURED = 300_000;
/** Most bytes shown as hex. */
const HEX = 4_096;

/** Shows one side's body. */
export async function body(exchange, side) {
  const { body } = exchange[side];
  const title = h("h3", null, "Body", h("span", { className: "gap" }));
  const box = h("div", null, title);
  if (body.bytes === 0) {
    box.append(h("p", { className: "nothing" }, "There is none."));
    return box;
  }
  const size = body.content_encoding ? `${bytes(body.bytes)} as ${body.content_encoding}` : bytes(body.bytes);
  const name = `${side}-${exchange.id}${extension(body.content_type)}`;
  const path = `/api/exchanges/${exchange.id}/body/${side}`;
  title.append(`${body.content_type ?? "no type"} · ${size}`, h("button", { className: "small", onclick: () => save(path, name) }, "Save"));
  if (body.is_cut) {
    box.append(h("p", { className: "notice" }, `Cut: the first ${bytes(body.kept_bytes)} of ${bytes(body.bytes)} are kept. All of it went through.`));
  } else if (!body.is_whole) {
    box.append(h("p", { className: "notice" }, exchange.took_ms === null ? "Still under way." : "It did not come to its end."));
  }
  const content = new Uint8Array(await (await api(path)).arrayBuffer());
  box.append(shown(content, body.content_type ?? ""));
  return box;
}

function extension(type) {
  const kinds = { json: ".json", html: ".html", "event-stream": ".txt", plain: ".txt", png: ".png", jpeg: ".jpg", svg: ".svg", xml: ".xml" };
  return Object.entries(kinds).find(([kind]) => (type ?? "").includes(kind))?.[1] ?? ".bin";
}

function shown(content, type) {
  if (/^image\/(png|jpeg|gif|webp|avif|svg)/.test(type)) {
    const blob = new Blob([content], { type: type.split(";")[0] });
    return h("img", { className: "body", src: URL.createObjectURL(blob), alt: "The body as an image" });
  }
  const text = decoded(content);
  if (text === null) return h("pre", { className: "hex" }, hex(content));
  if (type.includes("json") || /^\s*[[{]/.test(text)) {
    try {
      return coloured(JSON.stringify(JSON.parse(text), null, 2));
    } catch {
      return h("pre", null, text);
    }
  }
  if (type.includes("x-www-form-urlencoded")) {
    const pairs = [...new URLSearchParams(text)];
    return h("dl", { className: "headers mono" }, pairs.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]).flat());
  }
  return h("pre", null, text);
}

/** The text, or `null` when it is none. A character that is cut at the end does no harm. */
export function decoded(content) {
  for (const end of [0, 1, 2, 3]) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(content.subarray(0, content.length - end));
      return text.includes("\0") ? null : text;
    } catch { /* one byte less */ }
  }
  return null;
}

function coloured(json) {
  const pre = h("pre");
  if (json.length > COLOURED) {
    pre.textContent = json;
    return pre;
  }
  let at = 0;
  for (const token of json.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|\b(?:true|false|null)\b/g)) {
    pre.append(json.slice(at, token.index));
    const kind = token[2] ? "k" : token[1] ? "s" : "n";
    pre.append(h("span", { className: kind }, token[1] ?? token[0]), token[2] ?? "");
    at = token.index + token[0].length;
  }
  pre.append(json.slice(at));
  return pre;
}

/** Offset, bytes, letters: sixteen a line. */
export function hex(content) {
  const lines = [];
  for (let at = 0; at < Math.min(content.length, HEX); at += 16) {
    const row = [...content.subarray(at, at + 16)];
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(47)}  ${letters}`);
  }
  if (content.length > HEX) lines.push(`… ${bytes(content.length - HEX)} more; save the body to see them`);
  return lines.join("\n");
}
