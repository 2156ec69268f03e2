// A real Chromium whose microphone is a recording, and measures of what its page hears.

import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";

/** Samples a second of everything that is compared here. */
export const RATE = 16_000;
/** What one step of a browser may take: a bound for a machine that is busy with other things, and no statement about speed. */
const PATIENCE_MS = 90_000;

/**
 * Starts Chromium; with `wav` as its microphone, said over and over from the moment a page asks for it. `context` is for Playwright's
 * `newContext`.
 */
export async function start(wav, context = {}) {
  const browser = await chromium.launch({
    timeout: PATIENCE_MS,
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--use-fake-ui-for-media-stream",
      "--use-fake-device-for-media-stream",
      ...(wav ? [`--use-file-for-fake-audio-capture=${wav}`] : []),
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
  const made = await browser.newContext({ permissions: ["microphone"], colorScheme: "dark", ...context });
  made.setDefaultTimeout(PATIENCE_MS);
  await made.addInitScript(listenToPeers, RATE);
  return { browser, page: await made.newPage() };
}

/**
 * Runs in the page, before its own scripts: records every remote audio track. Straight from the track and with a long queue, so that
 * a main thread that is late loses nothing.
 */
function listenToPeers(rate) {
  const heard = (window.__heard = { parts: [], samples: 0, loudAt: 0, tracks: 0, states: [] });
  const record = async (track) => {
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 2048 }).readable.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const all = new Float32Array(value.numberOfFrames);
      value.copyTo(all, { planeIndex: 0, format: "f32-planar" });
      const step = value.sampleRate / rate;
      value.close();
      const part = new Array(Math.round(all.length / step));
      for (let i = 0; i < part.length; i++) {
        const some = all.subarray(Math.floor(i * step), Math.max(Math.floor(i * step) + 1, Math.floor((i + 1) * step)));
        part[i] = some.reduce((sum, x) => sum + x, 0) / some.length;
      }
      heard.parts.push(part);
      heard.samples += part.length;
      if (part.some((x) => Math.abs(x) > 0.02)) heard.loudAt = heard.samples;
    }
  };
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(...given) {
      super(...given);
      window.__peer = this;
      this.addEventListener("connectionstatechange", () => heard.states.push(this.connectionState));
      this.addEventListener("track", ({ track }) => {
        if (track.kind !== "audio") return;
        heard.tracks += 1;
        void record(track);
      });
    }
  };
}

/** Waits until the page's remote tracks have given so many seconds of sound. */
export async function hear(page, seconds, patience) {
  await page.waitForFunction((samples) => window.__heard.samples >= samples, seconds * RATE, { timeout: patience * 1000 });
}

