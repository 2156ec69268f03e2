/** The page's own voice session: begins, steers and ends it, and writes what it tells into the store. */

import { TidegateError, type Voice } from "@tidegate/client";
import { lineOf } from "../model/log.js";
import { draining, ending } from "../model/problems.js";
import { Heard, isSilent } from "../model/silence.js";
import { TURNS, Turns, feederOf } from "../model/turns.js";
import * as sound from "./sound.js";
import * as store from "./store.js";

/** How many captions are kept. */
const CAPTIONS = 60;

/** How often it is looked at whether media still comes. */
const LISTEN_MS = 500;

/** How often it is looked at who speaks. */
const LEVEL_MS = 20;

let voice: Voice | null = null;
let turns = new Turns();
let levels: ReturnType<typeof setInterval> | undefined;
/** The person pressed Stop. */
let stopping = false;
let listening: ReturnType<typeof setInterval> | undefined;

/** Begins a session with the chosen pipeline. `listen` goes without a microphone. */
export function talk(listen = false): void {
  const pipeline = store.pipeline.value;
  if (pipeline === null || store.inCall.value) return;
  store.problem.value = null;
  store.captions.value = [];
  sound.wakeSound();
  const hears = pipeline.inputs.some((input) => input.kind === "audio");
  const speaks = pipeline.outputs.some((output) => output.kind === "audio");
  const key = pipeline.shared ? store.seatKey.value.trim() : "";
  const parameters = chosenParameters();
  const microphone = hears && !listen ? sound.microphoneConstraints() : false;
  store.listensOnly.value = microphone === false;
  const opened = store.client.value.talk({
    pipeline: pipeline.name,
    microphone,
    receiveAudio: speaks,
    receiveVideo: pipeline.outputs.some((output) => output.kind === "video"),
    ...(key === "" ? {} : { session: key }),
    ...(key === "" || store.seatPort.value === "" ? {} : { as: store.seatPort.value }),
    ...(parameters === null ? {} : { parameters }),
  });
  voice = opened;
  opened.muted = store.muted.value;
  store.callState.value = opened.state;
  listenTo(opened, key !== "");
  watchForSilence(opened);
  watchForTurns(opened);
}

/** Listens for the end of what the person says and the beginning of the answer. */
function watchForTurns(opened: Voice): void {
  turns = new Turns();
  store.turns.value = [];
  clearInterval(levels);
  levels = setInterval(() => {
    if (voice !== opened) return;
    const now = performance.now();
    turns.said(now, sound.inputMeter.level() ?? Number.NEGATIVE_INFINITY);
    const turn = turns.heard(now, sound.outputMeter.level() ?? Number.NEGATIVE_INFINITY, feeder);
    if (turn !== null) store.turns.value = [...store.turns.value, turn].slice(-TURNS);
  }, LEVEL_MS);
}

/** The hop that feeds an output; of `null`, the one that speaks. */
function feeder(output: string | null): string {
  const description = store.description.value;
  return feederOf(description, output ?? description?.outputs.find((port) => port.kind === "audio")?.name ?? "answer");
}

/** All bytes that came from the gateway, connectivity checks included. */
async function bytesReceived(opened: Voice): Promise<number> {
  let bytes = 0;
  const stats = await opened.connection?.getStats();
  stats?.forEach((entry: { type: string; bytesReceived?: number }) => {
    if (entry.type === "candidate-pair" || entry.type === "inbound-rtp") bytes += entry.bytesReceived ?? 0;
  });
  return bytes;
}

function watchForSilence(opened: Voice): void {
  const heard = new Heard();
  clearInterval(listening);
  listening = setInterval(async () => {
    const at = heard.take(Date.now(), await bytesReceived(opened).catch(() => 0));
    if (voice === opened) store.silent.value = opened.state === "connected" && isSilent(Date.now(), store.answeredAt.value, at);
  }, LISTEN_MS);
}

