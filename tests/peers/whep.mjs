// A browser that listens by WHEP, by hand: says `listening` once the connection stands, and ends when it has heard the whole of WAV,
// or half a second of a tone. Prints one JSON object; judges nothing.
//
//     node whep.mjs URL WAV|HERTZ

import { hearOut, hearTone, likeness, load, rms, start } from "./chromium.mjs";
import { blank } from "./plain.mjs";

const [url, what] = process.argv.slice(2);
const { browser, page } = await start(null);
const report = { problems: [] };
try {
  await blank(page, url);
  await page.evaluate(async (url) => void (window.call = await window.plain.open(url)), url).catch((error) => {
    throw new Error(`WHEP: ${error.message}`);
  });
  await page.waitForFunction(() => window.call.pc.connectionState === "connected", null);
  console.log("listening");
  if (Number(what)) {
    report.tone = await hearTone(page, Number(what), 90);
  } else {
    const said = load(what);
    const samples = await hearOut(page);
    report.rms = rms(samples);
    report.likeness = likeness(said, samples);
  }
  report.sends = await page.evaluate(() => window.call.pc.getTransceivers().map((one) => one.currentDirection));
  report.deleted = await page.evaluate(async () => (await fetch(window.call.resource, { method: "DELETE" })).status);
} catch (error) {
  report.problems.push(error.message);
}
await browser.close();
console.log(JSON.stringify(report));
