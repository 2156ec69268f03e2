// A browser in a call with itself over `echo`, by hand: restarts ICE while it speaks, over another path where RELAY is given: then the
// call begins on the direct path and goes on over the TURN server that the gateway named. Prints one JSON object; judges nothing.
//
//     node restart.mjs URL [RELAY]

import { hearTone, start } from "./chromium.mjs";
import { blank } from "./plain.mjs";

const PATIENCE = 90;
const [url, relay] = process.argv.slice(2);
const { browser, page } = await start(null);
const report = { problems: [] };
try {
  await blank(page, url);
  const opened = await page.evaluate(async (url) => {
    window.call = await window.plain.open(url, { tone: 440 });
    return { session: window.call.session, link: window.call.link };
  }, url);
  Object.assign(report, opened);
  report.before = { tone: await hearTone(page, 440, PATIENCE), path: await page.evaluate(() => window.plain.path(window.call)) };

  const turn = /<(turn:[^>]+)>; rel="ice-server"; username="([^"]+)"; credential="([^"]+)"/.exec(opened.link);
  const [, urls, username, credential] = turn ?? [];
  const config = relay ? { iceServers: [{ urls, username, credential }], iceTransportPolicy: "relay" } : null;
  report.restart = await page.evaluate((config) => window.plain.restart(window.call, config), config);
  // Until media flows by the new generation of credentials; the old path carries it so long.
  report.after = {};
  for (const by = Date.now() + PATIENCE * 1000; ; await page.waitForTimeout(50)) {
    report.after.path = await page.evaluate(() => window.plain.path(window.call));
    if (report.after.path?.remote !== report.before.path.remote) break;
    if (Date.now() > by) throw new Error("media never left the path of before");
  }
  // Another pitch, so that what is heard was said after the restart.
  await page.evaluate(() => (window.call.pitch.value = 660));
  report.after.tone = await hearTone(page, 660, PATIENCE);
  report.states = await page.evaluate(() => window.__heard.states);
  report.deleted = await page.evaluate(async () => (await fetch(window.call.resource, { method: "DELETE" })).status);
} catch (error) {
  report.problems.push(error.message);
}
await browser.close();
console.log(JSON.stringify(report));
