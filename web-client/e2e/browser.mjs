// Chromium for the stories: fresh profiles, and a record of everything a page must never do.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} must be set: the base URL of a homeserver that serves this client`);
  return value.replace(/\/$/, "");
}

export const ONE = required("HEARTH_E2E_ONE");
export const TWO = required("HEARTH_E2E_TWO");

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** A new person at a browser of their own, on the homeserver at `base`. */
export async function newPage(browser, base, options = {}) {
  const context = await browser.newContext({
    baseURL: base,
    ignoreHTTPSErrors: true,
    viewport: { width: 1280, height: 800 },
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const offences = [];
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) offences.push(message.text());
  });
  page.on("pageerror", (error) => offences.push(`uncaught: ${error.message}`));
  context.on("request", (request) => {
    const url = new URL(request.url());
    const isLocal = url.origin === new URL(base).origin || ["blob:", "data:"].includes(url.protocol);
    if (!isLocal) offences.push(`foreign request: ${request.url()}`);
  });
  return {
    page,
    context,
    /** Nothing was refused by the content security policy, thrown, or fetched from elsewhere. */
    assertClean: () => assert.deepEqual(offences, []),
  };
}

/** What fades or slides in is half transparent on its way: its colors count when it has arrived. */
async function settled(page) {
  await page.evaluate(async () => {
    const passing = document
      .getAnimations()
      .filter((animation) => animation.effect?.getComputedTiming().iterations !== Infinity);
    await Promise.allSettled(passing.map((animation) => animation.finished));
  });
}

/** No accessibility violation on the page as it is now. */
export async function assertAccessible(page, where) {
  await settled(page);
  // The context's own evaluation is not subject to the page's content security policy.
  const found = await page.evaluate(
    `(async () => { ${AXE}; const { violations } = await axe.run(document, ${JSON.stringify({
      runOnly: AXE_TAGS,
    })}); return violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html + " " + n.failureSummary).join(" | ")); })()`,
  );
  assert.deepEqual(found, [], `accessibility of ${where}`);
}

/** A picture for a person to look at, if a folder was named. */
export async function picture(page, name) {
  const folder = process.env.HEARTH_E2E_SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" });
}

let people = 0;

/** A user name nobody has yet. */
export function freshName(name) {
  people += 1;
  return `${name}${Date.now().toString(36)}${people}`;
}
