// A real Chromium whose microphone is a recording, and measures of what its page hears.

import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";

/** Samples a second of everything that is compared here. */
const RATE = 16_000;

/** Starts Chromium with `wav` as its microphone, said once from the moment a page asks for it. */
export async function start(wav) {
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
      `--use-file-for-fake-audio-capture=${wav}%noloop`,
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
  const context = await browser.newContext({ permissions: ["microphone"], colorScheme: "dark" });
  await context.addInitScript(listenToPeers, RATE);
  return { browser, page: await context.newPage() };
}

/** Runs in the page, before its own scripts: records every remote audio track. */
function listenToPeers(rate) {
  const heard = (window.__heard = { parts: [], tracks: 0, states: [] });
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...given) {
      super(...given);
      window.__peer = this;
      this.addEventListener("connectionstatechange", () => heard.states.push(this.connectionState));
      this.addEventListener("track", ({ track }) => {
        if (track.kind !== "audio") return;
        heard.tracks += 1;
        const context = new AudioContext({ sampleRate: rate });
        const source = context.createMediaStreamSource(new MediaStream([track]));
        const recorder = context.createScriptProcessor(1024, 1, 1);
        recorder.onaudioprocess = ({ inputBuffer }) => heard.parts.push(Array.from(inputBuffer.getChannelData(0)));
        source.connect(recorder).connect(context.destination);
      });
    }
  };
}

/** What the page's remote tracks said so far. */
export async function heardBy(page) {
  const { parts, tracks, states } = await page.evaluate(() => window.__heard);
  return { samples: Float32Array.from(parts.flat()), tracks, states };
}

/** The browser's own account of its connection: packets and bytes both ways, loss, jitter. */
export async function statsOf(page) {
  return page.evaluate(async () => {
    const found = {};
    for (const entry of (await window.__peer.getStats()).values()) {
      if (entry.kind !== "audio") continue;
      const { packetsSent, packetsReceived, packetsLost, jitter, concealedSamples } = entry;
      if (entry.type === "inbound-rtp") Object.assign(found, { packetsReceived, packetsLost, jitter, concealedSamples });
      if (entry.type === "outbound-rtp") Object.assign(found, { packetsSent });
    }
    return found;
  });
}

/** A 16-bit mono WAV of 16 kHz as samples. */
export function load(path) {
  const file = readFileSync(path);
  let at = 12;
  while (file.toString("latin1", at, at + 4) !== "data") at += 8 + file.readUInt32LE(at + 4);
  const count = file.readUInt32LE(at + 4) / 2;
  return Float32Array.from({ length: count }, (_, i) => file.readInt16LE(at + 8 + 2 * i) / 32768);
}

/** Root mean square. */
export function rms(samples) {
  return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / Math.max(1, samples.length));
}

/** Loudness per 20 ms. */
function envelope(samples) {
  const size = RATE / 50;
  const count = Math.floor(samples.length / size);
  return Float64Array.from({ length: count }, (_, i) => rms(samples.subarray(i * size, (i + 1) * size)));
}

function correlation(a, b) {
  const mean = (x) => x.reduce((sum, v) => sum + v, 0) / x.length;
  const [ma, mb] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) ** 2;
    bb += (b[i] - mb) ** 2;
  }
  return ab / Math.sqrt(aa * bb || 1);
}

/**
 * How alike two sounds are in loudness over time, -1..1, at the shift that makes them most
 * alike. Only so much of `sent` counts as `received` has; either may begin first.
 */
export function likeness(sent, received) {
  const [a, b] = [envelope(sent), envelope(received)];
  let best = { likeness: -1, seconds: 0 };
  for (let shift = -100; shift < 250; shift++) {
    const from = Math.max(0, -shift);
    const length = Math.min(a.length - from, b.length - Math.max(0, shift));
    if (length < Math.min(100, a.length / 2)) continue;
    const part = b.subarray(Math.max(0, shift), Math.max(0, shift) + length);
    const score = correlation(a.subarray(from, from + length), part);
    if (score > best.likeness) best = { likeness: score, seconds: shift / 50 };
  }
  return best;
}
