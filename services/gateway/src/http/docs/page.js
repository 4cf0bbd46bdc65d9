// Fills the page from /openapi.json. Texts become text nodes, never markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 6;

/** An element with attributes and children; texts between backquotes become code. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) element.setAttribute(key, value);
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    element.append(child);
  }
  return element;
}

function prose(text) {
  return (text ?? "").split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

function follow(api, node) {
  const seen = new Set();
  while (node && node.$ref && !seen.has(node.$ref)) {
    seen.add(node.$ref);
    node = node.$ref.slice(2).split("/").reduce((at, key) => at?.[key], api);
  }
  return node ?? {};
}

/** A type in a few words. */
function kind(api, schema) {
  if (schema === true) return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  for (const union of ["oneOf", "anyOf"]) {
    if (schema[union]) return [...new Set(schema[union].map((one) => kind(api, one)))].slice(0, 8).join(" | ");
  }
  const type = Array.isArray(schema.type) ? schema.type.filter((one) => one !== "null").join(" | ") : schema.type;
  if (type === "array") return `list of ${kind(api, schema.items ?? true)}`;
  return type ?? (schema.properties ? "object" : "anything");
}

function limits(schema) {
  const parts = [];
  if (schema.minLength !== undefined || schema.maxLength !== undefined) {
    parts.push(`${schema.minLength ?? 0} to ${schema.maxLength ?? "any number of"} characters`);
  }
  if (schema.minimum !== undefined && schema.maximum !== undefined) parts.push(`${schema.minimum} to ${schema.maximum}`);
  if (schema.default !== undefined && schema.default !== null) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts.length ? ` (${parts.join(", ")})` : "";
}

/** The fields of an object, each of which may be opened. */
function shape(api, given, depth, trail) {
  const schema = follow(api, given);
  const box = make("div", { class: "shape" });
  if (given.$ref && trail.includes(given.$ref)) return make("p", { class: "quiet" }, "as above");
  const path = given.$ref ? [...trail, given.$ref] : trail;
  const unions = schema.oneOf ?? schema.anyOf;
  if (schema.properties) {
    for (const [name, field] of Object.entries(schema.properties)) {
      const must = (schema.required ?? []).includes(name) ? make("span", { class: "must" }, " required") : null;
      const about = field.description ?? follow(api, field).description;
      const line = [
        make("code", {}, name), " ", make("span", { class: "kind" }, kind(api, field) + limits(field)), must,
        about ? make("div", { class: "quiet" }, prose(about)) : null,
      ];
      box.append(make("div", { class: "row" }, line));
      const inner = field.type === "array" || field.items ? field.items : (field.anyOf ?? []).find((one) => one.$ref) ?? field;
      const target = inner && follow(api, inner);
      if (depth < DEEPEST && target && (target.properties || target.oneOf)) {
        const open = make("details", {}, make("summary", {}, kind(api, inner)));
        open.addEventListener("toggle", () => {
          if (open.open && open.children.length === 1) open.append(shape(api, inner, depth + 1, path));
        });
        box.append(open);
      }
    }
  } else if (unions && depth < DEEPEST) {
    for (const one of unions) {
      const target = follow(api, one);
      const about = target.description ?? "";
      if (!target.properties) {
        box.append(make("div", { class: "row" }, make("span", { class: "kind" }, kind(api, one)), " ", prose(about)));
        continue;
      }
      const open = make("details", {}, make("summary", {}, variant(target) ?? kind(api, one)), make("div", { class: "quiet" }, prose(about)));
      open.append(shape(api, one, depth + 1, path));
      box.append(open);
    }
  } else {
    box.append(make("div", { class: "row" }, make("span", { class: "kind" }, kind(api, schema) + limits(schema))));
  }
  return box;
}

/** What tells one member of a union from the others: its first fixed field. */
function variant(schema) {
  const fixed = Object.entries(schema.properties ?? {}).find(([, field]) => "const" in field);
  return fixed ? `${fixed[0]}: ${JSON.stringify(fixed[1].const)}` : null;
}

function example(method, path, operation) {
  const lines = [`curl -X ${method.toUpperCase()} ${location.origin}${path}`];
  if ((operation.security ?? []).length) lines.push(`-H "Authorization: Bearer $TOKEN"`);
  if ((operation.parameters ?? []).some((one) => (one.$ref ?? "").endsWith("IdempotencyKey"))) {
    lines.push(`-H "Idempotency-Key: $(uuidgen)"`);
  }
  const body = operation.requestBody?.content?.["application/json"]?.example;
  if (body !== undefined) lines.push(`-H "Content-Type: application/json"`, `-d '${JSON.stringify(body)}'`);
  return make("pre", {}, make("code", {}, lines.join(" \\\n  ")));
}

