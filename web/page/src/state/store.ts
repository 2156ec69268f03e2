/** What the page knows. Components read these signals; `poll.ts`, `talk.ts` and a few actions write them. */

import { computed, signal } from "@preact/signals";
import {
  type Caption,
  type PipelineDescription,
  type PipelineSummary,
  type SessionDetail,
  type SessionList,
  TidegateClient,
  type TidegateError,
  type VoiceState,
} from "@tidegate/client";
import { History, type Part } from "../model/history.js";
import { LOG_LINES, type LogLine } from "../model/log.js";
import { type Problem, explain } from "../model/problems.js";
import type { Turn } from "../model/turns.js";
import type { Percentile } from "../model/units.js";

const TOKEN_KEY = "tidegate.token";

/** What the address of the page asks for: a pipeline, and a seat in a shared session. */
const query = new URLSearchParams(location.search);

/** The bearer token. It lives as long as the tab does. */
export const token = signal(sessionStorage.getItem(TOKEN_KEY) ?? "");

/** The gateway that served this page. */
export const client = computed(() => new TidegateClient({ url: new URL(".", document.baseURI), token: token.value }));

/** Whether the last look at the gateway was answered. `null` before the first. */
export const reachable = signal<boolean | null>(null);

/** When the gateway's API last answered, in milliseconds since the epoch. */
export const answeredAt = signal(Date.now());
/** The call is connected as far as the browser knows, and nothing has come from the gateway for a while. */
export const silent = signal(false);

export const pipelines = signal<PipelineSummary[]>([]);
export const pipelineName = signal<string | null>(query.get("pipeline"));
export const description = signal<PipelineDescription | null>(null);
export const sessions = signal<SessionList | null>(null);

/** The session whose figures are shown: the own one, or one picked from the list. */
export const watchedId = signal<string | null>(null);
export const detail = signal<SessionDetail | null>(null);
/** Counts the looks at the watched session; the history is a plain object behind it. */
export const looks = signal(0);
export let history = new History();

export const percentile = signal<Percentile>("p50");
/** The hop whose percentiles the chart shows; `null` for the session's. */
export const chartHop = signal<string | null>(null);
export const chartPart = signal<Part>("service");

/** The voice session's state; `null` when there is none. */
export const callState = signal<VoiceState | null>(null);
export const callId = signal<string | null>(null);
export const muted = signal(false);
/** The session was opened without a microphone. */
export const listensOnly = signal(false);
export const captions = signal<Caption[]>([]);
/** Turns of the call: what the person waited for. */
export const turns = signal<Turn[]>([]);
export const log = signal<LogLine[]>([]);
export const problem = signal<Problem | null>(null);

export const seatKey = signal(query.get("session") ?? "");
export const seatPort = signal(query.get("as") ?? "");
export const parameters = signal<Record<string, string>>({});

/** The chosen pipeline's row. */
export const pipeline = computed(() => pipelines.value.find((row) => row.name === pipelineName.value) ?? null);

/** What the button says that opens a session of the chosen pipeline. */
export const verb = computed(() => {
  const row = pipeline.value;
  if (row === null || row.inputs.some((input) => input.kind === "audio")) return "Talk";
  return row.outputs.some((output) => output.kind === "audio") ? "Listen" : "Open";
});

/** The gateway ends what runs and takes nothing new. */
export const isDraining = computed(() => sessions.value?.sessions.some((row) => row.state === "draining") ?? false);

/** Whether a voice session is there or on its way. */
export const inCall = computed(() => callState.value !== null && callState.value !== "closed");

/** Keeps the token, for this tab only. */
export function setToken(value: string): void {
  token.value = value.trim();
  if (token.value === "") sessionStorage.removeItem(TOKEN_KEY);
  else sessionStorage.setItem(TOKEN_KEY, token.value);
  if (problem.value?.mend === "token") problem.value = null;
}

/** Shows the figures of another session, or of none. */
export function watch(id: string | null): void {
  if (watchedId.value === id) return;
  watchedId.value = id;
  detail.value = null;
  history = new History();
  looks.value += 1;
  chartHop.value = null;
}

/** The own session that this page has left while others may still be in it: it is looked at as long as the list says that it runs. */
export const leftId = signal<string | null>(null);

/** A session is over. Its last figures stay in sight until another one is picked. */
export function sessionEnded(id: string): void {
  if (leftId.value === id) leftId.value = null;
  if (detail.value?.id === id) detail.value = { ...detail.value, state: "ended" };
  else if (watchedId.value === id) watch(null);
}

/** Shows a problem: of a session that was asked for, or of a look at the gateway, which is repeated by itself. */
export function showProblem(error: TidegateError, of: "session" | "look" = "session"): void {
  const shown = explain(error, token.value !== "");
  problem.value = of === "look" && shown.mend === "retry" ? { ...shown, mend: null } : shown;
}

let lines = 0;

/** Adds a line to the log. */
export function note(line: Pick<LogLine, "tone" | "name" | "text">): void {
  lines += 1;
  log.value = [...log.value, { id: lines, time: Date.now(), ...line }].slice(-LOG_LINES);
}

/** Keeps the page's address in step with what is chosen, so that it can be sent to others. */
export function rememberInAddress(): void {
  const next = new URLSearchParams();
  if (pipelineName.value !== null) next.set("pipeline", pipelineName.value);
  if (pipeline.value?.shared && seatKey.value !== "") {
    next.set("session", seatKey.value);
    if (seatPort.value !== "") next.set("as", seatPort.value);
  }
  const text = next.toString();
  window.history.replaceState(null, "", text === "" ? location.pathname : `?${text}`);
}
