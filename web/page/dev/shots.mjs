/**
 * Looks at the page in a real browser, against the mock: opens it, talks, and takes pictures.
 *
 *     node dev/shots.mjs OUT_DIR        CHROMIUM=/path/to/chromium if it is elsewhere
 */

import { mkdir, readFile } from "node:fs/promises";
import { chromium } from "playwright-core";
import { startMock } from "./mock.mjs";

/** Accessibility, as axe sees it. */
const axe = await readFile(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8");
async function audit(page, what) {
  await page.evaluate(`${axe};`);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  console.log(`axe, ${what}: ${violations.length === 0 ? "nothing" : ""}`);
  for (const { id, help, nodes } of violations) console.log(`  ${id}: ${help}: ${nodes.map((node) => node.html.slice(0, 160)).join("\n    ")}`);
}

const out = process.argv[2] ?? "shots";
await mkdir(out, { recursive: true });
const { server, url } = await startMock();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
  ],
});

async function open(options, scheme = "light") {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, colorScheme: scheme, permissions: ["microphone"], ...options });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && console.log(`console: ${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => console.log(`page error: ${error.message}`));
  return page;
}

const post = (path, value) => fetch(new URL(path, url), { method: "POST", body: value === undefined ? "" : JSON.stringify(value) });
const peer = await open({});
await peer.goto(`${url}dev/peer`);
await post("dev/session", ["clean-voice", { started: Date.now() - 754_000 }]);
await post("dev/session", ["interpreter", { started: Date.now() - 92_000 }]);
await post("dev/session", ["conference", { key: "standup", started: Date.now() - 3_700_000, transports: ["webrtc", "websocket"] }]);

const page = await open({});
await page.goto(`${url}?pipeline=interpreter`);
await page.waitForTimeout(1200);
await page.screenshot({ path: `${out}/1-idle.png` });
await page.getByRole("button", { name: "Talk", exact: true }).click();
await page.getByText("Connected", { exact: true }).waitFor({ timeout: 15_000 });
await page.waitForTimeout(Number(process.env.SECONDS ?? 25) * 1000);
await page.screenshot({ path: `${out}/2-light.png` });
await audit(page, "light");
await page.emulateMedia({ colorScheme: "dark" });
await page.waitForTimeout(1300);
await page.screenshot({ path: `${out}/3-dark.png` });
await page.getByRole("radio", { name: "Table" }).check();
await page.getByRole("button", { name: "Interrupt" }).click();
await page.waitForTimeout(300);
await page.screenshot({ path: `${out}/4-table-dark.png` });
await audit(page, "dark, table");
await page.getByRole("radio", { name: "Graph" }).check();
await page.emulateMedia({ colorScheme: "light" });
await page.setViewportSize({ width: 390, height: 900 });
await page.waitForTimeout(500);
await page.screenshot({ path: `${out}/5-narrow.png`, fullPage: true });
await page.close();
const requests = await (await fetch(new URL("dev/requests", url))).json();
console.log(requests.map(({ method, path }) => `${method} ${path}`).join("\n"));

const others = await open({});
await others.goto(`${url}?pipeline=conference&session=standup&as=b`);
await others.waitForTimeout(800);
await others.screenshot({ path: `${out}/6-conference.png` });
await others.close();

const denied = await open({ permissions: [] }, "dark");
await denied.addInitScript(() => {
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("Permission denied", "NotAllowedError"));
});
await denied.goto(`${url}?pipeline=clean-voice`);
await denied.getByRole("button", { name: "Talk", exact: true }).click();
await denied.waitForTimeout(600);
await denied.screenshot({ path: `${out}/7-denied.png` });
await denied.close();

const refused = await open({});
await post("dev/fail", { path: "/v1/", status: 401, body: { status: 401, code: "unauthenticated", title: "no token", detail: "this gateway needs a bearer token" } });
await refused.goto(url);
await refused.waitForTimeout(800);
await refused.screenshot({ path: `${out}/8-token.png` });
await audit(refused, "token");
await post("dev/fail");
await post("dev/fail", { path: "whip", status: 503, headers: { "Retry-After": "7" }, body: { status: 503, code: "overloaded", detail: "64 of 64 sessions run", retryable: true } });
await refused.goto(`${url}?pipeline=speak`);
await refused.getByRole("button", { name: "Listen", exact: true }).click();
await refused.waitForTimeout(600);
await refused.screenshot({ path: `${out}/9-overloaded.png` });

await post("dev/fail");
const down = await open({ viewport: { width: 1024, height: 800 } }, "dark");
await down.goto(`${url}?pipeline=clean-voice`);
await down.waitForTimeout(500);
await down.context().setOffline(true);
await down.waitForTimeout(3000);
await down.keyboard.press("Tab");
await down.keyboard.press("Tab");
await down.screenshot({ path: `${out}/10-unreachable.png` });
await audit(down, "unreachable");

await browser.close();
server.closeAllConnections();
server.close();
