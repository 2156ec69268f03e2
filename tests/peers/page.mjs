// A person at the gateway's page: chooses a pipeline, talks with the recording's voice, listens,
// reads the figures of each hop, hangs up. By labels and roles only, as a screen reader finds
// them, and by keyboard. Prints one JSON object; judges nothing.
//
//     node page.mjs URL PIPELINE WAV [SCREENSHOT]

import { hear, heardBy, likeness, load, rms, start, statsOf } from "./chromium.mjs";

const [url, pipeline, wav, screenshot] = process.argv.slice(2);
const said = load(wav);
const { browser, page } = await start(wav);
const report = { problems: [], hung_up: false };
// After the hang-up the page may still ask for the session that just ended, and be told so.
const problem = (text) => report.hung_up || report.problems.push(text);
page.on("pageerror", (error) => problem(`page: ${error.message}`));
page.on("console", (message) => {
  if (message.type() === "error") problem(`console: ${message.text()} (${message.location().url})`);
});

try {
  await page.goto(url);
  report.title = await page.title();
  await page.getByLabel("Pipeline", { exact: true }).selectOption(pipeline);
  await page.getByRole("button", { name: "Talk", exact: true }).press("Enter");
  const connecting = Date.now();
  await page.getByText("Connected", { exact: true }).waitFor();
  report.connect_seconds = (Date.now() - connecting) / 1000;

  // As long as the recording, and a moment more.
  const seconds = said.length / 16_000 + 1;
  await hear(page, seconds, 4 * seconds);

  await page.getByRole("radio", { name: "Table" }).check();
  const rows = page.getByRole("group", { name: "Figures of the hops" }).getByRole("table").first().locator("tbody tr");
  const measured = /\d\s*(ns|µs|ms)/;
  await rows.filter({ hasText: measured }).first().waitFor();
  report.rows = await rows.allInnerTexts();
  report.hops = report.rows.filter((row) => measured.test(row)).map((row) => row.split("\t")[0]);
  report.sessions = await page.getByRole("group", { name: "Sessions of the gateway" }).locator("tbody tr").count();
  if (screenshot) await page.screenshot({ path: screenshot });

  report.stats = await statsOf(page);
  const heard = await heardBy(page);
  report.heard_seconds = heard.samples.length / 16_000;
  report.rms = rms(heard.samples);
  report.likeness = likeness(said, heard.samples, true);
  report.tracks = heard.tracks;
  report.alert = (await page.getByRole("alert").allInnerTexts()).join(" ").trim();

  report.hung_up = true;
  await page.getByRole("button", { name: "Stop", exact: true }).press("Enter");
  await page.getByText("Not connected", { exact: true }).waitFor();
} catch (error) {
  report.problems.push(`driver: ${error.message}`);
  report.text = (await page.locator("body").innerText().catch(() => "")).slice(0, 2000);
  if (screenshot) await page.screenshot({ path: screenshot }).catch(() => {});
}
await browser.close();
console.log(JSON.stringify(report));
