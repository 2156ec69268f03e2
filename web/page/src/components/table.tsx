/** The graph's figures as a table, and its edges. */

import type { Hop, Port } from "@tidegate/client";
import { useRef } from "preact/hooks";
import { shortEndpoint } from "../model/endpoints.js";
import { hopsInFlow } from "../model/flow.js";
import { type Topology, edgeRows, showsWait } from "../model/graph.js";
import { PART_NAMES, PARTS } from "../model/history.js";
import { PLACEMENTS, droppedText, droppedTotal, hasFigures, timeOf } from "../model/hops.js";
import { type Percentile, formatBytes, formatCount, formatMicros } from "../model/units.js";
import { type Breakdown, ELSEWHERE, hasPortFigures, portDrops, waitOf, waitWord } from "../model/waits.js";
import { useExcess, useOverflow } from "./overflow.js";
import { Bar } from "./picture.js";

/** What every row is drawn with. */
interface Shown {
  topology: Topology;
  percentile: Percentile;
  scaleUs: number;
  columns: Columns;
}

/** Columns that only some pipelines can fill: the others would carry them empty beyond the edge of the screen. */
interface Columns {
  /** A hop is in another process: there is a wire, and a first output of its own. */
  remote: boolean;
  /** A hop is waited for: something can be in flight to it. */
  away: boolean;
}

function columnsOf(topology: Topology): Columns {
  const has = (...placements: Hop["placement"][]): boolean => topology.hops.some((hop) => placements.includes(hop.placement));
  return { remote: has("remote"), away: has("remote", "offload") };
}

/** The parts that have a column. */
function partsOf(columns: Columns): readonly ("queue" | "wire" | "service")[] {
  return (PARTS as readonly ("queue" | "wire" | "service")[]).filter((part) => part !== "wire" || columns.remote);
}

/** An input or output as a row beside the hops. */
function PortRow(props: Shown & { port: Port; role: "input" | "output" }) {
  const { port, role, topology, percentile, scaleUs, columns } = props;
  const figures = hasPortFigures(port) ? port : null;
  const wait = waitOf(port, topology, percentile);
  const dropped = portDrops(port);
  return (
    <tr>
      <th scope="row">{port.name}</th>
      <td class="mono small">{role}</td>
      <td>{waitWord(port) === "paced" ? "paced" : <span class="muted">–</span>}</td>
      <td class="bar-cell">
        <Bar parts={{ queue: wait }} scaleUs={scaleUs} />
      </td>
      {partsOf(columns).map((part) => (
        <td class="number" key={part}>
          {part === "queue" ? formatMicros(wait) : "–"}
        </td>
      ))}
      <td class="number strong">{formatMicros(wait)}</td>
      {columns.remote && <td class="number">–</td>}
      <td class="number">{formatCount(figures?.frames ?? 0)}</td>
      <td class="number">–</td>
      <td class="number">{figures?.queue_frames ?? "–"}</td>
      {columns.away && <td class="number">–</td>}
      <td class="number" title={dropped.text}>
        {formatCount(dropped.total)}
      </td>
    </tr>
  );
}

/** Where a hop runs; of a remote one that is served, by whom. */
function Runs({ hop }: { hop: Hop }) {
  const endpoint = hasFigures(hop) ? hop.endpoint : undefined;
  if (hop.placement === "remote" && endpoint !== undefined) return <td title={`remote, ${endpoint}`}>{shortEndpoint(endpoint)}</td>;
  return (
    <td>
      {PLACEMENTS[hop.placement]}
      {hop.inserted && <span class="muted">, inserted</span>}
    </td>
  );
}

function HopRow({ hop, percentile, scaleUs, columns }: Shown & { hop: Hop }) {
  const time = timeOf(hop, percentile);
  const figures = hasFigures(hop) ? hop : null;
  return (
    <tr>
      <th scope="row">{hop.id}</th>
      <td class="mono small">{hop.type}</td>
      <Runs hop={hop} />
      <td class="bar-cell">
        <Bar parts={time.parts} scaleUs={scaleUs} />
      </td>
      {partsOf(columns).map((part) => (
        <td class="number" key={part}>
          {formatMicros(time.parts[part])}
        </td>
      ))}
      <td class="number strong">{formatMicros(time.total)}</td>
      {columns.remote && <td class="number">{formatMicros(time.firstOutput)}</td>}
      <td class="number" title={figures === null ? "" : formatBytes(figures.bytes_in)}>
        {figures === null ? "–" : formatCount(figures.frames_in)}
      </td>
      <td class="number" title={figures === null ? "" : formatBytes(figures.bytes_out)}>
        {figures === null ? "–" : formatCount(figures.frames_out)}
      </td>
      <td class="number">{figures?.queue_frames ?? "–"}</td>
      {columns.away && <td class="number">{figures?.in_flight ?? "–"}</td>}
      <td class="number" title={droppedText(hop)}>
        {figures === null ? "–" : formatCount(droppedTotal(hop))}
      </td>
    </tr>
  );
}

