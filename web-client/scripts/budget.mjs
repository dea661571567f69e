// Compares the sizes of the build with their budgets, and fails where one is exceeded.
import { readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { DIST, distFiles } from "./dist.mjs";

const KB = 1000;
const html = readFileSync(join(DIST, "index.html"), "utf8");
const isInitial = (file) => html.includes(basename(file));
const files = distFiles();
const named = (pattern) => files.filter((file) => pattern.test(basename(file)));
const scripts = named(/\.js$/);
const sdk = scripts.filter((file) => basename(file).startsWith("matrix-core-"));
const glue = scripts.filter((file) => basename(file).startsWith("rust-crypto-"));
const lazy = scripts.filter((file) => !isInitial(file) && !sdk.includes(file) && !glue.includes(file));

const transferred = (group, encoding) =>
  group.reduce((sum, file) => sum + statSync(`${file}.${encoding}`).size, 0);

const budgets = [
  ["scripts at first paint", transferred(scripts.filter(isInitial), "gz"), 180 * KB],
  ["styles at first paint", transferred(named(/\.css$/).filter(isInitial), "gz"), 20 * KB],
  ["SDK chunk", transferred(sdk, "gz"), 300 * KB],
  ["encryption glue", transferred(glue, "gz"), 50 * KB],
  ["encryption wasm (br)", transferred(named(/\.wasm$/), "br"), 1500 * KB],
  ...lazy.map((file) => [`lazy ${basename(file)}`, transferred([file], "gz"), 140 * KB]),
];

let isExceeded = false;
for (const [what, bytes, budget] of budgets) {
  const isTooBig = bytes === 0 || bytes > budget;
  isExceeded ||= isTooBig;
  const size = `${(bytes / KB).toFixed(1).padStart(7)} of ${(budget / KB).toFixed(0).padStart(5)} kB`;
  console.log(`${isTooBig ? "FAIL" : "ok  "} ${size}  ${what}`);
}
if (isExceeded) process.exitCode = 1;
