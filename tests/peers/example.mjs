// A person at examples/browser, which ORIGIN serves from the repository's root: talks with the recording's voice, listens, hangs up.
// Prints one JSON object; judges nothing.
//
//     node example.mjs GATEWAY ORIGIN PIPELINE WAV

import { heardBy, likeness, load, rms, start } from "./chromium.mjs";

const [gateway, origin, pipeline, wav] = process.argv.slice(2);
const said = load(wav);
const { browser, page } = await start(wav);
const report = { problems: [], hung_up: false };
page.on("pageerror", (error) => report.problems.push(`page: ${error.message}`));
page.on("console", (message) => {
  if (message.type() === "error") report.problems.push(`console: ${message.text()} (${message.location().url})`);
});
try {
  await page.goto(`${origin}/examples/browser/?pipeline=${pipeline}&gateway=${gateway}`);
  await page.getByRole("button", { name: "Talk", exact: true }).press("Enter");
  await page.getByText("connected", { exact: true }).waitFor({ timeout: 15_000 });
  const seconds = said.length / 16_000 + 1;
  await page.waitForFunction((samples) => window.__heard.parts.length * 1024 > samples, seconds * 16_000, {
    timeout: (seconds + 15) * 1000,
  });
  report.said = await page.locator("#said li").allInnerTexts();
  const heard = await heardBy(page);
  report.rms = rms(heard.samples);
  report.likeness = likeness(said, heard.samples);
  report.problem = await page.getByRole("alert").innerText();
  await page.getByRole("button", { name: "Stop", exact: true }).press("Enter");
  await page.getByText("ended:").waitFor({ timeout: 10_000 });
  report.hung_up = true;
} catch (error) {
  report.problems.push(`driver: ${error.message}`);
  report.text = (await page.locator("body").innerText().catch(() => "")).slice(0, 2000);
}
await browser.close();
console.log(JSON.stringify(report));
