/** The graph's panel: the picture, and the same figures as a table. */

import { useSignal } from "@preact/signals";
import type { PipelineDescription } from "@tidegate/client";
import { type Topology, edgeRows } from "../model/graph.js";
import { PART_NAMES, PARTS } from "../model/history.js";
import { PLACEMENTS, droppedText, droppedTotal, hasFigures, scaleOf, timeOf } from "../model/hops.js";
import { PERCENTILES, type Percentile, formatBytes, formatCount, formatMicros } from "../model/units.js";
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

function HopTable(props: { topology: Topology; percentile: Percentile; scaleUs: number }) {
  const { topology, percentile, scaleUs } = props;
  return (
    <div class="table-scroll" tabIndex={0} role="group" aria-label="Figures of the hops">
      <table>
        <caption class="hidden">Latency of each hop, {percentile} over the last ten seconds, with counts since the session began</caption>
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
          {topology.hops.map((hop) => {
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
                  <Bar hop={hop} percentile={percentile} scaleUs={scaleUs} />
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
        </tbody>
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
  const detail = store.detail.value;
  const topology: Topology | null = detail ?? store.description.value;
  const description = store.description.value;
  const name = detail?.pipeline ?? description?.name;
  const percentile = store.percentile.value;
  const measured = detail !== null;
  const scaleUs = topology === null ? 1 : scaleOf(topology.hops, percentile);
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
        <HopTable topology={topology} percentile={percentile} scaleUs={scaleUs} />
      )}
      {topology !== null && <Legend scaleUs={measured ? scaleUs : null} percentile={percentile} interrupt={description?.name === name ? description?.interrupt : null} />}
      {topology !== null && <Endpoints topology={topology} />}
    </Panel>
  );
}
