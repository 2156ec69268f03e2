// A person at examples/browser/realtime.html, which ORIGIN serves from the repository's root, in Chromium: a call by OpenAI Realtime with the
// recording's voice. TOKEN is the page's server's, which has a short-lived key minted for the page. Prints one JSON object; judges nothing.
//
//     node realtime.mjs GATEWAY ORIGIN MODEL WAV TOKEN

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { hearTone, load, RATE, start } from "./chromium.mjs";

const [gateway, origin, model, wav, token] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "realtime-"));
const { browser, page } = await start(onceSaid(join(folder, "said.wav"), load(wav).subarray(0, 2 * RATE)));
const report = { problems: [], hung_up: false };
page.on("pageerror", (error) => report.problems.push(`page: ${error.message}`));
page.on("console", (message) => {
  if (message.type() === "error") report.problems.push(`console: ${message.text()} (${message.location().url})`);
});
const press = (name) => page.getByRole("button", { name, exact: true }).press("Enter");
const event = (kind) => page.locator("#events").getByText(kind, { exact: true }).first().waitFor();
try {
  const minted = await fetch(new URL("/v1/realtime/client_secrets", gateway), {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ session: { type: "realtime", model } }),
  });
  const { value } = await minted.json();
  const asked = new URLSearchParams({ model, gateway, key: value });
  await page.goto(`${origin}/examples/browser/realtime.html?${asked}`);
  await press("Talk");
  await event("output_audio_buffer.started");
  report.tone = await hearTone(page, 440, 90);
  await press("Be quiet");
  await event("output_audio_buffer.cleared");
  await page.locator("#said").getByText("You:").first().waitFor();
  report.said = await page.locator("#said li").allInnerTexts();
  report.events = await page.locator("#events li").allInnerTexts();
  report.problem = await page.getByRole("alert").innerText();
  await press("Stop");
  await page.getByText("ended", { exact: true }).waitFor();
  report.hung_up = true;
  // The key opens what it was minted for, and nothing else.
  const headers = { "Content-Type": "application/sdp", Authorization: `Bearer ${value}` };
  const other = await fetch(new URL("/v1/realtime/calls?model=echo", gateway), { method: "POST", headers, body: "v=0\r\n" });
  report.other = other.status;
} catch (error) {
  report.problems.push(`driver: ${error.message}`);
  report.text = (await page.locator("body").innerText().catch(() => "")).slice(0, 2000);
}
await browser.close();
rmSync(folder, { recursive: true });
console.log(JSON.stringify(report));

/** Writes what is said, and so much silence behind it that nobody hears it twice. */
function onceSaid(path, samples) {
  const file = Buffer.alloc(44 + 2 * (samples.length + 120 * RATE));
  const head = ["RIFF", file.length - 8, "WAVEfmt ", 16, 1 | (1 << 16), RATE, 2 * RATE, 2 | (16 << 16), "data", file.length - 44];
  let at = 0;
  for (const part of head) at = typeof part === "string" ? at + file.write(part, at, "latin1") : file.writeUInt32LE(part, at);
  samples.forEach((sample, i) => file.writeInt16LE(Math.round(sample * 32767), 44 + 2 * i));
  writeFileSync(path, file);
  return path;
}
