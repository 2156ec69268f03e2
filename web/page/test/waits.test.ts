import type { HopFigures, Latency, PortFigures, SessionDetail } from "@tidegate/client";
import { describe, expect, it } from "vitest";
import { draw } from "../src/model/graph.js";
import { breakdown, longestWait, spokenPort, waitOf, waitOfAll } from "../src/model/waits.js";

const latency = (us: number, count = 100): Latency => ({ count, p50_us: us, p90_us: us * 2, p99_us: us * 4, max_us: us * 5 });
const hop = (id: string, service: number): HopFigures => ({
  id, type: "gain", placement: "in_place", inserted: false, frames_in: 0, frames_out: 0, bytes_in: 0, bytes_out: 0,
  dropped: {}, queue_frames: 0, in_flight: 0, latency: { queue: null, wire: null, service: latency(service), first_output: null },
});
const end = (node: string) => ({ node, port: "" });
const speaker: PortFigures = { name: "speaker", kind: "audio", paced: true, frames: 500, dropped: { age: 3, full: 0 }, queue_frames: 12, queue: latency(330_000) };
const session = (extra: Partial<SessionDetail> = {}): SessionDetail => ({
  id: "s", pipeline: "p", transports: ["webrtc"], state: "running", age_seconds: 9, webrtc: null,
  inputs: [{ name: "mic", kind: "audio", queue: null, frames: 500 }],
  outputs: [speaker],
  hops: [hop("denoise", 1000), hop("vad", 500), hop("aside", 90)],
  edges: [
    { from: end("mic"), to: end("denoise") },
    { from: end("denoise"), to: end("vad") },
    { from: end("mic"), to: end("aside") },
    { from: end("vad"), to: end("speaker") },
    { from: end("aside"), to: end("speaker") },
  ],
  session_latency: latency(336_000),
  ...extra,
});

describe("a wait at an output", () => {
  it("is of all frames, also of those that passed at once and were not measured", () => {
    expect((["p50", "p90", "p99"] as const).map((p) => waitOfAll(latency(100), 1, p))).toEqual([100, 200, 400]);
    expect((["p50", "p90"] as const).map((p) => waitOfAll(latency(100), 0.2, p))).toEqual([0, 100]);
    const all = session({ session_latency: latency(400, 1000) });
    expect([waitOf(speaker, all, "p50"), waitOf(all.outputs[0] as PortFigures, all, "p50")]).toEqual([0, 0]);
    expect(waitOf(speaker, session({ outputs: [speaker] }), "p50")).toBe(330_000);
    // What nobody listened to went nowhere, and says nothing of how many waited elsewhere.
    const alone = session({ outputs: [speaker, { ...speaker, name: "empty", dropped: { detached: 500 }, queue: null }], session_latency: latency(400, 1000) });
    expect(waitOf(speaker, alone, "p50")).toBe(0);
  });

  it("is none where nothing waited, and none in a description", () => {
    const still: PortFigures = { ...speaker, queue: null };
    expect(waitOf(still, session(), "p50")).toBeNull();
    expect(waitOf({ name: "speaker", kind: "audio" }, { inputs: [], outputs: [], hops: [], edges: [] }, "p50")).toBeNull();
    expect(longestWait(session(), "p90")).toBe(660_000);
  });

  it("can be read aloud", () => {
    expect(spokenPort(speaker, "output", session(), "p50")).toBe("speaker, output, audio; p50 wait 330 ms, paced; 12 frames wait; dropped age 3");
  });

  it("has room in the picture once it is measured", () => {
    const size = (detail: SessionDetail) => draw(detail, "right").boxes.filter((box) => box.role !== "hop").map((box) => [box.id, box.height]);
    expect(size(session())).toEqual([["mic", 38], ["speaker", 76]]);
    expect(size(session({ outputs: [{ name: "speaker", kind: "audio" }] }))).toEqual([["mic", 38], ["speaker", 38]]);
  });
});

describe("a session's latency", () => {
  it("is its hops on the slowest way, the wait at the output, and what nobody measured", () => {
    const whole = breakdown(session(), "p50");
    expect(whole?.portions).toEqual([
      { name: "hops", us: 1500, kind: "service", note: "" },
      { name: "speaker", us: 330_000, kind: "queue", note: "paced" },
      { name: "elsewhere", us: 4500, kind: "rest", note: "" },
    ]);
    const held = { rtt_ms: null, jitter_ms: null, packets_lost: 0, jitter_buffer_ms: 4, concealed_samples: 0 };
    expect(breakdown(session({ webrtc: held }), "p50")?.portions[2]?.note).toBe("jitter buffer now 4.00 ms");
    expect(whole?.portions.reduce((sum, portion) => sum + portion.us, 0)).toBe(whole?.us);
  });

  it("names a hop that is a good part of it", () => {
    const slow = session({ hops: [hop("denoise", 1000), hop("vad", 400_000)], outputs: [{ ...speaker, queue: null }], session_latency: latency(402_000) });
    expect(breakdown(slow, "p50")?.portions.map(({ name, us }) => [name, us])).toEqual([["other hops", 1000], ["vad", 400_000]]);
  });

  it("is nothing before anything was measured, and knows its way out of a circle", () => {
    expect(breakdown(session({ session_latency: null }), "p50")).toBeNull();
    const circle = session({ edges: [...session().edges, { from: end("vad"), to: end("denoise") }] });
    expect(breakdown(circle, "p50")?.portions[0]?.us).toBe(1500);
  });
});
