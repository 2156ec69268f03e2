/** The graph's panel: the picture, and the same figures as a table. */

import { useSignal } from "@preact/signals";
import type { PipelineDescription, Port, SessionDetail } from "@tidegate/client";
import { useMemo } from "preact/hooks";
import { hopsInFlow } from "../model/flow.js";
import { type Topology, edgeRows, showsWait, withFormats } from "../model/graph.js";
import { PART_NAMES, PARTS } from "../model/history.js";
import { PLACEMENTS, droppedText, droppedTotal, hasFigures, scaleOf, timeOf } from "../model/hops.js";
import { PERCENTILES, type Percentile, formatBytes, formatCount, formatMicros } from "../model/units.js";
import { type Breakdown, ELSEWHERE, breakdown, exceeds, hasPortFigures, longestWait, portDrops, waitOf, waitWord } from "../model/waits.js";
import * as store from "../state/store.js";
import { Panel, Segmented } from "./controls.js";
import { Endpoints } from "./endpoints.js";
import { Bar, Picture } from "./picture.js";

function Legend(props: { scaleUs: number | null; percentile: Percentile; interrupt: PipelineDescription["interrupt"] | undefined }) {
  return (
    <p class="legend">
      {PARTS.map((part) => (
        <span key={part}>
          <i class={part} aria-hidden="true" />
          {PART_NAMES[part].toLowerCase()}
        </span>
      ))}
      {props.scaleUs !== null && (
        <span class="muted">
          a full bar is {formatMicros(props.scaleUs)}, {props.percentile} over 10 s
        </span>
      )}
      {props.scaleUs === null && props.interrupt && (
        <span class="muted">
          {props.interrupt.on ?? "the client"} interrupts and empties {["the outputs", ...props.interrupt.flush].join(", ")}
        </span>
      )}
    </p>
  );
}

/** What the latency shown above is made of, so that it adds up. */
function Adds(props: { whole: Breakdown | null; percentile: Percentile }) {
  const { whole, percentile } = props;
  if (whole === null) return null;
  const sum = Math.max(whole.us, whole.portions.reduce((all, portion) => all + portion.us, 0));
  return (
    <div class="adds">
      <p>
        <span>
          Latency {percentile} <b class="mono">{formatMicros(whole.us)}</b>
        </span>
        {whole.portions.map((portion) => (
          <span key={portion.name} title={portion.kind === "rest" ? ELSEWHERE : ""}>
            <i class={portion.kind} aria-hidden="true" />
            {portion.name}
            {portion.note !== "" && <span class="muted">{portion.note}</span>}
            <b class="mono">{formatMicros(portion.us)}</b>
          </span>
        ))}
        {exceeds(whole) && <span class="muted">percentiles of parts may be more than the whole</span>}
      </p>
      <span class="bar" aria-hidden="true">
        {whole.portions.map((portion) => (
          <i key={portion.name} class={portion.kind} style={{ width: `${(portion.us / sum) * 100}%` }} />
        ))}
      </span>
    </div>
  );
}

/** An input or output as a row beside the hops. */
function PortRow(props: { port: Port; role: "input" | "output"; topology: Topology; percentile: Percentile; scaleUs: number }) {
  const { port, role, topology, percentile, scaleUs } = props;
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
      <td class="number">{formatMicros(wait)}</td>
      <td class="number">–</td>
      <td class="number">–</td>
      <td class="number strong">{formatMicros(wait)}</td>
      <td class="number">–</td>
      <td class="number">{formatCount(figures?.frames ?? 0)}</td>
      <td class="number">–</td>
      <td class="number">{figures?.queue_frames ?? "–"}</td>
      <td class="number">–</td>
      <td class="number" title={dropped.text}>
        {formatCount(dropped.total)}
      </td>
    </tr>
  );
}

/** The last rows: the whole, and what of it no row has. */
function Whole({ whole }: { whole: Breakdown | null }) {
  if (whole === null) return null;
  const rest = whole.portions.find((portion) => portion.kind === "rest");
  const row = (name: string, us: number, title: string) => (
    <tr title={title}>
      <th scope="row" colSpan={4}>
        {name}
      </th>
      {PARTS.map((part) => (
        <td key={part} />
      ))}
      <td class="number strong">{formatMicros(us)}</td>
      <td colSpan={6} />
    </tr>
  );
  return (
    <tfoot>
      {rest !== undefined && row("Elsewhere", rest.us, ELSEWHERE)}
      {row("Session", whole.us, "From a frame's arrival to the departure of what it caused, on the longest way")}
    </tfoot>
  );
}