/** `shared`: others may be in the session, which then goes on without this page. */
function listenTo(opened: Voice, shared: boolean): void {
  let known: string | null = null;
  opened.addEventListener("statechange", ({ detail: { state } }) => {
    store.callState.value = state;
    if (state === "signalling") {
      sound.inputMeter.attach(opened.microphone);
      void sound.listDevices();
    }
    if (state === "reconnecting") store.note({ tone: "warn", name: "reconnecting", text: "the connection was lost" });
  });
  opened.addEventListener("connected", ({ detail: { sessionId } }) => {
    store.callId.value = sessionId;
    if (store.leftId.value === sessionId) store.leftId.value = null;
    if (sessionId !== null && sessionId !== known) store.watch(sessionId);
    known = sessionId;
    store.note({ tone: "good", name: "connected", text: sessionId ?? "" });
  });
  opened.addEventListener("opened", ({ detail: { session_id } }) => {
    // A gateway behind a proxy that hides its headers names the session here.
    if (known === null) store.watch(session_id);
    known = session_id;
    store.callId.value = session_id;
  });
  opened.addEventListener("track", () => {
    sound.play(opened.remoteStream);
    sound.outputMeter.attach(opened.remoteStream);
  });
  opened.addEventListener("message", ({ detail }) => {
    const line = lineOf(detail);
    if (line !== null) store.note(line);
  });
  opened.addEventListener("caption", ({ detail }) => {
    turns.text(performance.now(), detail);
    const others = store.captions.value.filter((row) => row.port !== detail.port || row.utterance !== detail.utterance);
    const at = store.captions.value.findIndex((row) => row.port === detail.port && row.utterance === detail.utterance);
    others.splice(at < 0 ? others.length : at, 0, detail);
    store.captions.value = others.slice(-CAPTIONS);
  });
  opened.addEventListener("draining", ({ detail: { seconds } }) => {
    store.problem.value = draining(Date.now() + seconds * 1000);
  });
  opened.addEventListener("error", ({ detail }) => store.showProblem(detail));
  opened.addEventListener("ended", ({ detail: { reason } }) => {
    const stopped = opened === voice && stopping;
    voice = null;
    stopping = false;
    clearInterval(listening);
    clearInterval(levels);
    store.silent.value = false;
    store.callState.value = "closed";
    store.callId.value = null;
    if (shared) store.leftId.value = known;
    else if (known !== null) store.sessionEnded(known);
    sound.play(null);
    sound.inputMeter.attach(null);
    sound.outputMeter.attach(null);
    store.note({ tone: "plain", name: "closed", text: reason });
    // An error has said more already.
    if (!stopped && store.problem.value === null) store.problem.value = ending(reason);
  });
}

/** The parameters that were filled in, by their declared types; `null` if none was. */
function chosenParameters(): Record<string, unknown> | null {
  const declared = store.description.value?.parameters ?? {};
  const chosen = Object.entries(store.parameters.value).filter(([name, text]) => text !== "" && name in declared);
  if (chosen.length === 0) return null;
  return Object.fromEntries(chosen.map(([name, text]) => [name, parameterValue(declared[name]?.type ?? "string", text)]));
}

function parameterValue(type: string, text: string): unknown {
  if (type === "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text; // The gateway says what it wanted instead.
  }
}

/** Ends the session. */
export function hangUp(): void {
  stopping = true;
  voice?.close("stopped on the page");
}

/** Stops or sends the microphone's sound. */
export function setMuted(muted: boolean): void {
  store.muted.value = muted;
  if (voice !== null) voice.muted = muted;
}

/** Says what goes wrong with `action` instead of throwing it. */
function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error;
    store.showProblem(error);
  }
}

/** Ends what the pipeline is saying. */
export function interrupt(): void {
  attempt(() => {
    voice?.interrupt();
    turns.interrupted();
    store.note({ tone: "plain", name: "interrupt", text: "sent" });
  });
}

/** Sends text to a text input. */
export function sendText(port: string, text: string): void {
  attempt(() => voice?.sendText(port, text));
}

/** Changes the microphone, within the session if there is one. */
export async function chooseMicrophone(id: string): Promise<void> {
  sound.microphoneId.value = id;
  if (voice === null || voice.microphone === null) return;
  try {
    await voice.setMicrophone(sound.microphoneConstraints());
    sound.inputMeter.attach(voice.microphone);
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error;
    store.showProblem(error);
  }
}
