/** Sound levels: from samples to decibels below full scale. */

/** The bottom of the meters, dBFS. */
export const LEVEL_MIN_DB = -60;

/** The level of a block of samples in dBFS, root mean square; at least `LEVEL_MIN_DB`. */
export function levelDb(samples: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < samples.length; index += 1) sum += (samples[index] as number) ** 2;
  const rms = Math.sqrt(sum / Math.max(1, samples.length));
  return rms <= 0 ? LEVEL_MIN_DB : Math.max(LEVEL_MIN_DB, 20 * Math.log10(rms));
}

/** Where a level lies on the meter: 0 at the bottom, 1 at full scale. */
export function levelPosition(db: number): number {
  return Math.min(1, Math.max(0, 1 - db / LEVEL_MIN_DB));
}

/** A meter's needle: rises at once, falls by 24 dB a second, and holds its peak for a second and a half. */
export class Needle {
  db = LEVEL_MIN_DB;
  peakDb = LEVEL_MIN_DB;
  #peakUntil = 0;
  #last: number | null = null;

  /** Takes a level at `seconds`. */
  take(db: number, seconds: number): void {
    const fall = this.#last === null ? 0 : (seconds - this.#last) * 24;
    this.#last = seconds;
    this.db = Math.max(LEVEL_MIN_DB, db, this.db - fall);
    if (this.db >= this.peakDb || seconds >= this.#peakUntil) {
      this.peakDb = this.db;
      this.#peakUntil = seconds + 1.5;
    }
  }
}
