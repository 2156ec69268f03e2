import type { HopFigures, Latency, Port, SessionDetail } from "@tidegate/client";
import { TidegateError } from "@tidegate/client";
import { describe, expect, it } from "vitest";
import { Follow } from "../src/model/follow.js";
import { hopsInFlow } from "../src/model/flow.js";
import { type Topology, conversion, draw, edgeRows, withFormats } from "../src/model/graph.js";
import { HISTORY_SAMPLES, History, seriesName } from "../src/model/history.js";
import { droppedText, scaleOf, spokenHop, timeOf } from "../src/model/hops.js";
import { LEVEL_MIN_DB, Needle, levelDb, levelPosition } from "../src/model/levels.js";
import { lineOf } from "../src/model/log.js";
import { draining, explain } from "../src/model/problems.js";
import { formatAge, formatBytes, formatCount, formatFormat, formatMicros, niceCeil, percentileUs } from "../src/model/units.js";

const latency = (us: number): Latency => ({ count: 10, p50_us: us, p90_us: us * 2, p99_us: us * 4, max_us: us * 5 });
const hop = (id: string, queue: number | null, wire: number | null, service: number | null, extra: Partial<HopFigures> = {}): HopFigures => ({
  id,
  type: "audio.vad",
  placement: "in_place",
  inserted: false,
  frames_in: 0,
  frames_out: 0,
  bytes_in: 0,
  bytes_out: 0,
  dropped: {},
  queue_frames: 0,
  in_flight: 0,
  latency: {
    queue: queue === null ? null : latency(queue),
    wire: wire === null ? null : latency(wire),
    service: service === null ? null : latency(service),
    first_output: null,
  },
  ...extra,
});

describe("figures as text", () => {
  it("have three digits and the unit that fits", () => {
    expect([0, 0.34, 0.9996, 12.5, 999.4, 999.6, 41_000, 999_499, 999_501, 1_200_000].map(formatMicros)).toEqual([
      "0", "340 ns", "1.00 µs", "12.5 µs", "999 µs", "1.00 ms", "41.0 ms", "999 ms", "1.00 s", "1.20 s",
    ]);
    expect([null, undefined, Number.NaN].map(formatMicros)).toEqual(["–", "–", "–"]);
  });

  it("count, weigh and date", () => {
    expect([9_999, 12_345, 4_560_000].map(formatCount)).toEqual(["9999", "12.3 k", "4.56 M"]);
    expect([0, 1023, 1536, 5 * 2 ** 20].map(formatBytes)).toEqual(["0 B", "1023 B", "1.50 KiB", "5.00 MiB"]);
    expect([-1, 42.9, 723, 11_045].map(formatAge)).toEqual(["0:00", "0:42", "12:03", "3:04:05"]);
  });

  it("end a scale at a round one", () => {
    expect([0, 0.3, 1, 1.2, 49, 50, 51, 9e5].map(niceCeil)).toEqual([1, 0.5, 1, 2, 50, 50, 100, 1e6]);
  });

  it("say a format however the server writes it", () => {
    expect(formatFormat("opus")).toBe("opus");
    expect(formatFormat({ codec: "opus", sample_rate: 48000, channels: 1 })).toBe("opus 48 kHz mono");
    expect(formatFormat([{ codec: "opus" }, { codec: "pcm_s16" }])).toBe("opus or pcm_s16");
    expect(formatFormat(null)).toBe("");
  });

  it("are none where nothing was measured", () => {
    expect(percentileUs({ ...latency(5), count: 0 }, "p50")).toBeNull();
    expect(percentileUs(latency(5), "p99")).toBe(20);
  });
});