/** The last rows: the whole, and what of it no row has. */
function Whole({ whole, columns }: { whole: Breakdown | null; columns: Columns }) {
  if (whole === null) return null;
  const rest = whole.portions.find((portion) => portion.kind === "rest");
  const row = (name: string, us: number, title: string) => (
    <tr title={title}>
      <th scope="row">{name}</th>
      <td colSpan={3 + partsOf(columns).length} />
      <td class="number strong">{formatMicros(us)}</td>
      <td colSpan={4 + Number(columns.remote) + Number(columns.away)} />
    </tr>
  );
  return (
    <tfoot>
      {rest !== undefined && row("Elsewhere", rest.us, ELSEWHERE)}
      {row("Session", whole.us, "From a frame's arrival to the departure of what it caused, on the longest way")}
    </tfoot>
  );
}

function Head({ columns }: { columns: Columns }) {
  const number = (text: string) => (
    <th scope="col" class="number" key={text}>
      {text}
    </th>
  );
  return (
    <thead>
      <tr>
        <th scope="col">Hop</th>
        <th scope="col">Type</th>
        <th scope="col">Runs</th>
        <th scope="col" class="bar-cell">
          <span class="hidden">Bar</span>
        </th>
        {partsOf(columns).map((part) => number(PART_NAMES[part]))}
        {number("Together")}
        {columns.remote && number("First output")}
        {number("In")}
        {number("Out")}
        {number("Waiting")}
        {columns.away && number("In flight")}
        {number("Dropped")}
      </tr>
    </thead>
  );
}

function Edges({ topology }: { topology: Topology }) {
  return (
    <div class="table-scroll" tabIndex={0} role="group" aria-label="Edges of the pipeline">
      <table class="edges">
        <caption>Edges</caption>
        <thead>
          <tr>
            <th scope="col">Edge</th>
            <th scope="col">Carries</th>
            <th scope="col">Queue</th>
          </tr>
        </thead>
        <tbody>
          {edgeRows(topology).map((row) => (
            <tr key={row.name}>
              <th scope="row">{row.name}</th>
              <td>{row.carries === "" ? "–" : row.carries}</td>
              <td>{row.queue === "" ? "none" : row.queue}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The tables. The first may be wider than the screen: then it scrolls sideways under its hops' names, and says so. */
export function HopTable(props: { topology: Topology; percentile: Percentile; scaleUs: number; whole: Breakdown | null }) {
  const { topology, percentile, whole } = props;
  const element = useRef<HTMLDivElement>(null);
  const overflow = useOverflow(element, useExcess(element));
  const shown: Shown = { topology, percentile, scaleUs: props.scaleUs, columns: columnsOf(topology) };
  const port = (port: Port, role: "input" | "output") => showsWait(port, role) && <PortRow key={port.name} port={port} role={role} {...shown} />;
  return (
    <>
      <div class={`table-scroll hop-table ${overflow.class}`} ref={element} onScroll={overflow.onScroll} tabIndex={0} role="group" aria-label="Figures of the hops">
        <table class="hops">
          <caption class="hidden">Latency of each hop and output, {percentile} over the last ten seconds, with counts since the session began</caption>
          <Head columns={shown.columns} />
          <tbody>
            {topology.inputs.map((one) => port(one, "input"))}
            {hopsInFlow(topology).map((hop) => (
              <HopRow key={hop.id} hop={hop} {...shown} />
            ))}
            {topology.outputs.map((one) => port(one, "output"))}
          </tbody>
          <Whole whole={whole} columns={shown.columns} />
        </table>
      </div>
      {overflow.there && <p class="hint scroll-hint">The table is wider than its place: {overflow.class.includes("right") ? "scroll it sideways to see the rest →" : "this is its right end"}</p>}
      <Edges topology={topology} />
    </>
  );
}
