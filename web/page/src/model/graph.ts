/** A pipeline as a picture: which boxes and lines there are, and where they lie. Pure: no DOM, no figures. */

import type { Edge, Hop, PipelineDescription, Port, SessionDetail } from "@tidegate/client";
import { edgesInFlow } from "./flow.js";
import { type Place, layered } from "./layout.js";
import { formatBytes, formatFormat } from "./units.js";
import { hasPortFigures } from "./waits.js";

/** What a picture is made of; a pipeline's description and a running session both have it. */
export interface Topology {
  inputs: Port[];
  outputs: Port[];
  hops: Hop[];
  edges: Edge[];
}

/** Which way the frames run. */
export type Direction = "right" | "down";

/** A box. `x` and `y` are its upper left corner. */
export interface Box {
  id: string;
  role: "input" | "hop" | "output";
  hop: Hop | null;
  port: Port | null;
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A line with what it says. */
export interface Line {
  key: string;
  from: string;
  to: string;
  path: string;
  /** Where the tip is, and which way it points. */
  title: string;
}

/** The picture. */
export interface Picture {
  width: number;
  height: number;
  boxes: Box[];
  lines: Line[];
}

const HOP = { right: { width: 124, height: 76 }, down: { width: 190, height: 76 } };
const INSERTED = { right: { width: 92, height: 76 }, down: { width: 190, height: 76 } };
/** One of several conversions in a row. */
const STACKED_HEIGHT = 38;
const PORT = { width: 90, height: 38 };
/** With a bar of what waits in it. */
const MEASURED_PORT = { right: { width: 124, height: 76 }, down: { width: 150, height: 76 } };
/** A name that needs more makes its box wider, up to this; what a letter of it takes, and what is beside it. */
const WIDEST = 220;
const LETTER = 7.5;
const SMALL_LETTER = 6.2;
const BESIDE = 26;
const GAPS = { right: { layer: 24, node: 18, edge: 10 }, down: { layer: 30, node: 16, edge: 10 } };
/** Around the picture, so that focus rings are not cut off. */
const MARGIN = 6;
/** What an arrow's tip takes. */
const TIP = 6;

interface Point {
  x: number;
  y: number;
}

/** A smooth line through all points that leaves and reaches each of them straight. */
export function smoothPath(points: readonly Point[], direction: Direction): string {
  const at = (point: Point): string => `${round(point.x)} ${round(point.y)}`;
  return points
    .map((to, index) => {
      const from = points[index - 1];
      if (from === undefined) return `M${at(to)}`;
      const half = direction === "right" ? (to.x - from.x) / 2 : (to.y - from.y) / 2;
      const leave = direction === "right" ? { x: from.x + half, y: from.y } : { x: from.x, y: from.y + half };
      const arrive = direction === "right" ? { x: to.x - half, y: to.y } : { x: to.x, y: to.y - half };
      return `C${at(leave)} ${at(arrive)} ${at(to)}`;
    })
    .join(" ");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** An output of a session shows what waits there; an input does once something has waited. */
export function showsWait(port: Port, role: "input" | "output"): boolean {
  return hasPortFigures(port) && (role === "output" || (port.queue ?? null) !== null);
}

/** A session's picture and table say what its edges carry: its own API leaves that out, the pipeline's description has it. */
export function withFormats(detail: SessionDetail, description: PipelineDescription | null): SessionDetail {
  if (description === null || description.name !== detail.pipeline) return detail;
  // The description is for a WebRTC client; others may bring other formats of sound and sight.
  const described = detail.transports.every((transport) => transport === "webrtc");
  const known = new Map(description.hops.map((hop) => [hop.id, hop]));
  const ports = (all: Port[]): Port[] => (described ? all : all.map((port) => (port.kind === "audio" || port.kind === "video" ? { name: port.name, kind: port.kind } : port)));
  const hops = detail.hops.map((hop) => {
    const { type, inputs, outputs } = known.get(hop.id) ?? {};
    if (type !== hop.type || (hop.inserted && !described)) return hop;
    return { ...hop, ...(inputs === undefined ? {} : { inputs: ports(inputs) }), ...(outputs === undefined ? {} : { outputs: ports(outputs) }) };
  });
  return { ...detail, hops };
}

/** A box of this size at least, and as wide as its name. */
function sized(name: string, least: { width: number; height: number }, letter = LETTER): { width: number; height: number } {
  return { width: Math.max(least.width, Math.min(WIDEST, Math.ceil(name.length * letter + BESIDE))), height: least.height };
}

function portSize(port: Port, role: "input" | "output", direction: Direction): { width: number; height: number } {
  return sized(port.name, showsWait(port, role) ? MEASURED_PORT[direction] : PORT);
}

/** What a conversion does, and for whom: the two halves of its id. */
export function conversion(id: string): { does: string; whom: string } {
  const at = id.lastIndexOf(":");
  return at < 0 ? { does: id, whom: "" } : { does: id.slice(at + 1), whom: id.slice(0, at) };
}

/** Conversions that follow each other with nothing between: they stand in one place, one below the other. By the first of each run. */
function runsOf(topology: Topology, edges: readonly Edge[]): Map<string, string[]> {
  const inserted = new Set(topology.hops.filter((hop) => hop.inserted).map((hop) => hop.id));
  const next = new Map<string, string>();
  for (const edge of edges) {
    const [from, to] = [edge.from.node, edge.to.node];
    const only = edges.filter((one) => one.from.node === from).length === 1 && edges.filter((one) => one.to.node === to).length === 1;
    if (only && inserted.has(from) && inserted.has(to)) next.set(from, to);
  }
  const later = new Set(next.values());
  const runs = new Map<string, string[]>();
  for (const first of next.keys()) {
    if (later.has(first)) continue;
    const run = [first];
    for (let id = next.get(first); id !== undefined && run.length < inserted.size; id = next.get(id)) run.push(id);
    runs.set(first, run);
  }
  return runs;
}

/** Runs as one node each for the layout. */
function places(nodes: readonly Omit<Box, "x" | "y">[], runs: Map<string, string[]>): { id: string; width: number; height: number }[] {
  const later = new Set([...runs.values()].flatMap((run) => run.slice(1)));
  const width = (id: string): number => nodes.find((node) => node.id === id)?.width ?? 0;
  return nodes
    .filter((node) => !later.has(node.id))
    .map((node) => {
      const run = runs.get(node.id);
      return run === undefined ? node : { id: node.id, width: Math.max(...run.map(width)), height: run.length * STACKED_HEIGHT };
    });
}

/** Lays a pipeline out. */
export function draw(topology: Topology, direction: Direction): Picture {
  const right = direction === "right";
  const nodes: Omit<Box, "x" | "y">[] = [
    ...topology.inputs.map((port) => ({ id: port.name, role: "input" as const, hop: null, port, ...portSize(port, "input", direction) })),
    ...topology.hops.map((hop) => ({ id: hop.id, role: "hop" as const, hop, port: null, ...(hop.inserted ? sized(right ? conversion(hop.id).does : hop.id, INSERTED[direction], SMALL_LETTER) : sized(hop.id, HOP[direction])) })),
    ...topology.outputs.map((port) => ({ id: port.name, role: "output" as const, hop: null, port, ...portSize(port, "output", direction) })),
  ];
  const ids = new Set(nodes.map((node) => node.id));
  const edges = topology.edges.filter((edge) => ids.has(edge.from.node) && ids.has(edge.to.node));
  const runs = right ? runsOf(topology, edges) : new Map<string, string[]>();
  const place = new Map([...runs].flatMap(([first, run]) => run.map((id) => [id, first])));
  const placeOf = (id: string): string => place.get(id) ?? id;
  const drawn = places(nodes, runs);
  const between = edges.filter((edge) => placeOf(edge.from.node) !== placeOf(edge.to.node));
  const { along, across, centres, bends } = layered(
    drawn.map(({ id, width, height }) => (right ? { id, along: width, across: height } : { id, along: height, across: width })),
    between.map((edge) => ({ from: placeOf(edge.from.node), to: placeOf(edge.to.node) })),
    GAPS[direction],
  );
  const point = (at: Place): Point =>
    right ? { x: at.along + MARGIN, y: at.across + MARGIN } : { x: at.across + MARGIN, y: at.along + MARGIN };
  const frames = new Map(
    drawn.map(({ id, width, height }) => {
      const centre = point(centres.get(id) ?? { along: 0, across: 0 });
      return [id, { x: round(centre.x - width / 2), y: round(centre.y - height / 2), width, height }];
    }),
  );
  const frameOf = (id: string) => frames.get(placeOf(id)) ?? { x: 0, y: 0, width: 0, height: 0 };
  const boxes = nodes.map((node) => {
    const frame = frameOf(node.id);
    const at = runs.get(placeOf(node.id))?.indexOf(node.id);
    return at === undefined ? { ...node, ...frame } : { ...node, ...frame, y: frame.y + at * STACKED_HEIGHT, height: STACKED_HEIGHT };
  });
  const lines = between.map((edge, index) => {
    const [from, to] = [frameOf(edge.from.node), frameOf(edge.to.node)];
    const ends: [Point, Point] = right
      ? [{ x: from.x + from.width, y: from.y + from.height / 2 }, { x: to.x - TIP, y: to.y + to.height / 2 }]
      : [{ x: from.x + from.width / 2, y: from.y + from.height }, { x: to.x + to.width / 2, y: to.y - TIP }];
    return {
      key: `${edgeName(edge)}#${index}`,
      from: edge.from.node,
      to: edge.to.node,
      path: smoothPath([ends[0], ...(bends[index] ?? []).map(point), ends[1]], direction),
      title: lineTitle(edge, topology),
    };
  });
  const [width, height] = right ? [along, across] : [across, along];
  return { width: Math.ceil(width + 2 * MARGIN), height: Math.ceil(height + 2 * MARGIN), boxes, lines };
}

/** An edge as a manifest writes it. */
export function edgeName(edge: Edge): string {
  const end = (node: string, port: string): string => (port === "" ? node : `${node}.${port}`);
  return `${end(edge.from.node, edge.from.port)} → ${end(edge.to.node, edge.to.port)}`;
}

/** What an edge's queue holds at most, in words. */
export function queueText(edge: Edge): string {
  const queue = edge.queue;
  if (queue === null || queue === undefined) return "";
  const bounds = [
    queue.frames ? `${queue.frames} frames` : "",
    queue.bytes ? formatBytes(queue.bytes) : "",
    queue.age_ms ? `${queue.age_ms} ms` : "",
  ].filter((text) => text !== "");
  const full = queue.when_full === undefined ? "" : `when full: ${queue.when_full.replace("_", " ")}`;
  return [bounds.join(", "), full].filter((text) => text !== "").join("; ");
}

/** What an edge carries, in words: its kind, and its format where somebody who knows it says so. */
function carriesText(edge: Edge, topology: Topology): string {
  const source = topology.hops.find((hop) => hop.id === edge.from.node);
  const target = topology.hops.find((hop) => hop.id === edge.to.node);
  // A conversion has one port on each side, and a session's edges do not name it.
  const given = source?.outputs?.find((port) => port.name === edge.from.port) ?? (source?.inserted ? source.outputs?.[0] : undefined);
  const taken = target?.inputs?.find((port) => port.name === edge.to.port) ?? (target?.inserted ? target.inputs?.[0] : undefined);
  // A pipeline's own format is the one within its clients' conversions. What goes into them is theirs to say.
  const input = target?.inserted ? undefined : topology.inputs.find((port) => port.name === edge.from.node);
  const output = source?.inserted ? undefined : topology.outputs.find((port) => port.name === edge.to.node);
  const format = [given, input, taken, output].map((port) => formatFormat(port?.format)).find((text) => text !== "") ?? "";
  const kind = given?.kind ?? taken?.kind ?? kindOf(edge, topology) ?? "";
  return [kind, format === kind ? "" : format].filter((text) => text !== "").join(", ");
}

/** What a pipeline's port says of an edge: conversions between it and the edge leave the kind as it is. */
function kindOf(edge: Edge, topology: Topology): Port["kind"] {
  const inserted = (node: string): boolean => topology.hops.some((hop) => hop.id === node && hop.inserted);
  const follow = (start: string, ports: readonly Port[], step: (node: string) => string | undefined): Port["kind"] => {
    let node: string | undefined = start;
    for (let steps = 0; steps < topology.edges.length && node !== undefined && inserted(node); steps += 1) node = step(node);
    return ports.find((port) => port.name === node)?.kind ?? null;
  };
  return (
    follow(edge.from.node, topology.inputs, (node) => topology.edges.find((one) => one.to.node === node)?.from.node) ??
    follow(edge.to.node, topology.outputs, (node) => topology.edges.find((one) => one.from.node === node)?.to.node)
  );
}

/** What a line says when pointed at: its name, what it carries, its queue. */
function lineTitle(edge: Edge, topology: Topology): string {
  return [edgeName(edge), carriesText(edge, topology), queueText(edge)].filter((text) => text !== "").join("\n");
}

/** The topology's edges for the table that stands beside the picture, in the order of flow. */
export function edgeRows(topology: Topology): { name: string; carries: string; queue: string }[] {
  return edgesInFlow(topology).map((edge) => ({ name: edgeName(edge), carries: carriesText(edge, topology), queue: queueText(edge) }));
}