describe("a hop", () => {
  it("costs what it waited, travelled and computed together", () => {
    expect(timeOf(hop("stt", 100, 20, 3000), "p90")).toMatchObject({ parts: { queue: 200, wire: 40, service: 6000 }, total: 6240 });
    expect(timeOf(hop("vad", null, null, null), "p50").total).toBeNull();
  });

  it("shares its scale with the others", () => {
    expect(scaleOf([hop("a", null, null, 0.3), hop("b", 1, 2, 41_000)], "p50")).toBe(50_000);
    expect(scaleOf([], "p50")).toBe(1);
  });

  it("can be read aloud", () => {
    const text = spokenHop(hop("stt", 0, 20, 3000, { placement: "remote", queue_frames: 3, dropped: { late: 2, full: 0 } }), "p50");
    expect(text).toBe("stt, audio.vad, remote; p50 3.02 ms: queue 0, wire 20.0 µs, service 3.00 ms; 3 frames wait; dropped late 2");
  });

  it("names the reasons of its drops", () => {
    expect(droppedText(hop("a", null, null, null, { dropped: { late: 3, overflow: 0, gone: 1 } }))).toBe("late 3, gone 1");
  });
});

describe("the history", () => {
  const look = (us: number | null, hops: HopFigures[] = []) => ({ hops, session_latency: us === null ? null : latency(us) });

  it("keeps a gap where nothing was measured", () => {
    const history = new History();
    history.take(1, look(1000));
    history.take(2, look(null));
    history.take(3, look(3000));
    expect(history.series("")).toEqual([[1, 2, 3], [1, null, 3], [2, null, 6], [4, null, 12]]);
  });

  it("is as long for a hop that came later", () => {
    const history = new History();
    history.take(1, look(1000));
    history.take(2, look(1000, [hop("stt", null, null, 5000)]));
    history.take(3, look(1000));
    expect(history.series(seriesName("stt", "service"))[1]).toEqual([null, 5, null]);
    expect(history.series(seriesName("other", "wire"))[1]).toEqual([null, null, null]);
  });

  it("leaves out a look that comes at once after another", () => {
    const history = new History();
    for (const seconds of [1, 1.1, 2]) history.take(seconds, look(1000));
    expect(history.series("")[0]).toEqual([1, 2]);
  });

  it("is bounded", () => {
    const history = new History();
    for (let second = 0; second < HISTORY_SAMPLES + 50; second += 1) history.take(second, look(second, [hop("a", 1, 1, 1)]));
    const [times, p50] = history.series("");
    expect(times).toHaveLength(HISTORY_SAMPLES);
    expect(p50).toHaveLength(HISTORY_SAMPLES);
    expect(times[0]).toBe(50);
    expect(history.series("a/queue")[3]).toHaveLength(HISTORY_SAMPLES);
  });
});

