/**
 * Waiting at inputs and outputs, and what a session's latency is made of: its hops, its waits, and what nobody measured.
 *
 * The gateway measures the wait of the frames that had to wait. A share of all frames passes at once, so percentiles here are
 * those of all frames: half of which may not have waited at all.
 */

import type { Hop, Latency, Port, PortFigures, SessionDetail } from "@tidegate/client";
import type { Topology } from "./graph.js";
import { timeOf } from "./hops.js";
import { type Percentile, formatMicros, percentileUs } from "./units.js";

const RANKS: Record<Percentile, number> = { p50: 0.5, p90: 0.9, p99: 0.99 };
/** A hop that is below this part of the whole is not named by itself. */
const WORTH_NAMING = 0.05;

/** Whether a port carries figures: in a pipeline's description none does. */
export function hasPortFigures(port: Port): port is PortFigures {
  return "queue" in port;
}

/** A percentile of all frames, of which only a `share` waited as `latency` says; an upper estimate between the known points. */
export function waitOfAll(latency: Latency, share: number, percentile: Percentile): number {
  const rank = (RANKS[percentile] - (1 - share)) / share;
  if (rank <= 0) return 0;
  const points: [number, number][] = [[0.5, latency.p50_us], [0.9, latency.p90_us], [0.99, latency.p99_us], [1, latency.max_us]];
  const next = points.findIndex(([at]) => rank <= at + 1e-9);
  const [to, high] = points[next] ?? [1, latency.max_us];
  const [from, low] = points[next - 1] ?? [0, high];
  return low + ((high - low) * (rank - from)) / (to - from);
}

/** What part of an output's frames waited there in the last ten seconds. */
function waitingShare(port: PortFigures, detail: SessionDetail): number {
  const left = detail.session_latency?.count ?? 0;
  const went = (output: PortFigures): number => (output.frames ?? 0) - portDrops(output).total;
  const all = detail.outputs.reduce((sum, output) => sum + went(output), 0);
  const waited = port.queue?.count ?? 0;
  if (left === 0 || all <= 0) return 1;
  // The session's frames left by several outputs, each in proportion to what it has carried so far.
  const here = (left * went(port)) / all;
  return here <= waited ? 1 : waited / here;
}

/** How long a frame waited at a port, in microseconds; `null` where none did. */
export function waitOf(port: Port, topology: Topology, percentile: Percentile): number | null {
  if (!hasPortFigures(port) || percentileUs(port.queue, percentile) === null) return null;
  const share = isSession(topology) && topology.outputs.includes(port) ? waitingShare(port, topology) : 1;
  return waitOfAll(port.queue as Latency, share, percentile);
}

function isSession(topology: Topology): topology is SessionDetail {
  return "session_latency" in topology;
}

/** The longest wait at any port, for the scale that all bars share. */
export function longestWait(topology: Topology, percentile: Percentile): number {
  return Math.max(0, ...[...topology.inputs, ...topology.outputs].map((port) => waitOf(port, topology, percentile) ?? 0));
}

/** What a wait at a port is for. */
export function waitWord(port: Port): "paced" | "queue" {
  return hasPortFigures(port) && port.paced === true ? "paced" : "queue";
}

/** Frames that did not go on from a port, in all and by reason. */
export function portDrops(port: Port): { total: number; text: string } {
  const reasons = Object.entries((hasPortFigures(port) ? port.dropped : undefined) ?? {}).filter(([, count]) => count > 0);
  return { total: reasons.reduce((sum, [, count]) => sum + count, 0), text: reasons.map(([reason, count]) => `${reason} ${count}`).join(", ") };
}

/** A port in a sentence, for those who do not see the picture. */
export function spokenPort(port: Port, role: "input" | "output", topology: Topology, percentile: Percentile): string {
  const words = [[port.name, role, port.kind ?? ""].filter((word) => word !== "").join(", ")];
  const wait = waitOf(port, topology, percentile);
  if (wait !== null) words.push(`${percentile} wait ${formatMicros(wait)}${waitWord(port) === "paced" ? ", paced" : ""}`);
  if (hasPortFigures(port) && (port.queue_frames ?? 0) > 0) words.push(`${port.queue_frames} frames wait`);
  const { text } = portDrops(port);
  if (text !== "") words.push(`dropped ${text}`);
  return words.join("; ");
}

