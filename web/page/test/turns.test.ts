import { describe, expect, it } from "vitest";
import { BEHIND_MS, LATE_MS, SILENCE_MS, type Turn, Turns, feederOf, middle } from "../src/model/turns.js";

const LOUD = -20;
const QUIET = -70;
const HOPS: Record<string, string> = { captions: "stt", translation: "translate" };
const feeder = (output: string | null): string => (output === null ? "speak" : (HOPS[output] ?? output));

/** A person who speaks from 0 to `until`, and is quiet then until `end`. */
function speaks(turns: Turns, until: number, end: number, from = 0): void {
  for (let at = from; at <= end; at += 20) turns.said(at, at <= until ? LOUD : QUIET);
}

const final = (port: string, utterance: number, service?: number) => ({ port, utterance, final: true, ...(service === undefined ? {} : { service }) });

/** An answer that is loud at `from` and quiet after it; the turn that comes of it. */
function answers(turns: Turns, from: number): Turn | null {
  const made = [turns.heard(from, LOUD, feeder)];
  for (let at = from + 20; at <= from + BEHIND_MS; at += 20) made.push(turns.heard(at, QUIET, feeder));
  expect(made.slice(0, -1).every((turn) => turn === null)).toBe(true);
  return made.at(-1) ?? null;
}

describe("a turn", () => {
  it("goes from the last sound of speech to the first of the answer, and its parts add up", () => {
    const turns = new Turns();
    speaks(turns, 1000, 3000);
    // The frame that ended the utterance came at 1500; the caption left 800 ms later, the translation 5 ms after it.
    turns.text(2310, final("captions", 1, 800_000));
    turns.text(2316, final("translation", 1, 805_000));
    expect(turns.heard(2340, QUIET, feeder)).toBeNull();
    const turn = answers(turns, 2360);
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
    expect(answers(turns, 2000)?.parts.map((part) => part.ms)).toEqual([800, 0, 100, 100]);
  });

  it("takes a text that comes behind its own answer", () => {
    const turns = new Turns();
    speaks(turns, 1000, 3000);
    expect(turns.heard(2400, LOUD, feeder)).toBeNull();
    turns.text(2700, final("captions", 1, 800_000));
    turns.text(2710, final("translation", 1, 805_000));
    const turn = turns.heard(2400 + BEHIND_MS, LOUD, feeder);
    expect(turn).toMatchObject({ utterance: 1, ms: 1400 });
    expect(turn?.parts.reduce((sum, part) => sum + part.ms, 0)).toBe(1400);
    expect(turn?.parts.map((part) => part.ms)).toEqual([595, 800, 5, 0]);
  });

  it("does not count what the person says while the answer is made", () => {
    const turns = new Turns();
    speaks(turns, 1000, 1600);
    speaks(turns, 2400, 2400, 1700);
    turns.text(2300, final("captions", 1, 800_000));
    expect(answers(turns, 2400)?.ms).toBe(1400);
  });

  it("is one answer's beginning: what sounds on, long before its text came, is no new one", () => {
    const turns = new Turns();
    speaks(turns, 1000, 1500);
    turns.heard(1000, LOUD, feeder);
    for (let at = 1000; at < 2200; at += SILENCE_MS / 2) turns.heard(at, LOUD, feeder);
    turns.text(2200, final("captions", 1, 400_000));
    for (let at = 2200; at < 6000; at += SILENCE_MS / 2) expect(turns.heard(at, LOUD, feeder)).toBeNull();
    // Nor after a pause within it.
    expect(answers(turns, 8000)).toBeNull();
    turns.text(9500, final("captions", 2, 400_000));
    speaks(turns, 9000, 9000, 8900);
    expect(answers(turns, 9600)).toMatchObject({ utterance: 2, ms: 600 });
  });

  it("needs a final text, an answer in time, and nobody who interrupts", () => {
    const turns = new Turns();
    speaks(turns, 1000, 1500);
    turns.text(1500, { port: "captions", utterance: 1, final: false });
    expect(answers(turns, 1600)).toBeNull();
    turns.text(5000, final("captions", 1, 400_000));
    turns.interrupted();
    expect(answers(turns, 5500)).toBeNull();
    turns.text(8000, final("captions", 2, 400_000));
    expect(answers(turns, 8001 + LATE_MS)).toBeNull();
  });

  it("takes the newest utterance, once", () => {
    const turns = new Turns();
    speaks(turns, 1000, 1500);
    turns.text(1400, final("captions", 1, 300_000));
    turns.text(1500, final("captions", 2, 300_000));
    turns.text(1510, final("translation", 1, 300_000));
    expect(answers(turns, 1600)).toMatchObject({ utterance: 2, parts: [{}, { name: "stt" }, { name: "speak" }] });
    expect(answers(turns, 1600 + 2 * BEHIND_MS)).toBeNull();
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
