/** The strip of figures of the watched session, as an instrument shows them: a label, a value, a unit. */

import { formatAge, formatCount, formatMicros } from "../model/units.js";
import * as store from "../state/store.js";

function Readout(props: { label: string; value: string; title?: string }) {
  const [figure, unit] = /^[\d.]+ \S+$/.test(props.value) ? props.value.split(" ") : [props.value, ""];
  return (
    <div class="readout" title={props.title}>
      <dt>{props.label}</dt>
      <dd>
        {figure}
        {unit !== "" && <small> {unit}</small>}
      </dd>
    </div>
  );
}

function millis(ms: number | null | undefined): string {
  return ms === null || ms === undefined ? "–" : formatMicros(ms * 1000);
}

/** The strip. */
export function Readouts() {
  const detail = store.detail.value;
  const webrtc = detail?.webrtc;
  const latency = detail?.session_latency;
  return (
    <section class={detail === null ? "readouts is-empty" : "readouts"} aria-label="Figures of the session">
      <dl>
        <Readout label="Session" value={detail === null ? "–" : detail.id.slice(0, 8)} title={detail?.id ?? ""} />
        <Readout label="State" value={detail?.state ?? "–"} />
        <Readout label="Age" value={detail === null ? "–" : formatAge(detail.age_seconds)} />
        <Readout label="Latency p50" value={formatMicros(latency?.p50_us)} title="From a frame's arrival to the departure of what it caused" />
        <Readout label="Latency p99" value={formatMicros(latency?.p99_us)} title="From a frame's arrival to the departure of what it caused" />
        <Readout label="Round trip" value={millis(webrtc?.rtt_ms)} title="Between this client and the gateway, by RTCP" />
        <Readout label="Jitter" value={millis(webrtc?.jitter_ms)} />
        <Readout label="Jitter buffer" value={millis(webrtc?.jitter_buffer_ms)} />
        <Readout label="Lost packets" value={webrtc?.packets_lost === null || webrtc?.packets_lost === undefined ? "–" : formatCount(webrtc.packets_lost)} title="From this client to the gateway" />
        <Readout
          label="Concealed"
          value={webrtc?.concealed_samples === null || webrtc?.concealed_samples === undefined ? "–" : millis(webrtc.concealed_samples / 48)}
          title="Sound that the gateway made up for what was lost"
        />
      </dl>
    </section>
  );
}
