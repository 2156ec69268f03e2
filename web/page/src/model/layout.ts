/**
 * Laying a directed graph out in layers: Sugiyama's method with one addition, a straight spine.
 *
 * The longest way through the graph has a node in every layer. It is drawn as a straight line, and in each layer the other
 * nodes are stacked away from it, near to what they are joined with. Layout libraries centre everything on everything, which
 * turns a plain chain with side outputs into stairs. A graph that begins and ends with several nodes has no spine but lanes,
 * as a conference has: there
 * each layer is centred, in the order of the manifest, which is how its author thinks of the lanes.
 *
 * `along` is the way the frames run, `across` the other one; the caller says which is x. Everything is in pixels.
 */

/** A node to be placed. */
export interface LayoutNode {
  id: string;
  along: number;
  across: number;
}

/** An edge between two nodes. */
export interface LayoutEdge {
  from: string;
  to: string;
}

/** A point, `along` and `across` from the upper left corner. */
export interface Place {
  along: number;
  across: number;
}

/** The gaps between layers, between nodes of a layer, and between a node and a passing edge. */
export interface Gaps {
  layer: number;
  node: number;
  edge: number;
}

/** Where everything is: the nodes' centres, and for each edge the points where it passes the layers between. */
export interface Layout {
  along: number;
  across: number;
  centres: Map<string, Place>;
  bends: Place[][];
}

/** A node, or the place where an edge passes a layer. */
interface Cell {
  id: string;
  along: number;
  across: number;
  layer: number;
  real: boolean;
  spine: boolean;
  before: Cell[];
  after: Cell[];
  /** The centre, counted from the spine's. */
  at: number;
}

/** How often layers are sorted and moved; more changes nothing for graphs of a size that people read. */
const SWEEPS = 8;

/** The edges that close no circle, found depth first; a circle is refused long before, but must not hang the page. */
function forwardEdges(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[]): LayoutEdge[] {
  const outgoing = new Map<string, LayoutEdge[]>(nodes.map((node) => [node.id, []]));
  for (const edge of edges) outgoing.get(edge.from)?.push(edge);
  const state = new Map<string, "open" | "done">();
  const back = new Set<LayoutEdge>();
  const visit = (id: string): void => {
    state.set(id, "open");
    for (const edge of outgoing.get(id) ?? []) {
      if (state.get(edge.to) === "open") back.add(edge);
      else if (!state.has(edge.to)) visit(edge.to);
    }
    state.set(id, "done");
  };
  for (const node of nodes) if (!state.has(node.id)) visit(node.id);
  return edges.filter((edge) => !back.has(edge));
}

/** Each node's layer: as early as its predecessors allow, and sources as late as their successors allow. */
function layersOf(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[]): Map<string, number> {
  const layer = new Map(nodes.map((node) => [node.id, 0]));
  for (let changed = true; changed; ) {
    changed = false;
    for (const { from, to } of edges) {
      const least = (layer.get(from) ?? 0) + 1;
      if ((layer.get(to) ?? 0) < least) {
        layer.set(to, least);
        changed = true;
      }
    }
  }
  for (const { id } of nodes) {
    if (edges.some((edge) => edge.to === id)) continue;
    const next = edges.filter((edge) => edge.from === id).map((edge) => layer.get(edge.to) ?? 0);
    if (next.length > 0) layer.set(id, Math.min(...next) - 1);
  }
  return layer;
}

/** One way through every layer that the graph has. */
function spineOf(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[], layer: Map<string, number>): Set<string> {
  const last = Math.max(0, ...layer.values());
  const spine = new Set<string>();
  let at = nodes.find((node) => layer.get(node.id) === last)?.id;
  for (let step = last; at !== undefined; step -= 1) {
    spine.add(at);
    const here: string = at;
    at = edges.find((edge) => edge.to === here && layer.get(edge.from) === step - 1)?.from;
  }
  return spine;
}

function average(cells: readonly Cell[], value: (cell: Cell) => number): number | null {
  return cells.length === 0 ? null : cells.reduce((sum, cell) => sum + value(cell), 0) / cells.length;
}

/** How many edges cross between two neighbouring layers. */
function crossings(layers: readonly Cell[][]): number {
  let count = 0;
  for (const cells of layers) {
    const links = cells.flatMap((cell, index) => cell.after.map((after) => [index, layers[after.layer]?.indexOf(after) ?? 0] as const));
    for (const [a, b] of links) for (const [c, d] of links) if (a < c && b > d) count += 1;
  }
  return count;
}

/** Sorts each layer by where its neighbours stand, to and fro, and keeps the order with the fewest crossings. */
function order(layers: Cell[][]): Cell[][] {
  let best = layers.map((cells) => [...cells]);
  let fewest = crossings(best);
  let current = layers.map((cells) => [...cells]);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep += 1) {
    const forward = sweep % 2 === 0;
    const indexes = current.map((_, index) => index);
    for (const index of forward ? indexes : indexes.reverse()) {
      const neighbours = current[index + (forward ? -1 : 1)];
      if (neighbours === undefined) continue;
      const position = new Map(neighbours.map((cell, at) => [cell, at]));
      const cells = current[index] ?? [];
      const wish = new Map(
        cells.map((cell, at) => [cell, average(forward ? cell.before : cell.after, (other) => position.get(other) ?? 0) ?? at]),
      );
      current[index] = [...cells].sort((a, b) => (wish.get(a) ?? 0) - (wish.get(b) ?? 0));
    }
    const count = crossings(current);
    if (count < fewest) {
      fewest = count;
      best = current.map((cells) => [...cells]);
    }
    current = current.map((cells) => [...cells]);
  }
  return best;
}

