import type { EndpointState, HopFigures, SessionDetail } from "@tidegate/client";
import { describe, expect, it } from "vitest";
import { poolEvents, poolStory, poolsOf, standing } from "../src/model/endpoints.js";
import { spokenHop } from "../src/model/hops.js";
import { ending } from "../src/model/problems.js";
import { Heard, SILENT_MS, isSilent } from "../src/model/silence.js";

const endpoint = (name: string, extra: Partial<EndpointState> = {}): EndpointState => ({
  endpoint: `http://${name}:7001`,
  up: true,
  breaker: "closed",
  in_flight: 1,
  latency_ms: 40,
  weight: 1,
  current: false,
  ...extra,
});
const hop = (endpoints: EndpointState[], failovers = 0, replayed = 0): HopFigures => ({
  id: "stt",
  type: "remote",
  placement: "remote",
  inserted: false,
  endpoints,
  failovers,
  replayed_frames: replayed,
  frames_in: 0,
  frames_out: 0,
  bytes_in: 0,
  bytes_out: 0,
  dropped: {},
  queue_frames: 0,
  in_flight: 0,
  latency: { queue: null, wire: null, service: null, first_output: null },
});
const session = (...hops: HopFigures[]): SessionDetail => ({
  id: "s",
  pipeline: "p",
  transports: [],
  state: "running",
  age_seconds: 1,
  hops,
  edges: [],
  inputs: [],
  outputs: [],
  webrtc: null,
  session_latency: null,
});
const texts = (before: SessionDetail | null, after: SessionDetail): string[] => poolEvents(before, after).map((line) => `${line.tone} ${line.name} ${line.text}`);

describe("pools of remote hops", () => {
  it("are none where the gateway tells of none", () => {
    const { endpoints: _, ...silent } = hop([]);
    expect(poolsOf([silent as HopFigures, hop([])])).toEqual([]);
    expect(texts(session(silent as HopFigures), session(hop([endpoint("a")], 3)))).toEqual([]);
  });

  it("say how an endpoint stands", () => {
    expect([{}, { up: false }, { breaker: "open" }, { breaker: "half_open" }].map((extra) => standing(endpoint("a", extra)))).toEqual([
      { text: "up", lamp: "good" },
      { text: "down", lamp: "bad" },
      { text: "up, shut off", lamp: "bad" },
      { text: "up, being tried", lamp: "wait" },
    ]);
  });

  it("say what a failover did, once", () => {
    const before = session(hop([endpoint("a", { current: true }), endpoint("b")]));
    const after = session(hop([endpoint("a", { up: false }), endpoint("b", { current: true })], 1, 14));
    expect(texts(before, after)).toEqual(["warn failover stt: a:7001 → b:7001 · 14 frames sent again", "bad endpoint stt: a:7001 is down"]);
    expect(texts(after, after)).toEqual([]);
    expect(texts(null, after)).toEqual([]);
    expect(texts(after, session(hop([endpoint("a"), endpoint("b", { current: true })], 1, 14)))).toEqual(["good endpoint stt: a:7001 is up"]);
  });

  it("name a fallback that is no endpoint, and a stream that was opened anew at its own", () => {
    const on = session(hop([endpoint("a", { current: true })]));
    expect(texts(on, session(hop([endpoint("a")], 1)))).toEqual(["warn failover stt: a:7001 → a fallback · no frame had to be sent again"]);
    expect(texts(on, session(hop([endpoint("a", { current: true })], 2, 1)))).toEqual(["warn failover stt: on a:7001, reopened · 1 frame sent again · 2 times"]);
  });

  it("keep count", () => {
    const story = (failovers: number, replayed: number): string => poolStory({ hop: "stt", endpoints: [], failovers, replayed });
    expect([story(0, 0), story(1, 0), story(3, 12)]).toEqual(["", "1 failover, no frame had to be sent again", "3 failovers, 12 frames sent again"]);
    expect(spokenHop(hop([endpoint("a", { up: false }), endpoint("b")], 2), "p50")).toContain("1 of its endpoints out of service; failovers 2");
  });
});

describe("a gateway that has gone", () => {
  it("is noticed when the API and the media have both been silent for two seconds", () => {
    const heard = new Heard();
    expect([heard.take(1_000, 10), heard.take(1_500, 20), heard.take(2_000, 20), heard.take(9_000, 20)]).toEqual([1_000, 1_500, 1_500, 1_500]);
    expect(isSilent(1_500 + SILENT_MS, 1_500, 1_500)).toBe(true);
    expect(isSilent(1_500 + SILENT_MS, 1_600, 1_500)).toBe(false);
    expect(isSilent(1_500 + SILENT_MS, 1_500, 1_600)).toBe(false);
  });

  it("says why a call ended that nobody here stopped", () => {
    expect(ending("deleted")).toMatchObject({ title: "The call was ended at the gateway", mend: "retry", again: "Talk again" });
    expect(ending("finished")).toMatchObject({ again: "Talk again" });
    expect(ending("left")).toBeNull();
  });
});
