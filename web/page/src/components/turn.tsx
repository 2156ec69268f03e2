/** How long a person waited for the answer, and for what: the newest turn, and the middle of all. */

import { PAUSE, type TurnPart, middle } from "../model/turns.js";
import { formatMicros } from "../model/units.js";
import * as store from "../state/store.js";
import { Panel } from "./controls.js";

const COLOURS = 5;

function spoken(ms: number): string {
  return formatMicros(ms * 1000);
}

/** What a part is, for who points at it. */
function meaning(name: string): string {
  return name === PAUSE ? "From the last sound until the gateway knows that the utterance has ended: its hangover, and the way there" : `What ${name} had of it`;
}

function Parts(props: { parts: readonly TurnPart[]; usual: readonly TurnPart[] }) {
  return (
    <ol class="turn-parts">
      {props.parts.map((part, index) => (
        <li key={`${index}/${part.name}`} title={meaning(part.name)}>
          <i class={`turn-${index % COLOURS}`} aria-hidden="true" />
          <span>{part.name}</span>
          <b class="mono">{spoken(part.ms)}</b>
          <small class="mono muted">p50 {spoken(props.usual.find((one) => one.name === part.name)?.ms ?? part.ms)}</small>
        </li>
      ))}
    </ol>
  );
}

/** The turn's panel; nothing before the first turn. */
export function TurnLatency() {
  const turns = store.turns.value;
  const newest = turns[turns.length - 1];
  const usual = middle(turns);
  if (newest === undefined || usual === null) return null;
  return (
    <Panel id="turn" title="Turn latency" class="turn-panel">
      <p class="hint">From the end of speech to the first audible answer, as this browser hears them.</p>
      <p class="turn-whole">
        <b class="mono">{spoken(newest.ms)}</b>{" "}
        <span class="muted">
          p50 of {turns.length}: <span class="mono">{spoken(usual.ms)}</span>
        </span>
      </p>
      <div class="turn-bar" aria-hidden="true">
        {newest.parts.map((part, index) => (
          <i key={`${index}/${part.name}`} class={`turn-${index % COLOURS}`} style={{ width: `${(part.ms / Math.max(1, newest.ms)) * 100}%` }} />
        ))}
      </div>
      <Parts parts={newest.parts} usual={usual.parts} />
    </Panel>
  );
}
