/**
 * Whether a box that scrolls stays at its end as it grows: until its reader scrolls up, and again once they are back there.
 *
 * Absent: any notice of where the end is when the reader did not scroll. A box's `scroll` event comes later than what caused it, and
 * what was the end then may no longer be.
 */

/** Nearer to the end than this counts as there. */
const NEAR = 24;

/** What is read of a box: an element is one. */
export interface ScrollBox {
  scrollTop: number;
  readonly scrollHeight: number;
  readonly clientHeight: number;
}

/** A box's reader. */
export class Follow {
  #follows = true;
  #at = 0;

  /** The box has grown, or changed its size. */
  grew(box: ScrollBox): void {
    if (!this.#follows) return;
    box.scrollTop = box.scrollHeight;
    this.#at = box.scrollTop;
  }

  /** The box was scrolled, by its reader or by `grew`. */
  scrolled(box: ScrollBox): void {
    const up = box.scrollTop < this.#at;
    this.#at = box.scrollTop;
    if (box.scrollHeight - box.scrollTop - box.clientHeight < NEAR) this.#follows = true;
    else if (up) this.#follows = false;
  }
}