/** What the page's remote tracks said so far, from sample `from` on. */
export async function heardBy(page, from = 0) {
  const { parts, tracks, states } = await page.evaluate((from) => {
    const { parts, tracks, states } = window.__heard;
    let at = 0;
    return { parts: parts.filter((part) => (at += part.length) > from), tracks, states };
  }, from);
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

/** How much of a sound is a tone of so many Hz: its amplitude, by Goertzel's filter over a whole number of its periods. */
export function toneLevel(samples, hertz) {
  const length = Math.floor((Math.floor((samples.length * hertz) / RATE) * RATE) / hertz);
  const turn = 2 * Math.cos((2 * Math.PI * hertz) / RATE);
  let [a, b] = [0, 0];
  for (let i = 0; i < length; i++) [a, b] = [samples[i] + turn * a - b, a];
  return (2 * Math.sqrt(Math.max(0, a * a + b * b - turn * a * b))) / Math.max(1, length);
}

/**
 * Waits until the newest half second that the page heard is a tone of so many Hz, and of nothing else to speak of; its level, and
 * what part of the sound's power it is.
 */
export async function hearTone(page, hertz, patience) {
  const by = Date.now() + patience * 1000;
  for (;;) {
    const all = await page.evaluate(() => window.__heard.samples);
    const { samples } = await heardBy(page, all - RATE / 2);
    const level = toneLevel(samples, hertz);
    const purity = level ** 2 / 2 / Math.max(1e-12, rms(samples) ** 2);
    if (samples.length >= RATE / 2 && level > 0.05 && purity > 0.8) return { hertz, level, purity };
    if (Date.now() > by) throw new Error(`no tone of ${hertz} Hz: level ${level}, purity ${purity}, of ${all} samples`);
    await page.waitForTimeout(100);
  }
}

/** Loudness per 20 ms. */
function envelope(samples) {
  const size = RATE / 50;
  const count = Math.floor(samples.length / size);
  return Float64Array.from({ length: count }, (_, i) => rms(samples.subarray(i * size, (i + 1) * size)));
}

/** Of 20 ms: two seconds, and how far on the next piece begins. */
const [PIECE, STEP] = [100, 50];

/** Correlation of `piece` with each place of `sound`. */
function correlations(piece, sound) {
  const mean = (x) => x.reduce((sum, v) => sum + v, 0) / x.length;
  const centred = (x) => {
    const m = mean(x);
    return x.map((v) => v - m);
  };
  const norm = (x) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
  const a = centred(piece);
  return Float64Array.from({ length: sound.length - PIECE + 1 }, (_, at) => {
    const b = centred(sound.subarray(at, at + PIECE));
    return a.reduce((sum, v, i) => sum + v * b[i], 0) / Math.max(1e-9, norm(a) * norm(b));
  });
}

/**
 * How alike two sounds are in loudness over time, -1..1: the median over pieces of two seconds of what was heard, each where it is
 * most like `said`, in order and at most two seconds further apart. So a gap or a stretch of time, as a busy
 * machine makes them, costs the piece that it is in and not all that follow. Other speech is below 0.6. `again` says that it was said
 * over and over.
 */
export function likeness(said, heard, again = false) {
  const once = envelope(said);
  const a = envelope(heard);
  const times = again ? Math.ceil(a.length / once.length) + 1 : 1;
  const b = Float64Array.from({ length: once.length * times }, (_, i) => once[i % once.length]);
  const nothing = { likeness: -1, pieces: [], loud_seconds: 0 };
  if (a.length < PIECE || b.length < PIECE) return nothing;
  const tables = [];
  for (let at = 0; at + PIECE <= a.length; at += STEP) {
    const piece = a.subarray(at, at + PIECE);
    if (Math.max(...piece) > 0.02) tables.push(correlations(piece, b));
  }
  if (tables.length === 0) return nothing;
  let best = tables[0];
  const froms = tables.slice(1).map((table) => {
    const from = new Int32Array(table.length).fill(-1);
    best = table.map((score, at) => {
      // From no further to two seconds further than it was heard after the piece before: pauses may have come in.
      let most = -Infinity;
      for (let before = Math.max(0, at - STEP - 100); before <= at; before++) {
        if (best[before] > most) [most, from[at]] = [best[before], before];
      }
      return most + score;
    });
    return from;
  });
  let place = best.indexOf(Math.max(...best));
  if (best[place] === -Infinity) return nothing;
  const pieces = [tables.at(-1)[place]];
  for (let i = froms.length - 1; i >= 0; i--) {
    place = froms[i][place];
    pieces.unshift(tables[i][place]);
  }
  const sorted = [...pieces].sort((x, y) => x - y);
  const middle = (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
  const loud = a.filter((level) => level > 0.01).length / 50;
  return { likeness: middle, pieces: pieces.map((score) => Math.round(score * 100) / 100), loud_seconds: loud };
}

/** Waits until the page has heard somebody out: sound, and then two and a half seconds of silence; gives what it heard. */
export async function hearOut(page) {
  const quiet = 2.5 * RATE;
  await page.waitForFunction((quiet) => window.__heard.loudAt > 0 && window.__heard.samples - window.__heard.loudAt > quiet, quiet);
  return (await heardBy(page)).samples;
}