/** A part of the session's latency. */
export interface Portion {
  name: string;
  us: number;
  kind: "queue" | "wire" | "service" | "rest";
  /** What is to be known of it. */
  note: string;
}

/** What the session's latency is made of, on the longest way through it. */
export interface Breakdown {
  us: number;
  portions: Portion[];
}

/** The slowest way to each output: its hops, in order. Edges that lead back are not followed. */
function waysTo(detail: SessionDetail, percentile: Percentile): Map<string, Hop[]> {
  const hops = new Map(detail.hops.map((hop) => [hop.id, hop]));
  const cost = (way: readonly Hop[]): number => way.reduce((sum, hop) => sum + (timeOf(hop, percentile).total ?? 0), 0);
  const known = new Map<string, Hop[]>();
  const walk = (node: string, above: ReadonlySet<string>): Hop[] => {
    const found = known.get(node);
    if (found !== undefined) return found;
    const below = new Set(above).add(node);
    let slowest: Hop[] = [];
    for (const edge of detail.edges) {
      if (edge.to.node !== node || below.has(edge.from.node)) continue;
      const way = walk(edge.from.node, below);
      if (cost(way) > cost(slowest)) slowest = way;
    }
    const hop = hops.get(node);
    const way = hop === undefined ? slowest : [...slowest, hop];
    known.set(node, way);
    return way;
  };
  return new Map(detail.outputs.map((output) => [output.name, walk(output.name, new Set())]));
}

function hopPortion(hop: Hop, percentile: Percentile): Portion {
  const { parts, total } = timeOf(hop, percentile);
  const kinds = ["queue", "wire", "service"] as const;
  const kind = kinds.reduce((most, part) => ((parts[part] ?? 0) > (parts[most] ?? 0) ? part : most), "service");
  return { name: hop.id, us: total ?? 0, kind, note: kind === "service" ? "" : kind };
}

/** What the latency is made of, the parts in the order in which a frame meets them; `null` before anything was measured. */
export function breakdown(detail: SessionDetail, percentile: Percentile): Breakdown | null {
  const us = percentileUs(detail.session_latency, percentile);
  if (us === null || us === 0) return null;
  const sum = (portions: readonly Portion[]): number => portions.reduce((all, portion) => all + portion.us, 0);
  let longest: Portion[] = [];
  for (const [name, way] of waysTo(detail, percentile)) {
    const output = detail.outputs.find((one) => one.name === name) as PortFigures;
    const wait: Portion = { name, us: waitOf(output, detail, percentile) ?? 0, kind: "queue", note: waitWord(output) };
    const portions = [...way.map((hop) => hopPortion(hop, percentile)), wait];
    if (longest.length === 0 || sum(portions) > sum(longest)) longest = portions;
  }
  const output = longest[longest.length - 1];
  const named = longest.filter((portion) => portion.us > 0 && (portion === output || portion.us >= WORTH_NAMING * us));
  const small = sum(longest) - sum(named);
  const hops = named.some((portion) => portion !== output) ? "other hops" : "hops";
  const portions = small > 0 ? [{ name: hops, us: small, kind: "service" as const, note: "" }, ...named] : named;
  const rest = us - sum(portions);
  if (rest > 0.01 * us) {
    const held = (detail.webrtc?.jitter_buffer_ms ?? 0) * 1000;
    portions.push({ name: "elsewhere", us: rest, kind: "rest", note: held > 0 ? `jitter buffer now ${formatMicros(held)}` : "" });
  }
  return { us, portions };
}

/** Whether the parts are more than the whole: percentiles of parts are an upper estimate. */
export function exceeds(whole: Breakdown): boolean {
  return whole.portions.reduce((sum, portion) => sum + portion.us, 0) > 1.02 * whole.us;
}

/** What `elsewhere` stands for. */
export const ELSEWHERE = "Not measured apart: in the jitter buffer, held by hops until enough had come, or waiting for the processor";
