import { describe, expect, it } from "vitest";
import { type Layout, layered } from "../src/model/layout.js";

const GAPS = { layer: 30, node: 10, edge: 5 };

function lay(text: string): Layout {
  const edges = text.split(" ").map((edge) => {
    const [from = "", to = ""] = edge.split(">");
    return { from, to };
  });
  const ids = [...new Set(edges.flatMap(({ from, to }) => [from, to]))];
  return layered(ids.map((id) => ({ id, along: 40, across: 20 })), edges, GAPS);
}

const across = (layout: Layout, ids: string): (number | undefined)[] => ids.split(" ").map((id) => layout.centres.get(id)?.across);
const along = (layout: Layout, ids: string): (number | undefined)[] => ids.split(" ").map((id) => layout.centres.get(id)?.along);

describe("the layout", () => {
  it("draws a chain as a straight line", () => {
    const layout = lay("mic>vad vad>stt stt>speaker");
    expect(across(layout, "mic vad stt speaker")).toEqual([10, 10, 10, 10]);
    expect(along(layout, "mic vad stt speaker")).toEqual([20, 90, 160, 230]);
    expect([layout.along, layout.across]).toEqual([250, 20]);
  });

  it("keeps the longest way straight and puts what leaves it aside, in the layer that follows", () => {
    const layout = lay("mic>stt stt>captions stt>tts tts>speaker");
    expect(new Set(across(layout, "mic stt tts speaker")).size).toBe(1);
    expect(across(layout, "captions")).not.toEqual(across(layout, "tts"));
    expect(along(layout, "captions")).toEqual(along(layout, "tts"));
  });

  it("leads an edge that passes layers around the nodes in them", () => {
    const layout = lay("a>b b>c c>d a>d");
    const bends = layout.bends[3] ?? [];
    expect(bends).toHaveLength(2);
    for (const [index, id] of ["b", "c"].entries()) {
      const centre = layout.centres.get(id);
      expect(bends[index]?.along).toBe(centre?.along);
      expect(Math.abs((bends[index]?.across ?? 0) - (centre?.across ?? 0))).toBeGreaterThanOrEqual(10 + GAPS.edge);
    }
  });

  it("draws lanes as rows, in the order in which they were given", () => {
    const layout = lay("a>da b>db c>dc db>ma dc>ma da>mb dc>mb da>mc db>mc ma>ao mb>bo mc>co");
    for (const row of ["a da ma ao", "b db mb bo", "c dc mc co"]) expect(new Set(across(layout, row)).size, row).toBe(1);
    expect(across(layout, "a b c")).toEqual([10, 40, 70]);
  });

  it("undoes crossings that the order of the manifest would make", () => {
    const layout = lay("a>x b>y y>p x>q p>end q>end c>r r>end");
    const [x = 0, y = 0] = across(layout, "x y");
    const [p = 0, q = 0] = across(layout, "p q");
    expect(Math.sign(x - y)).toBe(Math.sign(q - p));
  });

  it("puts a source that comes late next to what it feeds", () => {
    const layout = lay("mic>vad vad>stt stt>mix music>mix mix>speaker");
    expect(along(layout, "music")).toEqual(along(layout, "stt"));
  });

  it("ends where there is a circle, and where there is nothing", () => {
    expect(lay("a>b b>c c>a c>d").centres.size).toBe(4);
    expect(layered([], [], GAPS)).toMatchObject({ along: 0, across: 0 });
  });
});
