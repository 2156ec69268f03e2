import type { HopFigures } from "@tidegate/client";
import { render } from "preact-render-to-string";
import { beforeAll, describe, expect, it, vi } from "vitest";

// The store reads the page's address when it is loaded, so the page's surroundings come first.
let store: typeof import("../src/state/store.js");
let app: typeof import("../src/components/app.js");
let room: typeof import("../src/state/room.js");

beforeAll(async () => {
  vi.stubGlobal("location", { search: "?pipeline=stage&session=standup", origin: "http://gateway.example", pathname: "/" });
  vi.stubGlobal("sessionStorage", { getItem: () => null, setItem: () => undefined, removeItem: () => undefined });
  vi.stubGlobal("document", { baseURI: "http://gateway.example/", createElement: () => ({}) });
  store = await import("../src/state/store.js");
  app = await import("../src/components/app.js");
  room = await import("../src/state/room.js");
});

const latency = (us: number) => ({ count: 5, p50_us: us, p90_us: us, p99_us: us * 3, max_us: us * 3 });
const hop: HopFigures = {
  id: "stt",
  type: "remote",
  placement: "remote",
  inserted: false,
  endpoint: "http://10.0.0.1:7001",
  frames_in: 10,
  frames_out: 4,
  bytes_in: 0,
  bytes_out: 0,
  dropped: { late: 2 },
  queue_frames: 3,
  in_flight: 1,
  latency: { queue: latency(4000), wire: latency(1000), service: latency(400_000), first_output: null },
};
const text = (html: string): string => html.replace(/<[^>]+>/g, " ").replace(/\s+/g, " ");