describe("the graph", () => {
  const end = (node: string, port = "") => ({ node, port });
  const topology: Topology = {
    inputs: [{ name: "mic", kind: "audio", format: "opus" }],
    outputs: [{ name: "speaker", kind: "audio" }, { name: "captions", kind: "text" }],
    hops: [hop("decode", null, null, 1, { inserted: true }), hop("stt", null, null, 1), hop("tts", null, null, 1)],
    edges: [
      { from: end("mic"), to: end("decode") },
      { from: end("decode"), to: end("stt"), queue: { frames: 64, age_ms: 2000, when_full: "drop_oldest" } },
      { from: end("stt", "text"), to: end("captions") },
      { from: end("stt", "text"), to: end("tts") },
      { from: end("tts"), to: end("speaker") },
      { from: end("decode"), to: end("speaker") },
    ],
  };

  for (const direction of ["right", "down"] as const) {
    it(`runs ${direction} along its edges, and no box lies on another`, () => {
      const picture = draw(topology, direction);
      const at = new Map(picture.boxes.map((box) => [box.id, box]));
      for (const line of picture.lines) {
        const from = at.get(line.from);
        const to = at.get(line.to);
        const [a, b] = direction === "right" ? [from?.x, to?.x] : [from?.y, to?.y];
        expect(a, line.key).toBeLessThan(b ?? 0);
        expect(line.path).toMatch(/^M[-\d. ]+( C[-\d. ]+)+$/);
      }
      for (const a of picture.boxes) {
        expect(a.x >= 0 && a.y >= 0 && a.x + a.width <= picture.width && a.y + a.height <= picture.height, a.id).toBe(true);
        for (const b of picture.boxes) {
          const apart = a === b || a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
          expect(apart, `${a.id} and ${b.id}`).toBe(true);
        }
      }
    });
  }

  it("puts conversions that follow each other into one place, and others into places of their own", () => {
    const chain = ["mic", "stt.speech:resample", "stt.speech:pcm", "stt", "stt.words:split", "words:a", "words:b"];
    const edges = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [4, 6]].map(([from = 0, to = 0]) => ({ from: end(chain[from] ?? ""), to: end(chain[to] ?? "") }));
    const hops = chain.slice(1).map((id) => hop(id, null, null, 1, { inserted: id.includes(":") }));
    const topology = { inputs: [{ name: "mic", kind: "audio" as const }], outputs: [], hops, edges };
    const right = draw(topology, "right");
    const box = (id: string) => right.boxes.find((one) => one.id === id);
    const [first, second, other] = ["stt.speech:resample", "stt.speech:pcm", "stt.words:split"].map(box);
    expect([second?.x, second?.width]).toEqual([first?.x, first?.width]);
    expect(second?.y).toBe((first?.y ?? 0) + (first?.height ?? 0));
    expect((first?.height ?? 0) + (second?.height ?? 0)).toBe(other?.height);
    // What leads into the place leads to its first, and out of it from its last; a conversion that feeds two is none of a row.
    expect(right.lines.map(({ from, to }) => `${from}>${to}`)).toEqual([
      "mic>stt.speech:resample", "stt.speech:pcm>stt", "stt>stt.words:split", "stt.words:split>words:a", "stt.words:split>words:b",
    ]);
    expect(draw(topology, "down").lines).toHaveLength(edges.length);
    expect(conversion("stt.speech:resample")).toEqual({ does: "resample", whom: "stt.speech" });
  });

  it("gives a long name its room, and no more than a box should take", () => {
    const width = (name: string) => draw({ inputs: [], outputs: [{ name, kind: "json" }], hops: [], edges: [] }, "right").boxes[0]?.width ?? 0;
    expect(width("mic")).toBe(90);
    expect(width("summaries-of-it")).toBeGreaterThan(15 * 7);
    expect(width("x".repeat(64))).toBe(220);
  });

  it("leaves out an edge to what it does not know", () => {
    expect(draw({ ...topology, edges: [{ from: end("mic"), to: end("later") }] }, "right").lines).toEqual([]);
  });

  it("does not say that a client sends what its conversions make of it", () => {
    const edges = [{ from: end("mic"), to: end("decode", "in") }];
    const carried = (inputs: Port[] | undefined) =>
      edgeRows({ ...topology, hops: [hop("decode", null, null, 1, { inserted: true, ...(inputs === undefined ? {} : { inputs }) })], edges, inputs: [{ name: "mic", kind: "audio", format: "pcm_f32/16000/1" }] })[0]?.carries;
    expect(carried([{ name: "in", kind: "audio", format: "opus/48000/2 packets" }])).toBe("audio, opus/48000/2 packets");
    expect(carried(undefined)).toBe("audio");
  });

  it("stands as a table too", () => {
    expect(edgeRows(topology).slice(0, 3)).toEqual([
      { name: "mic → decode", carries: "audio", queue: "" },
      { name: "decode → stt", carries: "audio", queue: "64 frames, 2000 ms; when full: drop oldest" },
      { name: "decode → speaker", carries: "audio", queue: "" },
    ]);
  });

  it("lists hops and edges as frames meet them, however the gateway does", () => {
    const session: Topology = { ...topology, hops: [...topology.hops].reverse(), edges: [...topology.edges].reverse() };
    expect(hopsInFlow(session).map((one) => one.id)).toEqual(["decode", "stt", "tts"]);
    expect(edgeRows(session).map((row) => row.name)).toEqual([
      "mic → decode", "decode → stt", "decode → speaker", "stt.text → tts", "stt.text → captions", "tts → speaker",
    ]);
    const circle: Topology = { inputs: [], outputs: [], hops: [hop("a", null, null, 1), hop("b", null, null, 1)], edges: [{ from: end("a"), to: end("b") }, { from: end("b"), to: end("a") }] };
    expect(hopsInFlow(circle).map((one) => one.id)).toEqual(["a", "b"]);
  });

  it("says what an edge carries by whoever knows it, once", () => {
    const bare = (id: string, extra: Partial<HopFigures> = {}) => hop(id, null, null, 1, { inserted: true, ...extra });
    const vad = hop("vad", null, null, 1, { inputs: [{ name: "in", kind: "audio" }], outputs: [{ name: "events", kind: "json", format: "json" }] });
    const carried = (hops: HopFigures[], edges: Topology["edges"]) =>
      edgeRows({ inputs: [{ name: "mic", kind: "audio", format: "pcm_s16/48000/1" }], outputs: [{ name: "log", kind: "json", format: "json" }], hops, edges }).map((row) => row.carries);
    expect(
      carried([vad, bare("mic:pcm"), bare("mic:resample")], [
        { from: end("mic:resample"), to: end("vad", "in") },
        { from: end("mic"), to: end("mic:pcm") },
        { from: end("mic:pcm"), to: end("mic:resample") },
        { from: end("vad", "events"), to: end("log") },
      ]),
    ).toEqual(["audio", "audio", "audio", "json"]);
    expect(carried([], [{ from: end("mic"), to: end("log") }])).toEqual(["audio, pcm_s16/48000/1"]);
  });

  it("takes formats of sound from the description only for the clients that it describes", () => {
    const port: Port = { name: "in", kind: "audio", format: "pcm_f32/48000/1" };
    const described = { ...topology, name: "p", description: "", digest: "", parameters: {}, interrupt: null, hops: [hop("stt", null, null, 1, { inputs: [port] })] };
    const session = (transport: string): SessionDetail => ({
      id: "s", pipeline: "p", transports: [transport], state: "running", age_seconds: 1, webrtc: null, session_latency: null, ...topology, hops: [hop("stt", null, null, 1)],
    });
    const inputs = (transport: string) => withFormats(session(transport), described).hops[0]?.inputs;
    expect(inputs("webrtc")).toEqual([port]);
    expect(inputs("websocket")).toEqual([{ name: "in", kind: "audio" }]);
  });
});

