// A browser that talks by Tidegate's own client package, over `echo`. `relay`: by TURN servers only, none but those that the gateway
// names. `lose`: the browser is told that its network is gone, and the client has to get the call back within the session. Prints one
// JSON object; judges nothing.
//
//     node voice.mjs GATEWAY relay|lose

import { readFileSync } from "node:fs";
import { hearTone, start } from "./chromium.mjs";
import { blank } from "./plain.mjs";

const PATIENCE = 90;
const [gateway, what] = process.argv.slice(2);
const dist = new URL("../../web/client/dist/", import.meta.url);
const { browser, page } = await start(null);
const report = { problems: [] };

/** Runs in the page before all else: a peer connection that may be limited to relays, and that can be told to believe itself lost. */
const meddle = (policy) => {
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(config) {
      super(policy === "relay" ? { ...config, iceTransportPolicy: "relay" } : config);
    }
    get connectionState() {
      return window.__lost ? "disconnected" : super.connectionState;
    }
    // Credentials of another generation are what a restart brings; with them the network is back.
    async setRemoteDescription(description) {
      await super.setRemoteDescription(description);
      window.__lost = false;
    }
  };
};

/** The path that media takes, once there is one by other credentials of the gateway than these. */
async function path(other) {
  for (const by = Date.now() + PATIENCE * 1000; ; await page.waitForTimeout(50)) {
    const found = await page.evaluate(() => window.plain.path({ pc: window.voice.connection }));
    if (found && found.remote !== other) return found;
    if (Date.now() > by) throw new Error(`no path but by ${other}`);
  }
}

const session = () => page.evaluate(() => window.voice.sessionId);

try {
  await page.addInitScript(meddle, what);
  await page.route("**/client/*.js", (route) => {
    const name = new URL(route.request().url()).pathname.split("/").at(-1);
    return route.fulfill({ contentType: "text/javascript", body: readFileSync(new URL(name, dist), "utf8") });
  });
  await blank(page, gateway);
  await page.evaluate(async () => {
    const { TidegateClient } = await import("/client/index.js");
    const context = new AudioContext();
    const [oscillator, gain, out] = [context.createOscillator(), context.createGain(), context.createMediaStreamDestination()];
    oscillator.frequency.value = 440;
    gain.gain.value = 0.3;
    oscillator.connect(gain).connect(out);
    oscillator.start();
    window.pitch = oscillator.frequency;
    const voice = new TidegateClient({ url: location.origin }).talk({ pipeline: "echo", microphone: out.stream });
    window.states = [];
    voice.addEventListener("statechange", ({ detail }) => window.states.push(detail.state));
    const player = (window.player = new Audio());
    voice.addEventListener("track", () => {
      player.srcObject = voice.remoteStream;
      void player.play();
    });
    window.voice = await voice.ready;
  });
  report.tone = await hearTone(page, 440, PATIENCE);
  report.path = await path(null);
  report.session = await session();
  report.servers = await page.evaluate(() => window.voice.connection.getConfiguration().iceServers);
  if (what === "lose") {
    await page.evaluate(() => {
      window.__lost = true;
      window.voice.connection.dispatchEvent(new Event("connectionstatechange"));
    });
    const now = await path(report.path.remote);
    await page.evaluate(() => (window.pitch.value = 660));
    report.after = { tone: await hearTone(page, 660, PATIENCE), path: now, session: await session() };
  }
  report.states = await page.evaluate(() => window.states);
  await page.evaluate(() => window.voice.close());
} catch (error) {
  report.problems.push(error.message);
  report.states = await page.evaluate(() => window.states).catch(() => null);
}
await browser.close();
console.log(JSON.stringify(report));