function parameters(api, list) {
  const rows = list.map((given) => {
    const one = follow(api, given);
    const must = one.required ? make("span", { class: "must" }, " required") : null;
    return make("tr", {},
      make("td", {}, make("code", {}, one.name), must),
      make("td", {}, one.in),
      make("td", {}, make("span", { class: "kind" }, kind(api, one.schema ?? true) + limits(one.schema ?? {})), " ", prose(one.description)));
  });
  const head = make("tr", {}, ["name", "in", "meaning"].map((text) => make("th", {}, text)));
  return make("table", {}, head, rows);
}

function answers(api, responses) {
  const box = make("div");
  for (const [status, given] of Object.entries(responses)) {
    const answer = follow(api, given);
    const looks = status < "300" ? "good" : status < "400" ? "other" : "bad";
    const media = Object.entries(answer.content ?? {})[0];
    const line = make("div", { class: "row" }, make("span", { class: `status ${looks}` }, status), "  ");
    if (looks === "bad") {
      answer.description.split("; ").forEach((text, index) => {
        const code = text.split("`")[1];
        line.append(index ? ", " : "", make("a", { href: `/docs/errors#${code}`, title: text.replaceAll("`", "") }, make("code", {}, code)));
      });
    } else {
      line.append(...prose(answer.description));
      if (media) line.append(" ", make("span", { class: "kind" }, media[0]));
    }
    box.append(line);
    if (looks === "good" && media?.[1].schema) box.append(shape(api, media[1].schema, 0, []));
  }
  return box;
}

function card(api, path, method, operation) {
  const inside = make("div", { class: "inside" }, make("p", {}, prose(operation.description)));
  const all = operation.parameters ?? [];
  if (all.length) inside.append(make("h4", {}, "Parameters"), parameters(api, all));
  const body = operation.requestBody?.content?.["application/json"];
  if (body) inside.append(make("h4", {}, "Body"), shape(api, body.schema, 0, []));
  inside.append(make("h4", {}, "Answers"), answers(api, operation.responses));
  inside.append(make("h4", {}, "Example"), example(method, path, operation));
  return make("details", { class: "card", id: operation.operationId },
    make("summary", {}, make("span", { class: `method ${method}` }, method), make("span", { class: "path" }, path),
      make("span", { class: "what" }, operation.summary)), inside);
}

function showOperations(api, main, menu) {
  main.append(make("h1", {}, api.info.title), make("p", { class: "quiet" }, prose(api.info.description)));
  for (const tag of api.tags) {
    const section = make("section", {}, make("h2", {}, tag.name), make("p", { class: "quiet" }, tag.description));
    const list = make("div", {}, make("h3", {}, tag.name));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((name) => methods[name]?.tags.includes(tag.name))) {
        const operation = methods[method];
        const shown = card(api, path, method, operation);
        const words = `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase();
        const link = make("a", { href: `#${operation.operationId}` }, make("span", { class: `method ${method}` }, method), operation.summary);
        for (const one of [shown, link]) one.dataset.words = words;
        section.append(shown);
        list.append(link);
      }
    }
    main.append(section);
    menu.append(list);
  }
}

function showErrors(api, main, menu) {
  main.append(make("h1", {}, "Errors"), make("p", { class: "quiet" },
    prose("Every error is `application/problem+json` (RFC 9457). Decide by `code`, which never changes its meaning; quote `error_id` to support.")));
  const head = make("tr", {}, ["code", "status", "meaning", "what to do"].map((text) => make("th", {}, text)));
  const table = make("table", {}, head);
  const list = make("div", {}, make("h3", {}, "Codes"));
  for (const { code, status, title, suggestion } of api["x-problem-codes"]) {
    const row = make("tr", { id: code }, make("td", {}, make("code", {}, code)), make("td", {}, make("span", { class: "status bad" }, status)),
      make("td", {}, title), make("td", {}, suggestion));
    const link = make("a", { href: `#${code}` }, code);
    for (const one of [row, link]) one.dataset.words = `${code} ${status} ${title} ${suggestion}`.toLowerCase();
    table.append(row);
    list.append(link);
  }
  main.append(table);
  menu.append(list);
}

/** Opens what the address names. */
function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!named) return;
  if (named instanceof HTMLDetailsElement) named.open = true;
  named.scrollIntoView();
}

async function start() {
  const [main, menu, filter] = ["main", "menu", "filter"].map((id) => document.getElementById(id));
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`openapi.json answered ${answer.status}`);
    const api = await answer.json();
    main.replaceChildren();
    if (location.pathname.endsWith("/errors")) showErrors(api, main, menu);
    else showOperations(api, main, menu);
  } catch (error) {
    main.replaceChildren(make("p", {}, `The document could not be read: ${error.message}`));
    return;
  }
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const one of document.querySelectorAll("[data-words]")) {
      one.hidden = !words.every((word) => one.dataset.words.includes(word));
    }
  });
  addEventListener("hashchange", openNamed);
  openNamed();
}

start();
