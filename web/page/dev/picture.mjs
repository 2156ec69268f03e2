/**
 * Takes docs/page.png: the page of a running `make demo` in a real browser, whose microphone is a recording, said over and over.
 *
 *     node dev/picture.mjs URL WAV OUT [TURNS]        CHROMIUM=/path/to/chromium if it is elsewhere
 */

import { chromium } from "playwright-core";

const [url, wav, out, turns = "3"] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-audio-capture=${wav}`,
    "--autoplay-policy=no-user-gesture-required",
  ],
});
const context = await browser.newContext({
  permissions: ["microphone"],
  colorScheme: process.env.SCHEME ?? "light",
  viewport: { width: Number(process.env.WIDTH ?? 1440), height: Number(process.env.HEIGHT ?? 1040) },
  deviceScaleFactor: 2,
});
const page = await context.newPage();
page.setDefaultTimeout(120_000);
page.on("pageerror", (error) => console.log(`page error: ${error.message}`));
await page.goto(`${url}?pipeline=interpreter`);
await page.getByRole("button", { name: "Talk", exact: true }).click();
await page.getByRole("region", { name: "Turn latency" }).getByText(`p50 of ${turns}`).waitFor();
await page.evaluate(() => document.activeElement?.blur());
await page.screenshot({ path: out });
console.log((await page.getByRole("region", { name: "Turn latency" }).innerText()).split("\n").join(" "));
await page.getByRole("button", { name: "Stop", exact: true }).click();
await browser.close();
