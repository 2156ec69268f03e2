/** Percentiles over time: a bounded series for the session, for each part of each hop, and for the waits at inputs and outputs. */

import type { Latency, SessionDetail } from "@tidegate/client";

/** What became of the time at a hop. */
export type Part = "queue" | "wire" | "service" | "first_output";

/** The parts, in the order in which a frame meets them. */
export const PARTS: readonly Part[] = ["queue", "wire", "service"];

/** How a part is called on the page. */
export const PART_NAMES: Record<Part, string> = {
  queue: "Queue",
  wire: "Wire",
  service: "Service",
  first_output: "First output",
};

/** How many samples a series keeps: two minutes at one a second. */
export const HISTORY_SAMPLES = 120;

/** A look that comes sooner after the one before says nothing new. */
const SOONEST_SECONDS = 0.4;

/** A series as the chart wants it: seconds, then the percentiles in milliseconds. */
export type Series = [times: number[], p50: (number | null)[], p90: (number | null)[], p99: (number | null)[]];

const SESSION = "";

/** The name of a series: `""` for the session, else `hop/part`. */
export function seriesName(hop: string | null, part: Part): string {
  return hop === null ? SESSION : `${hop}/${part}`;
}

/** What was measured of one session while the page looked. */
export class History {
  readonly #series = new Map<string, (Latency | null)[]>();
  #times: number[] = [];

  /** Takes one look at the session, at `seconds` since the epoch. */
  take(seconds: number, detail: Pick<SessionDetail, "hops" | "session_latency"> & Partial<Pick<SessionDetail, "inputs" | "outputs">>): void {
    const last = this.#times[this.#times.length - 1];
    if (last !== undefined && seconds - last < SOONEST_SECONDS) return;
    this.#times.push(seconds);
    const figures = new Map<string, Latency | null>([[SESSION, detail.session_latency]]);
    for (const hop of detail.hops) {
      for (const part of [...PARTS, "first_output"] as const) figures.set(seriesName(hop.id, part), hop.latency[part]);
    }
    for (const port of [...(detail.inputs ?? []), ...(detail.outputs ?? [])]) figures.set(seriesName(port.name, "queue"), port.queue ?? null);
    for (const [name, latency] of figures) {
      let series = this.#series.get(name);
      if (series === undefined) {
        series = new Array<Latency | null>(this.#times.length - 1).fill(null);
        this.#series.set(name, series);
      }
      series.push(latency !== null && latency.count > 0 ? latency : null);
    }
    for (const [name, series] of this.#series) if (!figures.has(name)) series.push(null);
    if (this.#times.length > HISTORY_SAMPLES) {
      this.#times.shift();
      for (const series of this.#series.values()) series.shift();
    }
  }

  /** One series; all gaps if nothing of that name was ever seen. */
  series(name: string): Series {
    const latencies = this.#series.get(name) ?? new Array<Latency | null>(this.#times.length).fill(null);
    const ms = (key: "p50_us" | "p90_us" | "p99_us"): (number | null)[] =>
      latencies.map((latency) => (latency === null ? null : latency[key] / 1000));
    return [[...this.#times], ms("p50_us"), ms("p90_us"), ms("p99_us")];
  }
}
