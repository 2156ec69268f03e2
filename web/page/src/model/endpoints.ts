/** The pools of remote hops: what the page shows of each endpoint, and what happened between two looks. */

import type { EndpointState, Hop, SessionDetail } from "@tidegate/client";
import { hasFigures } from "./hops.js";
import type { LogLine } from "./log.js";
import { formatCount } from "./units.js";

/** A remote hop that says what its pool looks like. */
export interface Pool {
  hop: string;
  endpoints: readonly EndpointState[];
  failovers: number;
  replayed: number;
}

/** The pools of a session's hops; none from a gateway that does not tell. */
export function poolsOf(hops: readonly Hop[]): Pool[] {
  return hops.flatMap((hop) => {
    if (!hasFigures(hop) || hop.endpoints === undefined || hop.endpoints.length === 0) return [];
    return [{ hop: hop.id, endpoints: hop.endpoints, failovers: hop.failovers ?? 0, replayed: hop.replayed_frames ?? 0 }];
  });
}

/** An endpoint without its scheme. */
export function shortEndpoint(endpoint: string): string {
  return endpoint.replace(/^[a-z]+:\/\//, "");
}

/** Whether an endpoint takes frames, in a word, and how that looks. */
export function standing(endpoint: EndpointState): { text: string; lamp: "good" | "wait" | "bad" } {
  if (!endpoint.up) return { text: "down", lamp: "bad" };
  if (endpoint.breaker === "open") return { text: "up, shut off", lamp: "bad" };
  if (endpoint.breaker === "half_open") return { text: "up, being tried", lamp: "wait" };
  return { text: "up", lamp: "good" };
}

/** What a pool went through in this session: `2 failovers, 14 frames sent again`; empty if nothing. */
export function poolStory(pool: Pool): string {
  if (pool.failovers === 0) return "";
  const times = pool.failovers === 1 ? "1 failover" : `${formatCount(pool.failovers)} failovers`;
  return `${times}, ${framesAgain(pool.replayed)}`;
}

function framesAgain(count: number): string {
  if (count === 0) return "no frame had to be sent again";
  return count === 1 ? "1 frame sent again" : `${formatCount(count)} frames sent again`;
}

/** What happened to the pools between two looks at one session, a line each. */
export function poolEvents(before: SessionDetail | null, after: SessionDetail): Pick<LogLine, "tone" | "name" | "text">[] {
  if (before === null || before.id !== after.id) return [];
  const earlier = new Map(poolsOf(before.hops).map((pool) => [pool.hop, pool]));
  return poolsOf(after.hops).flatMap((pool) => {
    const old = earlier.get(pool.hop);
    return old === undefined ? [] : [...moves(old, pool), ...changes(old, pool)];
  });
}

function moves(old: Pool, pool: Pool): Pick<LogLine, "tone" | "name" | "text">[] {
  if (pool.failovers <= old.failovers) return [];
  const serving = (of: Pool): string | undefined => of.endpoints.find((endpoint) => endpoint.current)?.endpoint;
  const [from, to] = [serving(old), serving(pool)].map((endpoint) => (endpoint === undefined ? "a fallback" : shortEndpoint(endpoint)));
  const again = framesAgain(Math.max(0, pool.replayed - old.replayed));
  const times = pool.failovers - old.failovers;
  const way = from === to ? `on ${to}, reopened` : `${from} → ${to}`;
  return [{ tone: "warn", name: "failover", text: [`${pool.hop}: ${way}`, again, times > 1 ? `${times} times` : ""].filter((part) => part !== "").join(" · ") }];
}

function changes(old: Pool, pool: Pool): Pick<LogLine, "tone" | "name" | "text">[] {
  const earlier = new Map(old.endpoints.map((endpoint) => [endpoint.endpoint, endpoint]));
  return pool.endpoints.flatMap((endpoint) => {
    const was = earlier.get(endpoint.endpoint);
    if (was === undefined) return [];
    const [then, now] = [standing(was), standing(endpoint)];
    if (then.text === now.text) return [];
    const tone = now.lamp === "good" ? ("good" as const) : now.lamp === "bad" ? ("bad" as const) : ("warn" as const);
    return [{ tone, name: "endpoint", text: `${pool.hop}: ${shortEndpoint(endpoint.endpoint)} is ${now.text}` }];
  });
}
