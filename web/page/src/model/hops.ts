/** A hop as the picture and the table show it: its figures at one percentile, on one scale. */

import type { Hop, HopFigures, Placement } from "@tidegate/client";
import { PARTS, type Part } from "./history.js";
import { type Percentile, formatMicros, niceCeil, percentileUs } from "./units.js";

/** Where hops run, in words. */
export const PLACEMENTS: Record<Placement, string> = { in_place: "in place", offload: "thread", remote: "remote" };

/** One hop's time at one percentile, in microseconds; `null` where nothing was measured. */
export interface HopTime {
  parts: Record<"queue" | "wire" | "service", number | null>;
  firstOutput: number | null;
  /** The parts together: an upper estimate, since percentiles do not add up exactly. `null` without any. */
  total: number | null;
}

/** Whether a hop carries figures: in a pipeline's description none does. */
export function hasFigures(hop: Hop): hop is HopFigures {
  return "latency" in hop;
}

/** A hop's time at a percentile. */
export function timeOf(hop: Hop, percentile: Percentile): HopTime {
  const latency = hasFigures(hop) ? hop.latency : null;
  const part = (name: Part): number | null => percentileUs(latency?.[name], percentile);
  const parts = { queue: part("queue"), wire: part("wire"), service: part("service") };
  const known = Object.values(parts).filter((value): value is number => value !== null);
  return {
    parts,
    firstOutput: part("first_output"),
    total: known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0),
  };
}

/** What a full bar stands for, so that all hops and the waits beside them share one scale: a round figure, in microseconds. */
export function scaleOf(hops: readonly Hop[], percentile: Percentile, longestWait = 0): number {
  const longest = Math.max(longestWait, ...hops.map((hop) => timeOf(hop, percentile).total ?? 0));
  return niceCeil(longest);
}

/** Frames that did not go on. */
export function droppedTotal(hop: Hop): number {
  if (!hasFigures(hop)) return 0;
  return Object.values(hop.dropped).reduce((sum, count) => sum + count, 0);
}

/** Why frames did not go on: `late 3, queue_full 12`. */
export function droppedText(hop: Hop): string {
  if (!hasFigures(hop)) return "";
  return Object.entries(hop.dropped)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(", ");
}

/** A hop in a sentence, for those who do not see the picture. */
export function spokenHop(hop: Hop, percentile: Percentile): string {
  const time = timeOf(hop, percentile);
  const words = [`${hop.id}, ${hop.type}, ${PLACEMENTS[hop.placement]}${hop.inserted ? ", inserted conversion" : ""}`];
  if (time.total !== null) {
    const parts = PARTS.map((part) => [part, time.parts[part as "queue" | "wire" | "service"]] as const)
      .filter(([, value]) => value !== null)
      .map(([part, value]) => `${part} ${formatMicros(value)}`);
    words.push(`${percentile} ${formatMicros(time.total)}: ${parts.join(", ")}`);
  }
  if (hasFigures(hop) && hop.queue_frames > 0) words.push(`${hop.queue_frames} frames wait`);
  const down = hasFigures(hop) ? (hop.endpoints ?? []).filter((endpoint) => !endpoint.up || endpoint.breaker === "open") : [];
  if (down.length > 0) words.push(`${down.length} of its endpoints out of service`);
  if (hasFigures(hop) && (hop.failovers ?? 0) > 0) words.push(`failovers ${hop.failovers}`);
  const dropped = droppedText(hop);
  if (dropped !== "") words.push(`dropped ${dropped}`);
  return words.join("; ");
}
