// dist/: modules with types, and one bundle; the same bundle for the server's /try page.
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { bundle, COMMITTED, ROOT } from "./bundle.mjs";

rmSync(`${ROOT}/dist`, { recursive: true, force: true });
execFileSync(process.execPath, [`${ROOT}/node_modules/typescript/bin/tsc`, "-p", `${ROOT}/tsconfig.json`], { stdio: "inherit" });
const whole = await bundle();
writeFileSync(`${ROOT}/dist/revdesk-webrtc.js`, whole);
writeFileSync(COMMITTED, whole);
console.log(`dist/ and src/api/try/revdesk-webrtc.js: ${whole.length} bytes`);
