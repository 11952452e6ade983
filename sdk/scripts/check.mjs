// Holds what the compiler does not: what the package and the /try page promise, and that the committed bundle is what the source makes.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bundle, COMMITTED, PACKAGE, ROOT } from "./bundle.mjs";

const MOST_LINES = 430;
const faults = [];
const must = (holds, fault) => holds || faults.push(fault);
const text = (path) => readFileSync(path, "utf8");
const page = fileURLToPath(new URL("../../src/api/try/", import.meta.url));

must(!PACKAGE.dependencies && !PACKAGE.peerDependencies, "package.json: the SDK has no dependencies");
must(PACKAGE.sideEffects === false, "package.json: sideEffects is false");
for (const [name, version] of Object.entries(PACKAGE.devDependencies)) must(/^\d+\.\d+\.\d+$/.test(version), `package.json: ${name} is pinned`);
must(!/"resolved"|registry/.test(text(`${ROOT}package-lock.json`)), "package-lock.json: names no registry (drop the `resolved` fields)");

const sources = readdirSync(`${ROOT}src`).map((name) => [`src/${name}`, text(`${ROOT}src/${name}`)]);
for (const [name, source] of sources) {
  must(source.split("\n").length <= MOST_LINES, `${name}: more than ${MOST_LINES} lines; split it`);
  must(!/\bconsole\.|\bdebugger\b|\bas any\b|@ts-ignore|TODO|FIXME/.test(source), `${name}: no console, any, ignore or TODO`);
  must(name === "src/memory.ts" || !/localStorage|sessionStorage\./.test(source), `${name}: only memory.ts stores`);
}

const readme = text(`${ROOT}README.md`);
const known = (path, pattern) => [...text(`${ROOT}${path}`).matchAll(pattern)].map(([, name]) => name);
const codes = known("src/errors.ts", /^ {2}(\w+): "/gm);
const events = known("src/types.ts", /^ {2}(\w+): (?:Record<string, never>|\{|Warning|Quality|Disconnect|RevDeskError)/gm);
must(codes.length > 20 && events.length === 9, `check.mjs: ${codes.length} codes and ${events.length} events found in the source`);
for (const name of [...codes, ...events]) must(readme.includes(`\`${name}\``), `README.md: does not speak of \`${name}\``);

const html = text(`${page}index.html`);
must(!/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:/i.test(html), "index.html: no inline script or style, the page's CSP forbids them");
must(!/(?:src|href|url\()\s*=?\s*["']?(?:https?:)?\/\//i.test(html + text(`${page}style.css`)), "the page loads nothing from elsewhere");
must(!/innerHTML|insertAdjacentHTML|document\.write|eval\(|localStorage/.test(text(`${page}try.js`)), "try.js: makes no HTML from text, stores nothing for long");
for (const [, id] of text(`${page}try.js`).matchAll(/\$\("([\w-]+)"\)/g)) must(html.includes(`id="${id}"`), `index.html: has no element ${id}`);
for (const [, ids] of html.matchAll(/(?:for|aria-labelledby|aria-describedby|aria-controls)="([^"]+)"/g)) {
  for (const id of ids.split(" ")) must(html.includes(`id="${id}"`), `index.html: a label points to ${id}, which is not there`);
}

must((await bundle()).equals(readFileSync(COMMITTED)), "src/api/try/revdesk-webrtc.js is out of date: npm run build");

for (const fault of faults) console.error(`error: ${fault}`);
if (faults.length > 0) process.exit(1);
console.log(`checked ${sources.length} modules, ${codes.length} error codes, ${events.length} events, the page and its bundle`);
