// The SDK as one file, as it is committed for the page that the server serves.
import { build } from "esbuild";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const COMMITTED = fileURLToPath(new URL("../../src/api/try/revdesk-webrtc.js", import.meta.url));
export const PACKAGE = JSON.parse(readFileSync(`${ROOT}/package.json`, "utf8"));

/** Bundles `source`, one that imports from `src/index.ts`, or the whole of it. */
export async function bundle(source = 'export * from "./src/index.ts";') {
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: ROOT, loader: "ts" },
    absWorkingDir: ROOT,
    banner: { js: `/* ${PACKAGE.name} ${PACKAGE.version}, ${PACKAGE.license} */` },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
    logLevel: "error",
  });
  return Buffer.from(outputFiles[0].contents);
}
