/**
 * Turns of a conversation: from the end of what a person said to the first audible answer, and what each part of the pipeline had of it.
 *
 * What is known: how loud the microphone and the answer are, and the final texts with the gateway's own word for how long after the
 * utterance's last frame each of them left. Pure: levels, texts and times come in, turns come out. Times are in milliseconds of one clock.
 */

import type { Caption } from "@tidegate/client";
import type { Topology } from "./graph.js";

/** From here on a level is speech, in dBFS; a microphone that hums is quieter, and a voice nearby is not. */
export const AUDIBLE_DB = -45;
/** An answer that was quiet for so long begins anew: pauses between its words are shorter. */
export const SILENCE_MS = 600;
/** Texts come by another way than sound: one that is behind its own answer by no more than this is still the answer's. */
export const BEHIND_MS = 1_000;
/** An answer that has not begun by then does not belong to the text before it. */
export const LATE_MS = 15_000;
/** How many turns are kept. */
export const TURNS = 50;
/** How many times of speech are remembered: half a minute of them. */
const MOMENTS = 1_500;

/** A part of a turn. */
export interface TurnPart {
  /** The hop that had it, or what else took the time. */
  name: string;
  ms: number;
}

/** One turn. */
export interface Turn {
  /** The utterance that was answered. */
  utterance: number;
  /** From the last sound of speech to the first sound of the answer. */
  ms: number;
  parts: TurnPart[];
}

/** The end of speech until the gateway knows that it is one: the hangover, and the way of sound and of the first text. */
export const PAUSE = "pause";

interface Text {
  port: string;
  /** When it came. */
  at: number;
  /** How long after the utterance's last frame it left the gateway; `null` if the gateway does not say. */
  serviceMs: number | null;
}

/** The hop that feeds an output: its id, or the output's own name where an input goes straight to it. */
export function feederOf(topology: Pick<Topology, "hops" | "edges"> | null, output: string): string {
  const isHop = (id: string): boolean => topology?.hops.some((hop) => hop.id === id && !hop.inserted) ?? false;
  let node = output;
  // What was inserted on the way (an encoder, a resampler) belongs to the hop before it.
  for (let steps = topology?.hops.length ?? 0; steps >= 0; steps -= 1) {
    const before = topology?.edges.find((edge) => edge.to.node === node)?.from.node;
    if (before === undefined) break;
    if (isHop(before)) return before;
    node = before;
  }
  return output;
}

/** Makes turns. */
export class Turns {
  /** When the microphone was loud, oldest first. */
  readonly #spoken: number[] = [];
  /** When the answer was audible last, and when it began to be; `null`: its beginning was some turn's. */
  #soundedAt = Number.NEGATIVE_INFINITY;
  #beganAt: number | null = null;
  #waiting: { utterance: number; texts: Text[]; heardAt: number | null; lost: boolean } | null = null;

  /** The microphone's level. */
  said(at: number, db: number): void {
    if (db < AUDIBLE_DB) return;
    this.#spoken.push(at);
    if (this.#spoken.length > MOMENTS) this.#spoken.shift();
  }

  /** A final text came. */
  text(at: number, caption: Pick<Caption, "port" | "utterance" | "final" | "service">): void {
    if (!caption.final) return;
    if (this.#waiting === null || caption.utterance > this.#waiting.utterance) {
      const behind = this.#beganAt !== null && at - this.#beganAt <= BEHIND_MS;
      // While the answer before still sounds, nobody can tell where this one begins.
      const lost = !behind && at - this.#soundedAt < SILENCE_MS;
      this.#waiting = { utterance: caption.utterance, texts: [], heardAt: behind ? this.#beganAt : null, lost };
    }
    if (caption.utterance !== this.#waiting.utterance || this.#waiting.texts.some((text) => text.port === caption.port)) return;
    this.#waiting.texts.push({ port: caption.port, at, serviceMs: caption.service === undefined ? null : caption.service / 1000 });
  }

  /** The answer's level; gives the turn whose answer has begun, once its texts have had time to come. */
  heard(at: number, db: number, feeder: (output: string | null) => string): Turn | null {
    const waiting = this.#waiting;
    if (db >= AUDIBLE_DB) {
      if (at - this.#soundedAt >= SILENCE_MS) {
        this.#beganAt = at;
        if (waiting !== null && !waiting.lost) waiting.heardAt ??= at;
      }
      this.#soundedAt = at;
    }
    if (waiting === null || waiting.heardAt === null || at - waiting.heardAt < BEHIND_MS) return null;
    this.#waiting = null;
    this.#beganAt = null;
    return this.#turn(waiting.utterance, waiting.texts, waiting.heardAt, feeder);
  }

  /** Nobody waits for an answer any more. */
  interrupted(): void {
    this.#waiting = null;
    this.#beganAt = null;
  }

  #turn(utterance: number, texts: readonly Text[], heardAt: number, feeder: (output: string | null) => string): Turn | null {
    if (heardAt - Math.max(...texts.map((text) => text.at)) > LATE_MS) return null;
    // The utterance's last frame had come when the first text was begun: what was spoken after that is another's.
    // Each text had left the gateway before the answer that follows from it, and came here no sooner.
    const ended = Math.min(...texts.map((text) => Math.min(text.at, heardAt) - (text.serviceMs ?? 0)));
    const spoken = this.#spoken.filter((moment) => moment <= ended).pop();
    if (spoken === undefined) return null;
    return { utterance, ms: heardAt - spoken, parts: partsOf(spoken, ended, texts, heardAt, feeder) };
  }
}

function partsOf(spoken: number, ended: number, texts: readonly Text[], heardAt: number, feeder: (output: string | null) => string): TurnPart[] {
  const parts: TurnPart[] = [{ name: PAUSE, ms: ended - spoken }];
  // What is left for a part: without the gateway's word a text may have come behind the answer.
  let left = heardAt - ended;
  let before: Text | null = null;
  for (const text of texts) {
    // By the gateway's clock where it says so of both: the way to this page is then in the last part alone.
    const known = text.serviceMs !== null && (before === null || before.serviceMs !== null);
    const took = known ? (text.serviceMs as number) - (before?.serviceMs ?? 0) : text.at - (before?.at ?? ended);
    const ms = Math.min(left, Math.max(0, took));
    parts.push({ name: feeder(text.port), ms });
    left -= ms;
    before = text;
  }
  parts.push({ name: feeder(null), ms: left });
  return parts;
}

/** The middle of the turns, in all and of each part by its name, in the order of the newest turn; `null` without turns. */
export function middle(turns: readonly Turn[]): { ms: number; parts: TurnPart[] } | null {
  const newest = turns[turns.length - 1];
  if (newest === undefined) return null;
  const of = (name: string): number[] => turns.flatMap((turn) => turn.parts.filter((part) => part.name === name).map((part) => part.ms));
  return { ms: median(turns.map((turn) => turn.ms)), parts: newest.parts.map(({ name }) => ({ name, ms: median(of(name)) })) };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const [low, high] = [sorted[half - (1 - (sorted.length % 2))] ?? 0, sorted[half] ?? 0];
  return (low + high) / 2;
}