describe("levels", () => {
  it("are decibels below full scale", () => {
    expect(levelDb(new Float32Array(8))).toBe(LEVEL_MIN_DB);
    expect(levelDb([1, -1, 1, -1])).toBeCloseTo(0);
    expect(levelDb([0.1, -0.1])).toBeCloseTo(-20);
    expect([0, -30, -60, -90].map(levelPosition)).toEqual([1, 0.5, 0, 0]);
  });

  it("rise at once, fall slowly, and hold their peak", () => {
    const needle = new Needle();
    needle.take(-6, 0);
    expect([needle.db, needle.peakDb]).toEqual([-6, -6]);
    needle.take(-60, 0.5);
    expect([needle.db, needle.peakDb]).toEqual([-18, -6]);
    needle.take(-60, 2);
    expect([needle.db, needle.peakDb]).toEqual([-54, -54]);
  });
});

describe("problems", () => {
  it("offer what mends them", () => {
    const mend = (code: TidegateError["code"]) => explain(new TidegateError(code, "x")).mend;
    expect(mend("unauthenticated")).toBe("token");
    expect(mend("microphone_missing")).toBe("listen");
    expect(mend("unreachable")).toBe("retry");
    expect(mend("unknown_pipeline")).toBeNull();
  });

  it("say whose fault it is: a call that a missing worker refused was never lost", () => {
    const missing = new TidegateError("network", "connection refused", { status: 502, fault: "worker", hop: "worker", endpoint: "http://a:1" });
    expect(explain(missing)).toMatchObject({ title: "A worker of this pipeline does not answer", text: expect.stringContaining("(hop worker, endpoint http://a:1)") });
    expect(explain(new TidegateError("network", "gone", { fault: "worker", hop: "worker" })).title).toBe("The connection to a worker was lost");
    expect(explain(new TidegateError("network", "gone")).title).toBe("The connection was lost");
    expect(explain(new TidegateError("timeout", "late", { fault: "worker" })).title).toBe("A worker of this pipeline took too long");
  });

  it("tell a proxy that has lost the gateway from the gateway", () => {
    expect(explain(new TidegateError("overloaded", "the server answered 503", { status: 503 }))).toMatchObject({ title: "The gateway does not answer", text: expect.stringContaining("503") });
    expect(explain(new TidegateError("overloaded", "full", { status: 503, serverCode: "overloaded" })).title).toBe("The gateway is full");
  });

  it("tell a wrong token from none", () => {
    const refused = new TidegateError("unauthenticated", "the bearer token is wrong", { status: 401 });
    expect([explain(refused, true), explain(refused, false)]).toMatchObject([
      { title: "The gateway does not take this token", mend: "token" },
      { title: "The gateway asks for a token", mend: "token" },
    ]);
  });

  it("say until when a call goes on at a gateway that shuts down", () => {
    expect(draining(new Date(2026, 0, 1, 20, 41, 13).getTime())).toMatchObject({ title: "The gateway is shutting down", text: expect.stringContaining("20:41:13"), mend: null });
  });

  it("say how long to wait", () => {
    const error = new TidegateError("overloaded", "64 of 64 sessions run", { retryAfterSeconds: 7 });
    expect(explain(error)).toMatchObject({ waitSeconds: 7, text: expect.stringContaining("64 of 64 sessions run.") });
  });

  it("say where", () => {
    const error = new TidegateError("remote_execution", "it broke", { hop: "stt", endpoint: "http://a:1" });
    expect(explain(error).text).toBe("It broke. (hop stt, endpoint http://a:1)");
  });
});

