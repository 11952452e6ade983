// Shows /openapi.json. Everything is put in as text, never as markup.

const byId = (id) => document.getElementById(id);

/** `el("p.lead", "text", child…)` */
function el(what, ...children) {
  const [name, ...classes] = what.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Text in which `code` stands between backticks. */
const prose = (text = "") => text.split("`").map((part, at) => (at % 2 ? el("code", part) : part));

let spec;

function resolve(schema = {}) {
  if (schema.$ref) {
    const found = schema.$ref.slice(2).split("/").reduce((at, key) => at?.[key], spec) ?? {};
    return { ...resolve(found), name: schema.$ref.split("/").pop() };
  }
  const choices = schema.oneOf ?? schema.anyOf;
  const choice = choices?.find((one) => one.type !== "null");
  if (!choice) return schema;
  const nullable = choices.some((one) => one.type === "null");
  return { ...resolve(choice), description: schema.description ?? resolve(choice).description, nullable };
}

const types = (schema) => [schema.type ?? []].flat();

/** What a value looks like, in words. */
function form(given) {
  const schema = resolve(given);
  const parts = [];
  const own = types(schema).filter((type) => type !== "null");
  if (own.includes("array")) parts.push(`array of ${form(schema.items)}`);
  else if (schema.enum) parts.push(schema.enum.map((one) => JSON.stringify(one)).join(" | "));
  else parts.push(schema.name && schema.pattern ? schema.name : own.join(" | ") || "any");
  if (schema.minimum !== undefined && schema.maximum !== undefined) parts.push(`${schema.minimum}–${schema.maximum}`);
  if (schema.maxLength) parts.push(`up to ${schema.maxLength} characters`);
  if (schema.nullable || types(schema).includes("null")) parts.push("or null");
  if (schema.default !== undefined) parts.push(`default ${schema.default}`);
  return parts.join(", ");
}

/** A value that the schema allows. */
function example(given, depth = 0) {
  const schema = resolve(given);
  const own = types(schema);
  if (schema.examples?.length) return schema.examples[0];
  if (schema.example !== undefined) return schema.example;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (depth > 6) return null;
  if (own.includes("array")) return [example(schema.items, depth + 1)];
  if (own.includes("object")) {
    const all = Object.entries(schema.properties ?? {});
    return Object.fromEntries(all.map(([name, inner]) => [name, example(inner, depth + 1)]));
  }
  if (own.includes("integer") || own.includes("number")) return schema.minimum ?? 0;
  if (own.includes("boolean")) return false;
  return own.includes("null") ? null : "…";
}

function table(heads, rows) {
  const head = el("tr", ...heads.map((text) => {
    const cell = el("th", text);
    cell.scope = "col";
    return cell;
  }));
  const box = el("div.scroll", el("table", el("thead", head), el("tbody", ...rows)));
  // Whatever scrolls can be scrolled by keyboard.
  box.tabIndex = 0;
  box.role = "region";
  box.ariaLabel = heads[0];
  return box;
}

const must = (required) => (required ? el("span.must", "required") : null);

/** Each property of an object; those of objects inside it with their path. */
function properties(given, prefix = "", depth = 0) {
  const schema = resolve(given);
  return Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => {
    const own = resolve(inner);
    const row = el("tr",
      el("td", el("code", prefix + name), must(schema.required?.includes(name) && !prefix)),
      el("td", form(inner)), el("td", ...prose(own.description)));
    const deeper = own.type === "array" ? resolve(own.items) : own;
    const list = own.type === "array" ? "[]" : "";
    return deeper.properties && depth < 4 ? [row, ...properties(deeper, `${prefix}${name}${list}.`, depth + 1)] : [row];
  });
}

function block(text) {
  const pre = el("pre", el("code", text));
  pre.tabIndex = 0;
  return pre;
}