function HopTable(props: { topology: Topology; percentile: Percentile; scaleUs: number; whole: Breakdown | null }) {
  const { topology, percentile, scaleUs, whole } = props;
  const port = (port: Port, role: "input" | "output") =>
    showsWait(port, role) && <PortRow key={port.name} port={port} role={role} topology={topology} percentile={percentile} scaleUs={scaleUs} />;
  return (
    <div class="table-scroll" tabIndex={0} role="group" aria-label="Figures of the hops">
      <table>
        <caption class="hidden">Latency of each hop and output, {percentile} over the last ten seconds, with counts since the session began</caption>
        <thead>
          <tr>
            <th scope="col">Hop</th>
            <th scope="col">Type</th>
            <th scope="col">Runs</th>
            <th scope="col">
              <span class="hidden">Bar</span>
            </th>
            {PARTS.map((part) => (
              <th scope="col" class="number" key={part}>
                {PART_NAMES[part]}
              </th>
            ))}
            <th scope="col" class="number">Together</th>
            <th scope="col" class="number">First output</th>
            <th scope="col" class="number">In</th>
            <th scope="col" class="number">Out</th>
            <th scope="col" class="number">Waiting</th>
            <th scope="col" class="number">In flight</th>
            <th scope="col" class="number">Dropped</th>
          </tr>
        </thead>
        <tbody>
          {topology.inputs.map((one) => port(one, "input"))}
          {hopsInFlow(topology).map((hop) => {
            const time = timeOf(hop, percentile);
            const figures = hasFigures(hop) ? hop : null;
            return (
              <tr key={hop.id}>
                <th scope="row">{hop.id}</th>
                <td class="mono small">{hop.type}</td>
                <td>
                  {PLACEMENTS[hop.placement]}
                  {hop.inserted && <span class="muted">, inserted</span>}
                  {figures?.endpoint !== undefined && <span class="muted"> {figures.endpoint}</span>}
                </td>
                <td class="bar-cell">
                  <Bar parts={time.parts} scaleUs={scaleUs} />
                </td>
                {PARTS.map((part) => (
                  <td class="number" key={part}>
                    {formatMicros(time.parts[part as "queue" | "wire" | "service"])}
                  </td>
                ))}
                <td class="number strong">{formatMicros(time.total)}</td>
                <td class="number">{formatMicros(time.firstOutput)}</td>
                <td class="number" title={figures === null ? "" : formatBytes(figures.bytes_in)}>
                  {figures === null ? "–" : formatCount(figures.frames_in)}
                </td>
                <td class="number" title={figures === null ? "" : formatBytes(figures.bytes_out)}>
                  {figures === null ? "–" : formatCount(figures.frames_out)}
                </td>
                <td class="number">{figures?.queue_frames ?? "–"}</td>
                <td class="number">{figures?.in_flight ?? "–"}</td>
                <td class="number" title={droppedText(hop)}>
                  {figures === null ? "–" : formatCount(droppedTotal(hop))}
                </td>
              </tr>
            );
          })}
          {topology.outputs.map((one) => port(one, "output"))}
        </tbody>
        <Whole whole={whole} />
      </table>
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
              <td>{row.carries}</td>
              <td>{row.queue === "" ? "none" : row.queue}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The panel: which pipeline it is, the controls, the picture or the table. */
export function Figures() {
  const view = useSignal<"graph" | "table">("graph");
  const description = store.description.value;
  const shown = store.detail.value;
  const detail: SessionDetail | null = useMemo(() => (shown === null ? null : withFormats(shown, description)), [shown, description]);
  const topology: Topology | null = detail ?? description;
  const name = detail?.pipeline ?? description?.name;
  const percentile = store.percentile.value;
  const measured = detail !== null;
  const scaleUs = topology === null ? 1 : scaleOf(topology.hops, percentile, longestWait(topology, percentile));
  const whole = detail === null ? null : breakdown(detail, percentile);
  return (
    <Panel
      id="figures"
      class="figures-panel"
      title={name === undefined ? "Pipeline" : <>Pipeline <span class="mono">{name}</span></>}
      controls={
        <div class="controls">
          <Segmented
            label="Percentile"
            value={percentile}
            options={PERCENTILES.map((value) => ({ value, text: value }))}
            onChange={(value) => {
              store.percentile.value = value;
            }}
          />
          <Segmented
            label="Show as"
            value={view.value}
            options={[
              { value: "graph", text: "Graph" },
              { value: "table", text: "Table" },
            ]}
            onChange={(value) => {
              view.value = value;
            }}
          />
        </div>
      }
    >
      {topology === null ? (
        <p class="empty">No pipeline is chosen.</p>
      ) : view.value === "graph" ? (
        <Picture topology={topology} percentile={percentile} scaleUs={scaleUs} />
      ) : (
        <HopTable topology={topology} percentile={percentile} scaleUs={scaleUs} whole={whole} />
      )}
      <Adds whole={whole} percentile={percentile} />
      {topology !== null && <Legend scaleUs={measured ? scaleUs : null} percentile={percentile} interrupt={description?.name === name ? description?.interrupt : null} />}
      {topology !== null && <Endpoints topology={topology} />}
    </Panel>
  );
}
