// A person at the page of docs/guides/browser.md: talks with the recording's voice, reads captions, hears the answer, interrupts, hangs up.
// Prints one JSON object; judges nothing.
//
//     node guide.mjs PAGE WAV
//     node guide.mjs PAGE WAV refused        presses Talk and reads why there is no call

import { start } from "./chromium.mjs";

const [url, wav, refused] = process.argv.slice(2);
const { browser, page } = await start(wav);
const report = { problems: [] };
page.on("pageerror", (error) => report.problems.push(`page: ${error.message}`));
page.on("console", (message) => {
  // The page has no icon, and browsers ask for one.
  // A browser reports what was refused there as well.
  if (message.type() === "error" && !refused && !message.location().url.endsWith("/favicon.ico")) report.problems.push(`console: ${message.text()} (${message.location().url})`);
});

/** A caption that is final: the guide's page draws it without letting the ground through. */
const final = (port) => page.locator("#captions p", { hasText: `${port}: ` }).and(page.locator('[style*="opacity: 1"]')).first();

/** What #state says when it is over. */
async function refusal() {
  const state = page.locator("#state", { hasText: /^closed$|: / });
  await state.waitFor();
  return state.innerText();
}

async function call() {
  await page.getByText("connected", { exact: true }).waitFor();
  await final("captions").waitFor();
  await final("translation").waitFor();
  await page.waitForFunction(() => window.__heard.loudAt > 0);
  report.heard = await page.evaluate(() => window.__heard.loudAt);
  report.captions = await page.locator("#captions p").allInnerTexts();
  await page.getByRole("button", { name: "Be quiet", exact: true }).press("Enter");
  await page.getByRole("button", { name: "Stop", exact: true }).press("Enter");
  await page.getByText("closed", { exact: true }).waitFor();
  report.state = await page.locator("#state").innerText();
}

try {
  await page.goto(url);
  await page.getByRole("button", { name: "Talk", exact: true }).press("Enter");
  if (refused) report.state = await refusal();
  else await call();
} catch (error) {
  report.problems.push(`driver: ${error.message}`);
  report.text = (await page.locator("body").innerText().catch(() => "")).slice(0, 2000);
}
await browser.close();
console.log(JSON.stringify(report));
