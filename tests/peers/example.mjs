// A person at examples/browser, which ORIGIN serves from the repository's root: talks with the recording's voice, listens, hangs up.
// Prints one JSON object; judges nothing.
//
//     node example.mjs GATEWAY ORIGIN PIPELINE WAV

import { hear, heardBy, likeness, load, rms, start } from "./chromium.mjs";

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
  await page.getByText("connected", { exact: true }).waitFor();
  const seconds = said.length / 16_000 + 1;
  await hear(page, seconds, 4 * seconds);
  report.said = await page.locator("#said li").allInnerTexts();
  const heard = await heardBy(page);
  report.rms = rms(heard.samples);
  report.likeness = likeness(said, heard.samples, true);
  report.problem = await page.getByRole("alert").innerText();
  await page.getByRole("button", { name: "Stop", exact: true }).press("Enter");
  await page.getByText("ended:").waitFor();
  report.hung_up = true;
} catch (error) {
  report.problems.push(`driver: ${error.message}`);
  report.text = (await page.locator("body").innerText().catch(() => "")).slice(0, 2000);
}
await browser.close();
console.log(JSON.stringify(report));
