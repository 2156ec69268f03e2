/** The head of the page: whose page this is, whether the gateway answers, the token. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import * as store from "../state/store.js";

function Wordmark() {
  return (
    <h1 class="wordmark">
      <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
        <path d="M2 20c4.7 0 4.7-5 9.3-5s4.7 5 9.4 5 4.6-5 9.3-5" class="wave" />
        <path d="M9 5v22M23 5v22" class="posts" />
      </svg>
      Tidegate
    </h1>
  );
}

function Gateway() {
  const reachable = store.reachable.value;
  const sessions = store.sessions.value;
  const draining = store.isDraining.value;
  const state = reachable === null ? "wait" : !reachable ? "bad" : draining ? "wait" : "good";
  const answers = draining ? "Gateway is shutting down" : "Gateway answers";
  const text = reachable === null ? "Looking for the gateway" : reachable ? answers : "Gateway does not answer";
  return (
    <p class="gateway">
      <span class={`lamp ${state}`} aria-hidden="true" />
      <span role="status">{text}</span>
      {sessions !== null && reachable && (
        <span class="muted">
          {sessions.active} of {sessions.limit} sessions
        </span>
      )}
    </p>
  );
}

function Token() {
  const draft = useSignal(store.token.value);
  const field = useRef<HTMLInputElement>(null);
  const open = store.problem.value?.mend === "token";
  useEffect(() => {
    if (open) field.current?.focus();
  }, [open]);
  return (
    <details class="token" open={open}>
      <summary>{store.token.value === "" ? "Token" : "Token set"}</summary>
      <form
        class="popover"
        onSubmit={(event) => {
          event.preventDefault();
          store.setToken(draft.value);
          event.currentTarget.closest("details")?.removeAttribute("open");
        }}
      >
        <div class="field">
          <label for="token">Bearer token</label>
          <input
            id="token"
            ref={field}
            type="password"
            autocomplete="off"
            value={draft}
            aria-describedby="token-hint"
            onInput={(event) => {
              draft.value = event.currentTarget.value;
            }}
          />
          <small class="hint" id="token-hint">
            Kept in this tab until it closes. Leave it empty for a gateway without one.
          </small>
        </div>
        <button type="submit" class="primary">
          Use token
        </button>
      </form>
    </details>
  );
}

/** The head of the page. */
export function Header() {
  return (
    <header class="masthead">
      <Wordmark />
      <Gateway />
      <Token />
    </header>
  );
}
