/** The graph's panel: the picture or the table, and what the latency is made of. */

import { useSignal } from "@preact/signals";
import type { PipelineDescription, SessionDetail } from "@tidegate/client";
import { useMemo } from "preact/hooks";
import { type Topology, withFormats } from "../model/graph.js";
import { PART_NAMES, PARTS } from "../model/history.js";
import { scaleOf } from "../model/hops.js";
import { PERCENTILES, type Percentile, formatMicros } from "../model/units.js";
import { type Breakdown, ELSEWHERE, breakdown, exceeds, longestWait } from "../model/waits.js";
import * as store from "../state/store.js";
import { Panel, Segmented } from "./controls.js";
import { Endpoints } from "./endpoints.js";
import { Picture } from "./picture.js";
import { HopTable } from "./table.js";

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
      title={name === undefined ? "Hops" : <>Pipeline <span class="mono">{name}</span></>}
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