describe("a box that scrolls", () => {
  const box = () => {
    let top = 0;
    return {
      clientHeight: 100,
      scrollHeight: 100,
      get scrollTop() {
        return top;
      },
      set scrollTop(wanted) {
        top = Math.max(0, Math.min(wanted, this.scrollHeight - this.clientHeight));
      },
    };
  };

  it("stays at its end, also where more has come before its own scrolling is told", () => {
    const [follow, log] = [new Follow(), box()];
    for (const height of [130, 300, 500]) {
      log.scrollHeight = height;
      follow.grew(log);
      log.scrollHeight += 90;
      follow.scrolled(log);
    }
    follow.grew(log);
    expect(log.scrollTop).toBe(490);
  });

  it("stays where its reader has scrolled to, until they are back at the end", () => {
    const [follow, log] = [new Follow(), box()];
    log.scrollHeight = 500;
    follow.grew(log);
    for (const at of [200, 250]) {
      log.scrollTop = at;
      follow.scrolled(log);
      log.scrollHeight += 50;
      follow.grew(log);
      expect(log.scrollTop).toBe(at);
    }
    log.scrollTop = log.scrollHeight;
    follow.scrolled(log);
    log.scrollHeight += 50;
    follow.grew(log);
    expect(log.scrollTop).toBe(550);
  });
});

describe("the log", () => {
  it("has a line for what is not media", () => {
    const header = { port: "events", seq: 1, media_time: 0 };
    expect(lineOf({ frame: { ...header, json: { value: { speech: true } } } })?.text).toBe('{"speech":true}');
    expect(lineOf({ frame: { ...header, tensor: { dtype: "f32", shape: [80, 100], data: "" } } })?.text).toBe("tensor f32[80, 100]");
    expect(lineOf({ frame: { ...header, json: { value: { p: 0.8254078030586243, at: 1234567 } } } })?.text).toBe('{"p":0.8254,"at":1234567}');
    expect(lineOf({ error: { code: "timeout", message: "late", hop: "stt" } })).toEqual({ tone: "bad", name: "error", text: "timeout · late · stt" });
    expect(lineOf({ frame: { ...header, audio: { format: { codec: "opus", sample_rate: 48000, channels: 1 }, data: "" } } })).toBeNull();
    expect(lineOf({ stats: {} })).toBeNull();
  });
});
