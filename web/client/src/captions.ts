/** Captions: text frames with what they supersede sorted out. */

import { type Frame, textOf } from "./messages.js";

/** What is known of one utterance's text. */
export interface Caption {
  port: string;
  /** Numbered per port. A text frame without one is an utterance of its own, numbered by its `seq`, negative. */
  utterance: number;
  revision: number;
  /** It will not change any more. */
  final: boolean;
  text: string;
  /** Microseconds. */
  mediaTime: number;
  /** Microseconds from the arrival of the newest input that it came from to its departure, by the gateway; left out where it does not say. */
  service?: number;
}

/** How many utterances of each port the order is kept for; an older one that is still revised shows again. */
const REMEMBERED = 64;

/** Turns text frames into captions and drops revisions that come late. */
export class Captions {
  /** By port, and there by utterance. A session has no more ports than its `opened` names. */
  readonly #revisions = new Map<string, Map<number, number>>();

  /** The caption that `frame` makes, or `null` if it carries no text or is superseded already. */
  take(frame: Frame): Caption | null {
    const text = textOf(frame);
    if (text === null) return null;
    const alone = frame.utterance === undefined || frame.utterance === 0;
    const utterance = alone ? -frame.seq : (frame.utterance as number);
    const revision = frame.revision ?? 0;
    const revisions = this.#revisions.get(frame.port) ?? new Map<number, number>();
    this.#revisions.set(frame.port, revisions);
    const known = revisions.get(utterance);
    if (known !== undefined && revision < known) return null;
    revisions.delete(utterance);
    revisions.set(utterance, revision);
    for (const oldest of revisions.keys()) {
      if (revisions.size <= REMEMBERED) break;
      revisions.delete(oldest);
    }
    return { port: frame.port, utterance, revision, final: alone || frame.final === true, text, mediaTime: frame.media_time, ...(frame.service === undefined ? {} : { service: frame.service }) };
  }
}
