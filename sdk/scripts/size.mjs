// Fails when the bundle is too large, or when what a page does not use stays in.
import { gzipSync } from "node:zlib";
import { bundle } from "./bundle.mjs";

const MOST_BYTES = 8_000;

const weigh = async (source) => gzipSync(await bundle(source), { level: 9 }).length;
const whole = await weigh();
const error = await weigh('import { RevDeskError } from "./src/index.ts"; console.log(RevDeskError);');
const none = await weigh('import "./src/index.ts";');
console.log(`gzipped: all ${whole} bytes (at most ${MOST_BYTES}), RevDeskError alone ${error}, nothing used ${none}`);
if (whole > MOST_BYTES || error > whole / 3 || none > 150) {
  console.error("error: too large, or a module has side effects that keep it in");
  process.exit(1);
}