describe("the page", () => {
  it("takes the pipeline and the seat from its address", () => {
    expect([store.pipelineName.value, store.seatKey.value]).toEqual(["stage", "standup"]);
  });

  it("has landmarks and headings before it knows anything", () => {
    const html = render(<app.App />);
    expect(html).toMatch(/<main id="main"/);
    expect(html).toContain('<aside class="rail" aria-label="Talk to the pipeline">');
    for (const heading of ["Hops", "Latency over time", "Sessions", "Captions", "Events"]) expect(html).toMatch(new RegExp(`<h2[^>]*>${heading}`));
    expect(html).not.toMatch(/<script|javascript:| on[a-z]+="/);
  });

  it("has its captions once: below the controls, or above the figures in a window too low for that", () => {
    const caption = { port: "captions", utterance: 1, revision: 1, final: true, text: "hello", mediaTime: 0, service: 1 };
    store.captions.value = [caption as (typeof store.captions.value)[number]];
    const places = (low: boolean): boolean[] => {
      room.low.value = low;
      const html = render(<app.App />);
      expect(html.match(/id="captions"/g)).toHaveLength(1);
      const [at, main, figures] = ['id="captions"', "<main", 'id="figures"'].map((part) => html.indexOf(part)) as [number, number, number];
      return [at < main, at < figures];
    };
    expect([places(false), places(true)]).toEqual([[true, true], [false, true]]);
    store.captions.value = [];
    // A pipeline that writes nothing spends no room on it there.
    expect(render(<app.App />)).not.toContain('id="captions"');
    room.low.value = false;
  });

  it("says how long the last answer took and for what, once there was one", () => {
    expect(render(<app.App />)).not.toContain("Turn latency");
    const parts = [{ name: "pause", ms: 510 }, { name: "stt", ms: 800 }, { name: "speak", ms: 50 }];
    store.turns.value = [{ utterance: 1, ms: 3000, parts: [] }, { utterance: 2, ms: 1360, parts }];
    const shown = text(render(<app.App />));
    expect(shown).toMatch(/Turn latency .* 1\.36 s p50 of 2: 2\.18 s/);
    expect(shown).toMatch(/pause 510 ms .* stt 800 ms p50 800 ms/);
    store.turns.value = [];
  });

  it("gives no two things the same name, whether a pipeline is chosen or not", () => {
    for (const chosen of [null, { name: "stage", description: "", digest: "", parameters: {}, inputs: [], outputs: [], hops: [], edges: [], interrupt: null }]) {
      store.description.value = chosen;
      const html = render(<app.App />);
      const texts = [...html.matchAll(/<(?:label|h2|legend)[^>]*>(.*?)<\/(?:label|h2|legend)>/g)].map(([, inner]) => text(inner ?? "").trim());
      const labels = [...html.matchAll(/aria-label="([^"]+)"/g)].map(([, label]) => label ?? "");
      const names = [...texts, ...labels].filter((name) => name !== "Talk");
      expect(names).toContain("Pipeline");
      expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
    }
    store.description.value = null;
  });

  it("says what a pipeline cannot do, and offers what it can", () => {
    store.pipelines.value = [
      { name: "stage", description: "", digest: "", shared: true, inputs: [{ name: "line", kind: "text" }], outputs: [{ name: "speaker", kind: "audio" }] },
    ];
    const html = render(<app.App />);
    expect(html).toContain("no audio input");
    expect(html).toMatch(/<button[^>]*>Listen<\/button>/);
    store.sessions.value = { active: 0, limit: 4, sessions: [] };
    expect(render(<app.App />)).toContain("Press Listen to open one.");
    store.sessions.value = null;
    expect(html).toMatch(/<button[^>]* disabled[^>]*>Mute<\/button>/);
    expect(html).toContain("Shared session");
    expect(html).toContain("Text for “line”");
  });

  it("shows a running session's hops with their parts, for eyes and for screen readers", () => {
    store.detail.value = {
      id: "0123456789abcdef",
      pipeline: "stage",
      transports: ["webrtc"],
      state: "running",
      age_seconds: 42,
      hops: [hop],
      edges: [
        { from: { node: "mic", port: "" }, to: { node: "stt", port: "" } },
        { from: { node: "stt", port: "" }, to: { node: "captions", port: "" } },
      ],
      inputs: [{ name: "mic", kind: "audio" }],
      outputs: [{ name: "captions", kind: "text", frames: 4, dropped: {}, queue_frames: 2, queue: { ...latency(5000) }, paced: true }],
      webrtc: { rtt_ms: 12.34, jitter_ms: null, packets_lost: 0, jitter_buffer_ms: 20, concealed_samples: 960 },
      session_latency: latency(410_000),
    };
    const html = render(<app.App />);
    expect(html).toContain("stt, remote, remote; p50 405 ms: queue 4.00 ms, wire 1.00 ms, service 400 ms; 3 frames wait; dropped late 2");
    expect(text(html)).toContain("10.0.0.1:7001 405 ms 3 wait −2");
    const widths = [...html.matchAll(/<i class="(queue|wire|service)" style="width:\s?([\d.]+)%/g)].map((match) => [match[1], Number(match[2])]);
    expect(widths).toEqual([["queue", 0.8], ["wire", 0.2], ["service", 80], ["queue", 1], ["service", 98.78048780487805], ["queue", 1.2195121951219512]]);
    expect(html).toContain("captions, output, text; p50 wait 5.00 ms, paced; 2 frames wait");
    expect(text(html)).toContain("Latency p50 410 ms");
    expect(text(html)).toContain("Round trip 12.3 ms");
    expect(text(html)).toContain("Concealed 20.0 ms");
    expect(text(html)).toContain("a full bar is 500 ms, p50 over 10 s");
  });

  it("shows a remote hop's endpoints with health, breaker, load and latency, and nothing where it is not told of any", () => {
    expect(render(<app.App />)).not.toContain("Endpoints");
    const state = { up: true, breaker: "closed", in_flight: 4, latency_ms: 38.2, weight: 2, current: true };
    const pool = [{ endpoint: "http://10.0.0.1:7001", ...state }, { endpoint: "http://10.0.0.2:7001", ...state, up: false, breaker: "half_open", latency_ms: null, current: false }];
    const detail = store.detail.value;
    if (detail === null) throw new Error("the session of the test before");
    store.detail.value = { ...detail, hops: [{ ...hop, endpoints: pool, failovers: 1, replayed_frames: 14 }] };
    const html = render(<app.App />);
    expect(text(html)).toContain("10.0.0.1:7001 serves up closed 4 38.2 ms 2");
    expect(text(html)).toContain("10.0.0.2:7001 down half open 4 – 2");
    expect(text(html)).toContain("stt : 1 failover, 14 frames sent again in this session".replace(" :", ":"));
    expect(text(html)).toContain("1/2 up");
    store.detail.value = detail;
  });

  it("has columns in its table for what the pipeline's hops can have, and as many cells in each row", async () => {
    const { HopTable } = await import("../src/components/table.js");
    const detail = store.detail.value;
    if (detail === null) throw new Error("the session of a test before");
    const columns = (hops: HopFigures[]): string[] => {
      const html = render(<HopTable topology={{ ...detail, hops }} percentile="p50" scaleUs={1} whole={{ us: 5, portions: [] }} />);
      const table = html.slice(0, html.indexOf("</table>"));
      const rows = table.split("<tr").slice(1).map((row) => [...row.matchAll(/<t[hd](?: [^>]*?colspan="(\d+)")?/g)].reduce((sum, [, span]) => sum + Number(span ?? 1), 0));
      expect(new Set(rows).size, `cells in each row: ${rows.join(", ")}`).toBe(1);
      return [...table.slice(0, table.indexOf("</thead>")).matchAll(/<th scope="col"[^>]*>([^<]+)/g)].map(([, text]) => text ?? "");
    };
    const usual = ["Hop", "Type", "Runs", "Queue", "Service", "Together", "In", "Out", "Waiting", "Dropped"];
    expect(columns([{ ...hop, placement: "in_place" }])).toEqual(usual);
    expect(columns([hop])).toEqual(["Hop", "Type", "Runs", "Queue", "Wire", "Service", "Together", "First output", "In", "Out", "Waiting", "In flight", "Dropped"]);
  });

  it("does not call a silent gateway connected", () => {
    store.callState.value = "connected";
    store.silent.value = true;
    expect(text(render(<app.App />))).toContain("Nothing comes from the gateway");
    store.silent.value = false;
    expect(text(render(<app.App />))).not.toContain("Nothing comes from the gateway");
    store.callState.value = null;
  });

  it("says in its head that the gateway shuts down, and that sessions are on their way", () => {
    store.reachable.value = true;
    const list = { active: 1, limit: 4, sessions: [] };
    store.sessions.value = list;
    expect(text(render(<app.App />))).toContain("One that opens or ends just now is not listed.");
    store.sessions.value = { ...list, sessions: [{ id: "s", pipeline: "stage", transports: ["webrtc"], state: "draining", age_seconds: 3 }] };
    expect(text(render(<app.App />))).toContain("Gateway is shutting down");
    store.sessions.value = null;
    store.reachable.value = null;
  });

  it("escapes what the pipeline writes", () => {
    store.captions.value = [{ port: "captions", utterance: 1, revision: 0, final: false, text: "<img src=x onerror=alert(1)>", mediaTime: 0 }];
    const html = render(<app.App />);
    expect(html).toContain("&lt;img src=x");
    expect(html).not.toContain("<img");
  });

  it("says a problem as an alert, with what mends it", () => {
    store.problem.value = { title: "The gateway is full", text: "64 of 64 sessions run.", mend: "retry", waitSeconds: 7 };
    const html = render(<app.App />);
    expect(html).toMatch(/<div role="alert"><div class="problem">/);
    expect(html).toMatch(/<button type="button" disabled[^>]*>Try again in 7 s<\/button>/);
  });
});
