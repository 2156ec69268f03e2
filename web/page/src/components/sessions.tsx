/** What runs on the gateway. */

import { useSignal } from "@preact/signals";
import { TidegateError } from "@tidegate/client";
import { formatAge } from "../model/units.js";
import * as store from "../state/store.js";
import { Panel } from "./controls.js";

/** How many rows are drawn; a gateway may run thousands. */
const ROWS = 100;

async function endSession(id: string): Promise<void> {
  try {
    await store.client.value.endSession(id);
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error;
    if (error.code !== "unknown_session") store.showProblem(error);
  }
}

/** The list. Ending a session takes a second press. */
export function Sessions() {
  const list = store.sessions.value;
  const asked = useSignal<string | null>(null);
  const rows = list?.sessions.slice(0, ROWS) ?? [];
  return (
    <Panel
      id="sessions"
      class={rows.length === 0 ? "sessions-panel is-empty" : "sessions-panel"}
      title="Sessions"
      controls={list !== null && <p class="muted">{list.active} active, room for {Math.max(0, list.limit - list.active)} more</p>}
    >
      {rows.length === 0 ? (
        <p class="empty">{list === null ? "What runs on the gateway stands here." : list.active > 0 ? "One that opens or ends just now is not listed." : `None runs. Press ${store.verb.value} to open one.`}</p>
      ) : (
        <div class="table-scroll" tabIndex={0} role="group" aria-label="Sessions of the gateway">
          <table>
            <caption class="hidden">Sessions of the gateway</caption>
            <thead>
              <tr>
                <th scope="col">Session</th>
                <th scope="col">Pipeline</th>
                <th scope="col" class="wide">Transport</th>
                <th scope="col">State</th>
                <th scope="col" class="number wide">Age</th>
                <th scope="col">
                  <span class="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => {
                const watched = row.id === store.watchedId.value;
                return (
                  <tr key={row.id} class={watched ? "watched" : ""}>
                    <th scope="row" class="mono" title={row.id}>
                      {row.id.slice(0, 8)}
                      {row.id === store.callId.value && <span class="tag">yours</span>}
                    </th>
                    <td>
                      {row.pipeline}
                      {row.key !== undefined && <span class="tag">{row.key}</span>}
                    </td>
                    <td class="wide">{row.transports.join(", ")}</td>
                    <td>{row.state}</td>
                    <td class="number wide">{formatAge(row.age_seconds)}</td>
                    <td class="row-buttons">
                      <button type="button" class="quiet" aria-pressed={watched} aria-label={`Watch session ${row.id}`} onClick={() => store.watch(watched ? null : row.id)}>
                        Watch
                      </button>
                      <button
                        type="button"
                        class={asked.value === row.id ? "danger" : "quiet"}
                        aria-label={asked.value === row.id ? `Really end session ${row.id}` : `End session ${row.id}`}
                        onBlur={() => {
                          asked.value = null;
                        }}
                        onClick={() => {
                          if (asked.value === row.id) void endSession(row.id);
                          asked.value = asked.value === row.id ? null : row.id;
                        }}
                      >
                        {asked.value === row.id ? "Really?" : "End"}
                      </button>
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
          {list !== null && list.sessions.length > ROWS && <p class="muted">and {list.sessions.length - ROWS} more</p>}
        </div>
      )}
    </Panel>
  );
}
