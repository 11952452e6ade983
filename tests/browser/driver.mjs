// Drives one headless Chromium on behalf of a test: one JSON command per line in, one JSON answer per line out.
//
//   {"do":"eval","code":"…","arg":…}   →   {"ok":…}   or   {"error":"…"}
//
// The page is the folder `page/` next to this file, served on a loopback port, which browsers count as a
// secure place; everything else the browser talks to is the server under test. `instruments.js` runs before
// every page's own script, also on the server's own pages: it listens to what the page receives.
//
// Deliberately absent: expectations. They are in the Rust tests.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

// Not an import: the packages lie in NODE_PATH, which only `require` follows.
const require = createRequire(import.meta.url);
const { chromium } = require('playwright-core');

const here = dirname(fileURLToPath(import.meta.url));
const [, , settingsText] = process.argv;
/** `voice`: the WAV file that the microphone plays; `trusted`: plain-HTTP origins that may use the microphone;
 *  `relay`: speak through TURN only; `sdk`: the folder of the bundled SDK; `profile`: where the browser keeps its files. */
const settings = JSON.parse(settingsText);

const types = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript' };

/** Serves `page/`, and the bundled SDK below `/sdk/`. */
function servePage() {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, 'http://page').pathname);
    const [folder, name] = path.startsWith('/sdk/') ? [settings.sdk, path.slice(5)] : [join(here, 'page'), path];
    try {
      const body = readFileSync(join(folder, name));
      response.writeHead(200, { 'Content-Type': types[extname(name)] ?? 'application/octet-stream' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) => server.listen(settings.port, '127.0.0.1', () => resolve(server.address().port)));
}

const port = await servePage();
const profile = mkdtempSync(join(settings.profile, 'chromium-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  viewport: { width: 1180, height: 900 },
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
    '--autoplay-policy=no-user-gesture-required',
    '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream',
    ...(settings.voice ? [`--use-file-for-fake-audio-capture=${settings.voice}`] : []),
    ...(settings.trusted?.length ? [`--unsafely-treat-insecure-origin-as-secure=${settings.trusted.join(',')}`] : []),
    ...(settings.flags ?? []),
  ],
});
await context.addInitScript(`globalThis.__settings = ${JSON.stringify({ relay: settings.relay ?? false })};`);
await context.addInitScript({ path: join(here, 'instruments.js') });

/** What the page said on its console, and the errors that nobody caught. */
const spoken = [];
/** Every request that left the page: method, address, status when it came. */
const requests = [];
let page;

async function newPage() {
  page = await context.newPage();
  page.on('console', (message) => spoken.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => spoken.push(`uncaught: ${error.message}`));
  page.on('request', (request) => requests.push(`${request.method()} ${request.url()}`));
  page.on('requestfailed', (request) => spoken.push(`failed: ${request.method()} ${request.url()} ${request.failure()?.errorText}`));
}
await newPage();

const commands = {
  goto: async ({ url }) => void (await page.goto(url.startsWith('/') ? `http://127.0.0.1:${port}${url}` : url)),
  /** `code` is the body of an async function of `arg`. */
  eval: ({ code, arg }) => page.evaluate(`(async (arg) => { ${code} })(${JSON.stringify(arg ?? null)})`),
  reload: async () => void (await page.reload()),
  /** The tab is closed as a person closes it: without a goodbye that waits. */
  close: async () => void (await page.close({ runBeforeUnload: false })),
  open: newPage,
  click: ({ selector }) => page.click(selector, { timeout: 5000 }),
  fill: ({ selector, text }) => page.fill(selector, text, { timeout: 5000 }),
  press: ({ key }) => page.keyboard.press(key),
  type: ({ text }) => page.keyboard.type(text),
  text: ({ selector }) => page.innerText(selector, { timeout: 5000 }),
  // Not Playwright's own way to wait, which a page's policy against `eval` forbids.
  waitFor: async ({ code, timeout }) => {
    for (const end = Date.now() + timeout; !(await page.evaluate(`Boolean(${code})`)); ) {
      if (Date.now() > end) throw new Error(`not within ${timeout} ms; the page shows: ${await page.innerText('body')}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  },
  screenshot: async ({ path }) => void (await page.screenshot({ path, fullPage: true })),
  /** Violations of WCAG 2 A and AA, each with where. */
  axe: async () => {
    // By the debugger's door, past the page's own policy for scripts.
    await page.evaluate(readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
    const found = await page.evaluate(async () => (await globalThis.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    })).violations.map((v) => `${v.id}: ${v.help} (${v.nodes.map((n) => n.target.join(' ')).join(', ')})`));
    return found;
  },
  spoken: () => spoken,
  requests: () => requests,
};

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ ok: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    answer({ ok: (await commands[command.do](command)) ?? null });
  } catch (error) {
    answer({ error: String(error.message ?? error), spoken: spoken.slice(-20) });
  }
}
await context.close();
rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
process.exit(0);
