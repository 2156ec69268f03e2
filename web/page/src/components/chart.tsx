/** Percentiles over time, drawn by uPlot. */

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { hopsInFlow } from "../model/flow.js";
import { showsWait } from "../model/graph.js";
import { HISTORY_SAMPLES, PART_NAMES, type Part, type Series, seriesName } from "../model/history.js";
import { formatAge, formatMicros } from "../model/units.js";
import * as store from "../state/store.js";
import { Panel, Select } from "./controls.js";

const NAMES = ["p50", "p90", "p99"] as const;
const CHART_PARTS: readonly Part[] = ["service", "queue", "wire", "first_output"];
/** Where the time axis is marked, in seconds from now. */
const AGES = [-120, -90, -60, -30, 0];

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function sizeOf(parent: HTMLElement): { width: number; height: number } {
  return { width: parent.clientWidth, height: parent.clientHeight };
}

function options(parent: HTMLElement): uPlot.Options {
  const axis = {
    stroke: colour("--quiet"),
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { show: false },
    font: '11px "IBM Plex Mono", monospace',
  };
  return {
    ...sizeOf(parent),
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    padding: [10, 12, 0, 0],
    scales: {
      x: { time: false, range: [-HISTORY_SAMPLES, 0] },
      y: { range: (_chart, _min, max) => [0, max > 0 ? max * 1.12 : 1] },
    },
    axes: [
      { ...axis, size: 26, gap: 6, splits: () => AGES, values: () => AGES.map((age) => (age === 0 ? "now" : `−${formatAge(-age)}`)) },
      { ...axis, size: 68, values: (_chart, ticks) => ticks.map((ms) => formatMicros(ms * 1000)) },
    ],
    series: [
      {},
      ...NAMES.map((name) => ({
        label: name,
        stroke: colour(`--${name}`),
        width: name === "p50" ? 2 : 1.5,
        ...(name === "p99" ? { dash: [4, 3] } : {}),
        points: { show: false },
        spanGaps: false,
      })),
    ],
  };
}

/** A series with its times counted back from the newest. */
function fromNow([times, ...rest]: Series): Series {
  const now = times[times.length - 1] ?? 0;
  return [times.map((time) => time - now), ...rest];
}

function Plot(props: { series: Series; label: string }) {
  const element = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const series = useRef(props.series);
  series.current = props.series;
  useEffect(() => {
    const parent = element.current;
    if (parent === null) return undefined;
    const build = (): void => {
      chart.current?.destroy();
      chart.current = new uPlot(options(parent), series.current, parent);
    };
    build();
    const observer = new ResizeObserver(() => chart.current?.setSize(sizeOf(parent)));
    observer.observe(parent);
    // The canvas takes its colours when it is made.
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", build);
    return () => {
      observer.disconnect();
      scheme.removeEventListener("change", build);
      chart.current?.destroy();
      chart.current = null;
    };
  }, []);
  useEffect(() => chart.current?.setData(props.series), [props.series]);
  return <div class="plot" ref={element} role="img" aria-label={props.label} />;
}

/** The chart's panel: whose time, which part, the lines, and their newest figures. */
export function Chart() {
  store.looks.value; // The history is a plain object: this says when it has grown.
  const topology = store.detail.value ?? store.description.value;
  const hops = topology === null ? [] : hopsInFlow(topology).map((one) => one.id);
  const detail = store.detail.value;
  const outputs = (detail?.outputs ?? []).map((output) => output.name);
  const inputs = (detail?.inputs ?? []).filter((input) => showsWait(input, "input")).map((input) => input.name);
  const places = [...inputs, ...hops, ...outputs];
  const hop = places.find((one) => one === store.chartHop.value) ?? null;
  // At inputs and outputs frames only wait.
  const atPort = hop !== null && !hops.includes(hop);
  const part = atPort ? "queue" : store.chartPart.value;
  const series = store.history.series(seriesName(hop, part));
  const newest = series.slice(1).map((values) => values[values.length - 1] ?? null);
  const what = hop === null ? "Session latency" : `${PART_NAMES[part]} of ${hop}`;
  const figures = NAMES.map((name, index) => `${name} ${formatMicros(newest[index] === null ? null : (newest[index] as number) * 1000)}`);
  return (
    <Panel
      id="chart"
      class={series[0].length === 0 ? "chart-panel is-empty" : "chart-panel"}
      title="Latency over time"
      controls={
        <div class="controls">
          <Select
            compact
            label="Of"
            value={hop ?? ""}
            options={[{ value: "", text: "session" }, ...places.map((one) => ({ value: one, text: one }))]}
            onChange={(value) => {
              store.chartHop.value = value === "" ? null : value;
            }}
          />
          <Select
            compact
            label="Part"
            value={part}
            disabled={hop === null || atPort}
            options={CHART_PARTS.map((value) => ({ value, text: PART_NAMES[value].toLowerCase() }))}
            onChange={(value) => {
              store.chartPart.value = value as Part;
            }}
          />
        </div>
      }
    >
      <div class="plot-space">
        <Plot series={fromNow(series)} label={`${what}, last two minutes. Now: ${figures.join(", ")}`} />
        {series[0].length === 0 && <p class="empty">{store.verb.value}, or watch one of the sessions below, to see its latency here.</p>}
      </div>
      <p class="legend">
        {NAMES.map((name, index) => (
          <span key={name}>
            <i class={`line-${name}`} aria-hidden="true" />
            {name} <b class="mono">{formatMicros(newest[index] === null ? null : (newest[index] as number) * 1000)}</b>
          </span>
        ))}
        <span class="muted">{what.toLowerCase()}, two minutes</span>
      </p>
    </Panel>
  );
}
