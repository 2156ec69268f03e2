import { describe, expect, it } from "vitest";
import { AUDIBLE_DB, LATE_MS, SILENCE_MS, Turns, feederOf, middle } from "../src/model/turns.js";

const LOUD = -20;
const QUIET = -70;
const HOPS: Record<string, string> = { captions: "stt", translation: "translate" };
const feeder = (output: string | null): string => (output === null ? "speak" : (HOPS[output] ?? output));

/** A person who speaks from 0 to `until`, and is quiet then until `end`. */
function speaks(turns: Turns, until: number, end: number, from = 0): void {
  for (let at = from; at <= end; at += 20) turns.said(at, at <= until ? LOUD : QUIET);
}

const final = (port: string, utterance: number, service?: number) => ({ port, utterance, final: true, ...(service === undefined ? {} : { service }) });

describe("a turn", () => {
  it("goes from the last sound of speech to the first of the answer, and its parts add up", () => {
    const turns = new Turns();
    speaks(turns, 1000, 3000);
    // The frame that ended the utterance came at 1500; the caption left 800 ms later, the translation 5 ms after it.
    turns.text(2310, final("captions", 1, 800_000));
    turns.text(2316, final("translation", 1, 805_000));
    expect(turns.heard(2340, QUIET, feeder)).toBeNull();
    const turn = turns.heard(2360, LOUD, feeder);
    expect(turn).toEqual({
      utterance: 1,
      ms: 1360,
      parts: [{ name: "pause", ms: 510 }, { name: "stt", ms: 800 }, { name: "translate", ms: 5 }, { name: "speak", ms: 45 }],
    });
    expect(turn?.parts.reduce((sum, part) => sum + part.ms, 0)).toBe(turn?.ms);
  });

  it("is measured by what came when, where the gateway does not say more", () => {
    const turns = new Turns();
    speaks(turns, 1000, 2000);
    turns.text(1800, final("captions", 1));
    turns.text(1900, final("translation", 1));
    expect(turns.heard(2000, LOUD, feeder)?.parts.map((part) => part.ms)).toEqual([800, 0, 100, 100]);
  });

  it("does not count what the person says while the answer is made", () => {
    const turns = new Turns();
    speaks(turns, 1000, 1600);
    speaks(turns, 2400, 2400, 1700);
    turns.text(2300, final("captions", 1, 800_000));
    expect(turns.heard(2400, LOUD, feeder)?.ms).toBe(1400);
  });

  it("is one answer's beginning: what sounds on is no new one", () => {
    const turns = new Turns();
    speaks(turns, 1000, 1500);
    turns.heard(1980, LOUD, feeder);
    turns.text(2000, final("captions", 1, 400_000));
    for (let at = 2000; at < 3000; at += SILENCE_MS / 2) expect(turns.heard(at, LOUD, feeder)).toBeNull();
  });

  it("needs a final text, an answer in time, and nobody who interrupts", () => {
    const turns = new Turns();
    speaks(turns, 1000, 1500);
    turns.text(1500, { port: "captions", utterance: 1, final: false });
    expect(turns.heard(1600, LOUD, feeder)).toBeNull();
    turns.text(3000, final("captions", 1, 400_000));
    turns.interrupted();
    expect(turns.heard(3500, LOUD, feeder)).toBeNull();
    turns.text(5000, final("captions", 2, 400_000));
    expect(turns.heard(5001 + LATE_MS, LOUD, feeder)).toBeNull();
  });

  it("takes the newest utterance, once", () => {
    const turns = new Turns();
    speaks(turns, 1000, 1500);
    turns.text(1400, final("captions", 1, 300_000));
    turns.text(1500, final("captions", 2, 300_000));
    turns.text(1510, final("translation", 1, 300_000));
    expect(turns.heard(1600, LOUD, feeder)).toMatchObject({ utterance: 2, parts: [{}, { name: "stt" }, { name: "speak" }] });
    expect(turns.heard(1600 + 2 * SILENCE_MS, AUDIBLE_DB, feeder)).toBeNull();
  });
});

describe("the middle of turns", () => {
  it("is that of the whole and of each part", () => {
    const turn = (ms: number) => ({ utterance: 1, ms, parts: [{ name: "stt", ms: ms / 2 }] });
    expect(middle([])).toBeNull();
    expect(middle([turn(100), turn(400), turn(200)])).toEqual({ ms: 200, parts: [{ name: "stt", ms: 100 }] });
    expect(middle([turn(100), turn(200)])?.ms).toBe(150);
  });
});

describe("what feeds an output", () => {
  const hop = (id: string, inserted = false) => ({ id, type: "x", placement: "in_place" as const, inserted });
  const edge = (from: string, to: string) => ({ from: { node: from, port: "" }, to: { node: to, port: "" } });
  const topology = {
    hops: [hop("vad"), hop("speak"), hop("encode", true)],
    edges: [edge("mic", "vad"), edge("vad", "speak"), edge("speak", "encode"), edge("encode", "speaker"), edge("mic", "copy")],
  };

  it("is the hop before what the compiler inserted", () => {
    expect(feederOf(topology, "speaker")).toBe("speak");
  });

  it("is named after the output where there is none", () => {
    expect(feederOf(topology, "copy")).toBe("copy");
    expect(feederOf(null, "copy")).toBe("copy");
  });
});
