/** Whether a call that the browser still calls connected has lost its gateway: ICE takes five to ten seconds to notice. */

/** How long the gateway must be silent on both ways before the page says so. */
export const SILENT_MS = 2_000;

/** When bytes of the connection last came. */
export class Heard {
  #bytes = -1;
  #at = 0;

  /** Takes a count of all bytes received, at `now`; gives when it last grew. */
  take(now: number, bytes: number): number {
    if (bytes !== this.#bytes) this.#at = now;
    this.#bytes = bytes;
    return this.#at;
  }
}

/** Both the API and the media have been silent for so long that the gateway is most likely gone. */
export function isSilent(now: number, answeredAt: number, heardAt: number): boolean {
  return now - answeredAt >= SILENT_MS && now - heardAt >= SILENT_MS;
}
