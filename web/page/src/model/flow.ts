/** The order in which frames meet the parts of a pipeline, for lists: the API has them as the manifest and the compiler made them. */

import type { Edge, Hop } from "@tidegate/client";
import type { Topology } from "./graph.js";

/** Each node's place, inputs and outputs included: behind all that lead to it, and one way to its end before the next. */
function places(topology: Topology): Map<string, number> {
  const next = new Map<string, string[]>();
  for (const { from, to } of topology.edges) next.set(from.node, [...(next.get(from.node) ?? []), to.node]);
  const seen = new Set<string>();
  const backwards: string[] = [];
  const visit = (node: string): void => {
    if (seen.has(node)) return;
    seen.add(node);
    for (const one of [...(next.get(node) ?? [])].reverse()) visit(one);
    backwards.push(node);
  };
  const all = [...topology.inputs.map((port) => port.name), ...topology.hops.map((hop) => hop.id), ...topology.outputs.map((port) => port.name)];
  const led = new Set(topology.edges.map((edge) => edge.to.node));
  for (const node of all.filter((one) => !led.has(one)).reverse()) visit(node);
  const order = [...backwards.reverse(), ...all.filter((one) => !seen.has(one))];
  return new Map(order.map((node, index) => [node, index]));
}

/** The hops in the order of flow. */
export function hopsInFlow(topology: Topology): Hop[] {
  const place = places(topology);
  return [...topology.hops].sort((a, b) => (place.get(a.id) ?? 0) - (place.get(b.id) ?? 0));
}

/** The edges in the order of flow. */
export function edgesInFlow(topology: Topology): Edge[] {
  const place = places(topology);
  const at = (node: string): number => place.get(node) ?? place.size;
  return [...topology.edges].sort((a, b) => at(a.from.node) - at(b.from.node) || at(a.to.node) - at(b.to.node));
}
