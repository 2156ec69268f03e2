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
}

/** How many utterances a port's order is kept for; an older one that is still revised shows again. */
const REMEMBERED = 64;

/** Turns text frames into captions and drops revisions that come late. */
export class Captions {
  readonly #revisions = new Map<string, number>();

  /** The caption that `frame` makes, or `null` if it carries no text or is superseded already. */
  take(frame: Frame): Caption | null {
    const text = textOf(frame);
    if (text === null) return null;
    const alone = frame.utterance === undefined || frame.utterance === 0;
    const utterance = alone ? -frame.seq : (frame.utterance as number);
    const revision = frame.revision ?? 0;
    const key = `${frame.port}/${utterance}`;
    const known = this.#revisions.get(key);
    if (known !== undefined && revision < known) return null;
    this.#revisions.delete(key);
    this.#revisions.set(key, revision);
    for (const oldest of this.#revisions.keys()) {
      if (this.#revisions.size <= REMEMBERED) break;
      this.#revisions.delete(oldest);
    }
    return { port: frame.port, utterance, revision, final: alone || frame.final === true, text, mediaTime: frame.media_time };
  }
}