function curl(path, method, operation, body) {
  const asked = (operation.parameters ?? []).filter((one) => one.in === "path");
  const real = asked.reduce((at, one) => at.replace(`{${one.name}}`, example(one.schema)), path);
  const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${location.origin}${real}`];
  const scheme = Object.keys(operation.security?.[0] ?? {})[0];
  if (scheme) lines.push(`-H "Authorization: Bearer $${{ key: "KEY", token: "TOKEN", returning: "SECRET" }[scheme] ?? "KEY"}"`);
  if (body?.kind === "application/json") {
    const { required = [], properties: all = {} } = resolve(body.schema);
    const least = Object.fromEntries(required.map((name) => [name, example(all[name])]));
    if (required.length) lines.push(`-H "Content-Type: application/json"`, `-d '${JSON.stringify(least)}'`);
  } else if (body) {
    lines.push(`-H "Content-Type: ${body.kind}"`, "--data-binary @offer.sdp");
  }
  if (operation.responses["200"]?.content?.["text/event-stream"]) lines[0] = lines[0].replace("curl", "curl -N");
  return lines.join(" \\\n  ");
}

function content(holder) {
  const [kind, media] = Object.entries(holder?.content ?? {})[0] ?? [];
  return kind ? { kind, schema: media.schema } : null;
}

function answers(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => el("tr",
    el("td", el(status < "300" ? "span.status.ok" : "span.status", status)),
    el("td", ...prose(response.description)),
    el("td", ...Object.keys(response.headers ?? {}).flatMap((name) => [el("code", name), " "]))));
  const shown = Object.entries(operation.responses)
    .filter(([status, response]) => status < "300" && content(response)?.schema)
    .map(([status, response]) => {
      const { kind, schema } = content(response);
      const fields = properties(schema);
      const parts = [el("summary", `${status} ${kind}`)];
      if (kind === "application/json" || fields.length) parts.push(block(JSON.stringify(example(schema), null, 2)));
      if (fields.length) parts.push(table(["Field", "Form", "Meaning"], fields));
      return parts.length > 1 ? el("details", ...parts) : null;
    });
  return [el("h4", "Answers"), table(["Status", "When", "Headers"], rows), ...shown];
}

function article(path, method, operation) {
  const link = el("a", path);
  link.href = `#${operation.operationId}`;
  const body = content(operation.requestBody);
  const scopes = Object.values(operation.security?.[0] ?? {})[0] ?? [];
  const scheme = Object.keys(operation.security?.[0] ?? {})[0];
  const needs = { key: "An API key", token: "A call token (rvw_…)", returning: "The browser's secret (rvr_…)" }[scheme];
  const made = el("article.operation",
    el("h3", el(`span.verb.${method}`, method.toUpperCase()), link),
    el("p.summary", ...prose(operation.summary)),
    operation.description ? el("p.about", ...prose(operation.description)) : null,
    el("p.needs", needs ?? "No key", ...scopes.flatMap((scope) => [" with ", el("code", scope)])));
  made.id = operation.operationId;
  const parameters = operation.parameters ?? [];
  if (parameters.length) {
    made.append(el("h4", "Parameters"), table(["Name", "In", "Form", "Meaning"], parameters.map((one) => el("tr",
      el("td", el("code", one.name), must(one.required)), el("td", one.in), el("td", form(one.schema)),
      el("td", ...prose(one.description ?? resolve(one.schema).description))))));
  }
  if (body) {
    const rows = properties(body.schema);
    made.append(el("h4", `Body: ${body.kind}`), rows.length
      ? table(["Field", "Form", "Meaning"], rows)
      : el("p", ...prose(body.kind === "application/json" ? "`{}`, or nothing." : "As it is.")));
  }
  made.append(el("h4", "Try"), block(curl(path, method, operation, body)), ...answers(operation));
  return made;
}

function errors() {
  const meanings = spec.components.schemas.ErrorCode["x-meanings"];
  for (const [code, meaning] of Object.entries(meanings)) {
    const term = el("dt", el("code", code));
    term.id = `error-${code}`;
    byId("codes").append(term, el("dd", ...prose(meaning)));
  }
  byId("errors").hidden = false;
}

function show() {
  byId("title").textContent = `${spec.info.title} API`;
  byId("lead").textContent = spec.info.description;
  const all = Object.entries(spec.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })));
  for (const { name, description } of spec.tags) {
    const own = all.filter(({ operation }) => operation.tags?.includes(name));
    if (!own.length) continue;
    const articles = own.map(({ path, method, operation }) => article(path, method, operation));
    const title = el("h2", name);
    const section = el("section", title, el("p.about", ...prose(description)), ...articles);
    title.id = `tag-${name}`;
    section.setAttribute("aria-labelledby", title.id);
    byId("operations").append(section);
    const links = own.map(({ path, method, operation }) => {
      const link = el("a", el(`span.verb.${method}`, method.toUpperCase()), path);
      link.href = `#${operation.operationId}`;
      return el("li", link);
    });
    byId("contents").append(el("h2", name), el("ul", ...links));
  }
  errors();
  const to = el("a", "Errors");
  to.href = "#errors";
  byId("contents").append(el("h2", "Errors"), el("ul", el("li", to)));
}

byId("find").addEventListener("input", ({ target }) => {
  const words = target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const one of document.querySelectorAll("article.operation")) {
    one.hidden = !words.every((word) => one.textContent.toLowerCase().includes(word));
  }
  for (const section of document.querySelectorAll("#operations section")) {
    section.hidden = !section.querySelector("article:not([hidden])");
  }
});

try {
  spec = await (await fetch("/openapi.json")).json();
  show();
  // The place that the address names is there only now.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
} catch {
  byId("lead").textContent = "The document could not be read. Reload the page to try again.";
}
