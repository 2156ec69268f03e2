/** A pipeline as a picture: which boxes and lines there are, and where they lie. Pure: no DOM, no figures. */

import { Graph, layout } from "@dagrejs/dagre";
import type { Edge, Hop, Port } from "@tidegate/client";
import { formatFormat } from "./units.js";

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

const HOP = { right: { width: 146, height: 76 }, down: { width: 260, height: 76 } };
const INSERTED = { right: { width: 104, height: 76 }, down: { width: 260, height: 76 } };
const PORT = { width: 84, height: 38 };

interface Point {
  x: number;
  y: number;
}

/** A smooth line: straight out of the first point, through the middles between the inner ones, straight into the last. */
export function smoothPath(points: readonly Point[], direction: Direction): string {
  const first = points[0];
  const last = points[points.length - 1];
  if (first === undefined || last === undefined) return "";
  const at = (point: Point): string => `${round(point.x)} ${round(point.y)}`;
  let path = `M${at(first)}`;
  let from = first;
  const stops = points.length <= 3 ? [last] : [...points.slice(2, -2), last];
  for (const stop of stops) {
    const half = direction === "right" ? (stop.x - from.x) / 2 : (stop.y - from.y) / 2;
    const leave = direction === "right" ? { x: from.x + half, y: from.y } : { x: from.x, y: from.y + half };
    const arrive = direction === "right" ? { x: stop.x - half, y: stop.y } : { x: stop.x, y: stop.y - half };
    path += ` C${at(leave)} ${at(arrive)} ${at(stop)}`;
    from = stop;
  }
  return path;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Lays a pipeline out. */
export function draw(topology: Topology, direction: Direction): Picture {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({
    rankdir: direction === "right" ? "LR" : "TB",
    nodesep: 22,
    ranksep: direction === "right" ? 34 : 30,
    edgesep: 14,
    marginx: 4,
    marginy: 8,
  });
  graph.setDefaultEdgeLabel(() => ({}));
  const boxes = new Map<string, Omit<Box, "x" | "y">>();
  const add = (box: Omit<Box, "x" | "y">): void => {
    boxes.set(box.id, box);
    graph.setNode(box.id, { width: box.width, height: box.height });
  };
  for (const port of topology.inputs) add({ id: port.name, role: "input", hop: null, port, ...PORT });
  for (const hop of topology.hops) {
    add({ id: hop.id, role: "hop", hop, port: null, ...(hop.inserted ? INSERTED : HOP)[direction] });
  }
  for (const port of topology.outputs) add({ id: port.name, role: "output", hop: null, port, ...PORT });

  const edges = topology.edges.filter((edge) => boxes.has(edge.from.node) && boxes.has(edge.to.node));
  edges.forEach((edge, index) => graph.setEdge(edge.from.node, edge.to.node, {}, String(index)));
  layout(graph);

  const placed = [...boxes.values()].map((box) => {
    const node = graph.node(box.id) as Point;
    return { ...box, x: round(node.x - box.width / 2), y: round(node.y - box.height / 2) };
  });
  const places = new Map(placed.map((box) => [box.id, box]));
  const lines = edges.map((edge, index) => {
    const name = String(index);
    const from = places.get(edge.from.node) as Box;
    const to = places.get(edge.to.node) as Box;
    const bends = (graph.edge(edge.from.node, edge.to.node, name) as { points: Point[] }).points.slice(1, -1);
    const ends: [Point, Point] =
      direction === "right"
        ? [{ x: from.x + from.width, y: from.y + from.height / 2 }, { x: to.x - 6, y: to.y + to.height / 2 }]
        : [{ x: from.x + from.width / 2, y: from.y + from.height }, { x: to.x + to.width / 2, y: to.y - 6 }];
    return {
      key: `${edgeName(edge)}#${name}`,
      from: edge.from.node,
      to: edge.to.node,
      path: smoothPath([ends[0], ...bends, ends[1]], direction),
      title: lineTitle(edge, topology),
    };
  });
  const size = graph.graph() as { width?: number; height?: number };
  return { width: Math.ceil(size.width ?? 0), height: Math.ceil(size.height ?? 0), boxes: placed, lines };
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
    queue.bytes ? `${queue.bytes} bytes` : "",
    queue.age_ms ? `${queue.age_ms} ms` : "",
  ].filter((text) => text !== "");
  const full = queue.when_full === undefined ? "" : `when full: ${queue.when_full.replace("_", " ")}`;
  return [bounds.join(", "), full].filter((text) => text !== "").join("; ");
}

/** What an edge carries, in words. */
function carriesText(edge: Edge, topology: Topology): string {
  const source = topology.hops.find((hop) => hop.id === edge.from.node);
  const port =
    source?.outputs?.find((output) => output.name === edge.from.port) ??
    source?.outputs?.[0] ??
    topology.inputs.find((input) => input.name === edge.from.node);
  return port === undefined ? "" : [port.kind, formatFormat(port.format)].filter((text) => text !== "").join(", ");
}

/** What a line says when pointed at: its name, what it carries, its queue. */
function lineTitle(edge: Edge, topology: Topology): string {
  return [edgeName(edge), carriesText(edge, topology), queueText(edge)].filter((text) => text !== "").join("\n");
}

/** The topology's edges for the table that stands beside the picture. */
export function edgeRows(topology: Topology): { name: string; carries: string; queue: string }[] {
  return topology.edges.map((edge) => ({ name: edgeName(edge), carries: carriesText(edge, topology), queue: queueText(edge) }));
}
