// A person at the gateway's page who speaks English to the interpreter: reads both captions, hears the Spanish, and reads what the turn
// took; and what of it is in sight without scrolling. By labels and roles only. Prints one JSON object; judges nothing.
//
//     node interpreter.mjs URL WAV TURNS [SCREENSHOT]

import { start, statsOf } from "./chromium.mjs";

const [url, wav, turns, screenshot] = process.argv.slice(2);
const { browser, page } = await start(wav, { viewport: { width: 1280, height: 720 } });
const report = { problems: [] };
page.on("pageerror", (error) => report.problems.push(`page: ${error.message}`));
page.on("console", (message) => {
  if (message.type() === "error") report.problems.push(`console: ${message.text()} (${message.location().url})`);
});

/** The names of those that are not wholly in sight. */
async function hiddenOf(places) {
  const { width, height } = page.viewportSize();
  const inside = async (place) => {
    const box = await place.boundingBox();
    return box !== null && box.x >= 0 && box.y >= 0 && box.x + box.width <= width && box.y + box.height <= height;
  };
  const looked = await Promise.all(Object.entries(places).map(async ([name, place]) => [name, await inside(place)]));
  return looked.filter(([, seen]) => !seen).map(([name]) => name);
}

try {
  await page.goto(`${url}?pipeline=interpreter`);
  await page.getByRole("button", { name: "Talk", exact: true }).press("Enter");
  await page.getByText("Connected", { exact: true }).waitFor();
  const turn = page.getByRole("region", { name: "Turn latency" });
  // The recording is said over and over: a turn each time.
  await turn.getByText(`p50 of ${turns}`).waitFor();
  const captions = page.getByRole("log", { name: "Captions" }).locator("p");
  await captions.filter({ hasText: "translation" }).first().waitFor();
  report.turn = (await turn.innerText()).split("\n");
  report.captions = await captions.allInnerTexts();
  report.stats = await statsOf(page);
  report.hops = await page.locator("button.hop .hidden").allInnerTexts();
  report.hidden = await hiddenOf({
    captions: captions.last(),
    stop: page.getByRole("button", { name: "Stop", exact: true }),
    interrupt: page.getByRole("button", { name: "Interrupt", exact: true }),
    turn,
    graph: page.getByRole("group", { name: "Graph of the pipeline" }),
  });
  if (screenshot) {
    await turn.scrollIntoViewIfNeeded();
    await page.screenshot({ path: screenshot });
  }
  report.alert = (await page.getByRole("alert").allInnerTexts()).join(" ").trim();
  await page.getByRole("button", { name: "Stop", exact: true }).press("Enter");
  await page.getByText("Not connected", { exact: true }).waitFor();
} catch (error) {
  report.problems.push(`driver: ${error.message}`);
  report.text = (await page.locator("body").innerText().catch(() => "")).slice(0, 2000);
  if (screenshot) await page.screenshot({ path: screenshot }).catch(() => {});
}
await browser.close();
console.log(JSON.stringify(report));