/** Stacks a layer away from its spine cell, each cell as near to its wish as the ones inside of it allow. */
function stack(cells: readonly Cell[], wish: (cell: Cell) => number, gaps: Gaps): void {
  const spine = Math.max(0, cells.findIndex((cell) => cell.spine));
  const apart = (a: Cell, b: Cell): number => (a.across + b.across) / 2 + (a.real && b.real ? gaps.node : gaps.edge);
  const middle = cells[spine];
  if (middle === undefined) return;
  middle.at = middle.spine ? 0 : wish(middle);
  for (let index = spine + 1; index < cells.length; index += 1) {
    const [inner, cell] = [cells[index - 1] as Cell, cells[index] as Cell];
    cell.at = Math.max(wish(cell), inner.at + apart(inner, cell));
  }
  for (let index = spine - 1; index >= 0; index -= 1) {
    const [inner, cell] = [cells[index + 1] as Cell, cells[index] as Cell];
    cell.at = Math.min(wish(cell), inner.at - apart(inner, cell));
  }
}

/** Stacks a layer around its middle, in rows that are as high in every layer. */
function centre(cells: readonly Cell[], row: number, gaps: Gaps): void {
  let end = 0;
  for (const [index, cell] of cells.entries()) {
    const before = cells[index - 1];
    if (before !== undefined) end += before.real && cell.real ? gaps.node : gaps.edge;
    const height = cell.real ? row : 0;
    cell.at = end + height / 2;
    end += height;
  }
  for (const cell of cells) cell.at -= end / 2;
}

/** Moves the cells of all layers near to what they are joined with, to and fro. */
function settle(layers: readonly Cell[][], gaps: Gaps): void {
  for (const cells of layers) stack(cells, () => 0, gaps);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const forward = sweep % 2 === 0;
    for (const cells of forward ? layers : [...layers].reverse()) {
      const near = (cell: Cell): Cell[] => (forward ? cell.before : cell.after);
      const far = (cell: Cell): Cell[] => (forward ? cell.after : cell.before);
      stack(cells, (cell) => average(near(cell), (other) => other.at) ?? average(far(cell), (other) => other.at) ?? cell.at, gaps);
    }
  }
}

/** Makes the cells, with one for each layer that an edge passes, and joins them. */
function cellsOf(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[]): { layers: Cell[][]; passes: Map<LayoutEdge, Cell[]>; byId: Map<string, Cell> } {
  const forward = forwardEdges(nodes, edges);
  const layer = layersOf(nodes, forward);
  const spine = spineOf(nodes, forward, layer);
  const layers: Cell[][] = Array.from({ length: Math.max(0, ...layer.values()) + 1 }, () => []);
  const cell = (id: string, along: number, across: number, at: number, real: boolean): Cell => {
    const made = { id, along, across, layer: at, real, spine: real && spine.has(id), before: [], after: [], at: 0 };
    layers[at]?.push(made);
    return made;
  };
  const byId = new Map(nodes.map((node) => [node.id, cell(node.id, node.along, node.across, layer.get(node.id) ?? 0, true)]));
  const passes = new Map<LayoutEdge, Cell[]>();
  for (const edge of forward) {
    const [from, to] = [byId.get(edge.from) as Cell, byId.get(edge.to) as Cell];
    const between: Cell[] = [];
    for (let at = from.layer + 1; at < to.layer; at += 1) between.push(cell(`${edge.from}>${edge.to}`, 0, 0, at, false));
    passes.set(edge, between);
    const chain = [from, ...between, to];
    chain.slice(1).forEach((next, index) => {
      (chain[index] as Cell).after.push(next);
      next.before.push(chain[index] as Cell);
    });
  }
  return { layers, passes, byId };
}

/** Lays a graph out. Edges to nodes that are not there must be left out before. */
export function layered(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[], gaps: Gaps): Layout {
  const made = cellsOf(nodes, edges);
  const lanes = [made.layers[0], made.layers[made.layers.length - 1]].every((cells) => (cells?.filter((cell) => cell.real).length ?? 0) > 1);
  const layers = lanes ? made.layers : order(made.layers);
  const all = layers.flat();
  const row = Math.max(0, ...all.map((cell) => cell.across));
  if (lanes) for (const cells of layers) centre(cells, row, gaps);
  else settle(layers, gaps);
  const top = Math.min(0, ...all.map((cell) => cell.at - cell.across / 2));
  const bottom = Math.max(0, ...all.map((cell) => cell.at + cell.across / 2));
  const middles: number[] = [];
  let along = 0;
  layers.forEach((cells, index) => {
    const thickness = Math.max(0, ...cells.map((cell) => cell.along));
    middles.push(along + thickness / 2);
    along += thickness + (index < layers.length - 1 ? gaps.layer : 0);
  });
  const place = (cell: Cell): Place => ({ along: middles[cell.layer] ?? 0, across: cell.at - top });
  return {
    along,
    across: bottom - top,
    centres: new Map([...made.byId].map(([id, cell]) => [id, place(cell)])),
    bends: edges.map((edge) => (made.passes.get(edge) ?? []).map(place)),
  };
}
