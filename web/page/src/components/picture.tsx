/** The pipeline as a graph: boxes with their stacked bars, lines that run while frames do. */

import { useSignal } from "@preact/signals";
import type { Hop, Port } from "@tidegate/client";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { type Box, type Picture as Drawn, type Topology, conversion, draw, showsWait } from "../model/graph.js";
import { PARTS } from "../model/history.js";
import { poolsOf, shortEndpoint, standing } from "../model/endpoints.js";
import { PLACEMENTS, droppedText, droppedTotal, hasFigures, spokenHop, timeOf } from "../model/hops.js";
import { type Percentile, formatCount, formatFormat, formatMicros } from "../model/units.js";
import { hasPortFigures, portDrops, spokenPort, waitOf, waitWord } from "../model/waits.js";
import * as store from "../state/store.js";
import { useOverflow } from "./overflow.js";

/** Below this width frames run down where the picture does not fit otherwise. */
const NARROW = 760;
/** A picture that is too wide is made smaller down to this; then it scrolls. */
const SMALLEST = 0.72;

/** A box that is lower is one of several conversions in one place: it has room for a name and a time. */
const FULL_HEIGHT = 76;

/** The width of an element, as it changes. */
function useWidth() {
  const element = useRef<HTMLDivElement>(null);
  const width = useSignal(1000);
  useEffect(() => {
    if (element.current === null) return undefined;
    const observer = new ResizeObserver((entries) => {
      const entry = entries[0];
      if (entry !== undefined) width.value = Math.round(entry.contentRect.width);
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [width]);
  return { element, width };
}

/** A stacked bar of what became of the time at a hop, or of the wait at a port. */
export function Bar(props: { parts: Partial<Record<"queue" | "wire" | "service", number | null>>; scaleUs: number }) {
  const { parts } = props;
  return (
    <span class="bar" aria-hidden="true">
      {PARTS.map((part) => {
        const us = parts[part as "queue" | "wire" | "service"] ?? null;
        return us === null || us === 0 ? null : <i key={part} class={part} style={{ width: `${Math.min(100, (us / props.scaleUs) * 100)}%` }} />;
      })}
    </span>
  );
}

/** Below a hop's name: a remote one's endpoint, when a session shows it; whom a conversion is for; else the type. */
function subtitle(hop: Hop): string {
  if (hop.inserted) return conversion(hop.id).whom || hop.type;
  const endpoint = hasFigures(hop) ? hop.endpoint : undefined;
  if (hop.placement !== "remote" || endpoint === undefined) return hop.type;
  return shortEndpoint(endpoint);
}

/** How many endpoints of a remote hop take frames, where that is not all: `2/3 up`. */
function Ailing({ hop }: { hop: Hop }) {
  const [pool] = poolsOf([hop]);
  const well = pool?.endpoints.filter((endpoint) => standing(endpoint).lamp === "good").length ?? 0;
  if (pool === undefined || well === pool.endpoints.length) return null;
  return (
    <span class="badge dropped" title="endpoints that take frames">
      {well}/{pool.endpoints.length} up
    </span>
  );
}

function HopBox(props: { hop: Hop; percentile: Percentile; scaleUs: number; stacked: boolean }) {
  const { hop, percentile, stacked } = props;
  const { parts, total } = timeOf(hop, percentile);
  const dropped = droppedTotal(hop);
  const waiting = hasFigures(hop) ? hop.queue_frames : 0;
  const selected = store.chartHop.value === hop.id;
  return (
    <button
      type="button"
      class={`hop ${hop.placement} ${hop.inserted ? "inserted" : ""} ${stacked ? "stacked" : ""}`}
      aria-pressed={selected}
      title={[`${hop.id}: ${hop.type}, ${PLACEMENTS[hop.placement]}`, hasFigures(hop) ? (hop.endpoint ?? "") : "", droppedText(hop)].filter((text) => text !== "").join("\n")}
      onClick={() => {
        store.chartHop.value = selected ? null : hop.id;
      }}
    >
      <span class="hidden">{spokenHop(hop, percentile)}</span>
      <span class="hop-name" aria-hidden="true">
        {hop.inserted ? conversion(hop.id).does : hop.id}
      </span>
      {!stacked && (
        <span class="hop-type" aria-hidden="true">
          {subtitle(hop)}
        </span>
      )}
      {!stacked && <Bar parts={parts} scaleUs={props.scaleUs} />}
      <span class="hop-foot" aria-hidden="true">
        <span class="mono">{formatMicros(total)}</span>
        <Ailing hop={hop} />
        {waiting > 0 && (
          <span class="badge queue" title={`${waiting} frames wait`}>
            {formatCount(waiting)} wait
          </span>
        )}
        {dropped > 0 && (
          <span class="badge dropped" title={`dropped: ${droppedText(hop)}`}>
            −{formatCount(dropped)}
          </span>
        )}
        {waiting === 0 && dropped === 0 && !hop.inserted && hop.placement === "offload" && <span class="where">{PLACEMENTS.offload}</span>}
      </span>
    </button>
  );
}

/** An input or output of a session: what waits there is a part of the latency like any hop. */
function MeasuredPort(props: { port: Port; role: "input" | "output"; topology: Topology; percentile: Percentile; scaleUs: number }) {
  const { port, role, topology, percentile } = props;
  const wait = waitOf(port, topology, percentile);
  const waiting = (hasPortFigures(port) ? port.queue_frames : 0) ?? 0;
  const dropped = portDrops(port);
  const paced = waitWord(port) === "paced";
  const selected = store.chartHop.value === port.name;
  const why = paced ? "Its frames leave as a listener plays them, so what is made faster waits here" : "";
  return (
    <button
      type="button"
      class={`hop port-box measured ${role}`}
      aria-pressed={selected}
      title={[`${port.name}: ${role}`, why, dropped.text === "" ? "" : `dropped: ${dropped.text}`].filter((text) => text !== "").join("\n")}
      onClick={() => {
        store.chartHop.value = selected ? null : port.name;
      }}
    >
      <span class="hidden">{spokenPort(port, role, topology, percentile)}</span>
      <span class="hop-name" aria-hidden="true">
        {port.name}
      </span>
      <span class="hop-type" aria-hidden="true">
        {port.kind}
        {paced && ", paced"}
      </span>
      <Bar parts={{ queue: wait }} scaleUs={props.scaleUs} />
      <span class="hop-foot" aria-hidden="true">
        <span class="mono">{formatMicros(wait)}</span>
        {waiting > 0 && (
          <span class="badge queue" title={`${waiting} frames wait`}>
            {formatCount(waiting)} wait
          </span>
        )}
        {dropped.total > 0 && <span class="badge dropped">−{formatCount(dropped.total)}</span>}
      </span>
    </button>
  );
}

function PortBox(props: { box: Box }) {
  const port = props.box.port;
  if (port === null) return null;
  const format = formatFormat(port.format);
  return (
    <div class={`port-box ${props.box.role}`} title={[port.kind, format].filter((text) => text !== "").join(", ")}>
      <b>{port.name}</b>
      <span>{port.kind}</span>
    </div>
  );
}

/** Which boxes took frames since the last look. */
function useMoving(hops: readonly Hop[]): Set<string> {
  const before = useRef(new Map<string, { in: number; out: number }>());
  return useMemo(() => {
    const moving = new Set<string>();
    for (const hop of hops) {
      if (!hasFigures(hop)) continue;
      const last = before.current.get(hop.id);
      if (last !== undefined && hop.frames_in > last.in) moving.add(`>${hop.id}`);
      if (last !== undefined && hop.frames_out > last.out) moving.add(`${hop.id}>`);
      before.current.set(hop.id, { in: hop.frames_in, out: hop.frames_out });
    }
    return moving;
  }, [hops]);
}

/** The picture. */
export function Picture(props: { topology: Topology; percentile: Percentile; scaleUs: number }) {
  const { topology, percentile, scaleUs } = props;
  const { element, width } = useWidth();
  // Figures change each second and the shape does not: lay out once per shape.
  const shape = JSON.stringify([
    topology.inputs.map((port) => [port.name, showsWait(port, "input")]),
    topology.outputs.map((port) => [port.name, showsWait(port, "output")]),
    topology.hops.map((hop) => [hop.id, hop.inserted, hop.inputs, hop.outputs]),
    topology.edges,
  ]);
  const pictures = useMemo(() => ({ right: draw(topology, "right"), down: draw(topology, "down") }), [shape]);
  const excess = (picture: Drawn): number => Math.max(0, picture.width * SMALLEST - width.value);
  const direction = width.value < NARROW && excess(pictures.right) > excess(pictures.down) ? "down" : "right";
  const picture = pictures[direction];
  const moving = useMoving(topology.hops);
  const hops = new Map(topology.hops.map((hop) => [hop.id, hop]));
  const ports = new Map([...topology.inputs, ...topology.outputs].map((port) => [port.name, port]));
  const fit = Math.max(SMALLEST, Math.min(1, width.value / picture.width));
  const overflow = useOverflow(element, picture.width * fit - width.value);
  const boxes = [...picture.boxes].sort((a, b) => (direction === "right" ? a.x - b.x || a.y - b.y : a.y - b.y || a.x - b.x));
  const boxOf = (box: Box) => {
    const hop = hops.get(box.id);
    if (hop !== undefined) return <HopBox hop={hop} percentile={percentile} scaleUs={scaleUs} stacked={box.height < FULL_HEIGHT} />;
    const port = ports.get(box.id);
    if (port === undefined || box.role === "hop" || !showsWait(port, box.role)) return <PortBox box={box} />;
    return <MeasuredPort port={port} role={box.role} topology={topology} percentile={percentile} scaleUs={scaleUs} />;
  };
  return (
    <>
    <div class={`picture ${overflow.class}`} ref={element} onScroll={overflow.onScroll} role="group" aria-label="Graph of the pipeline" tabIndex={overflow.there ? 0 : undefined}>
      <div class="canvas-space" style={{ width: `${picture.width * fit}px`, height: `${picture.height * fit}px` }}>
        <div class="canvas" style={{ width: `${picture.width}px`, height: `${picture.height}px`, transform: `scale(${fit})` }}>
          <svg class="lines" width={picture.width} height={picture.height} aria-hidden="true">
            <defs>
              <marker id="tip" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" markerUnits="userSpaceOnUse">
                <path d="M0 0.6 7 4 0 7.4z" class="tip" />
              </marker>
            </defs>
            {picture.lines.map((line) => (
              <g key={line.key} class={moving.has(`>${line.to}`) || moving.has(`${line.from}>`) ? "line moving" : "line"}>
                <title>{line.title}</title>
                <path class="reach" d={line.path} />
                <path class="ink" d={line.path} marker-end="url(#tip)" />
                <path class="flow" d={line.path} />
              </g>
            ))}
          </svg>
          <ul class="boxes">
            {boxes.map((box) => (
              <li key={box.id} style={{ left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` }}>
                {boxOf(box)}
              </li>
            ))}
          </ul>
        </div>
      </div>
    </div>
    {overflow.there && <p class="hint scroll-hint">The graph is wider than the screen: {overflow.class.includes("right") ? "scroll it sideways to see the rest →" : "this is its right end"}</p>}
    </>
  );
}
