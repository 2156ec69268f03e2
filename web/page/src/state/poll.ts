/**
 * Looking at the gateway: pipelines and sessions, the chosen pipeline, the watched session.
 *
 * Keeps true: one request of a kind at a time; none while the tab is hidden; a gateway that does not answer is asked less
 * often, up to every eight seconds.
 */

import { effect } from "@preact/signals";
import { TidegateError } from "@tidegate/client";
import { poolEvents } from "../model/endpoints.js";
import { ofProxy } from "../model/problems.js";
import * as store from "./store.js";

const LOOK_MS = 1_000;
const LIST_MS = 2_000;
const BACKOFF_MAX_MS = 8_000;

/** Runs `task` again and again, `interval` after it was done; returns what makes it run now. */
function every(interval: number, task: () => Promise<void>): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running = false;
  let again = false;
  let failures = 0;
  const run = async (): Promise<void> => {
    clearTimeout(timer);
    if (running) {
      again = true;
      return;
    }
    if (document.hidden) return;
    running = true;
    try {
      await task();
      failures = 0;
    } catch (error) {
      failures += 1;
      failed(error);
    }
    running = false;
    timer = setTimeout(() => void run(), again ? 0 : Math.min(BACKOFF_MAX_MS, interval * 2 ** Math.min(failures, 4)));
    again = false;
  };
  document.addEventListener("visibilitychange", () => void run());
  void run();
  return () => void run();
}

function failed(error: unknown): void {
  if (!(error instanceof TidegateError)) {
    console.error(error); // A fault of the page's own: said where those look who can mend it, and the looking goes on.
    return;
  }
  store.reachable.value = error.status !== undefined && !ofProxy(error);
  if (store.reachable.value) store.answeredAt.value = Date.now();
  // A call's own problem says more than a look that failed after it.
  if (store.problem.value === null || error.code === "unauthenticated") store.showProblem(error, "look");
}

function answered(): void {
  const wasDown = store.reachable.value === false;
  store.reachable.value = true;
  store.answeredAt.value = Date.now();
  if (wasDown) store.problem.value = null;
}

/** A token need not grant sessions: then there is nothing to show of them, and all else goes on. */
function unlessGranted(error: unknown): null {
  if (error instanceof TidegateError && error.code === "permission_denied") return null;
  throw error;
}

async function lookAtLists(): Promise<void> {
  const client = store.client.value;
  const [pipelines, sessions] = await Promise.all([client.pipelines(), client.sessions().catch(unlessGranted)]);
  answered();
  store.pipelines.value = pipelines;
  store.sessions.value = sessions;
  const left = store.leftId.value;
  if (left !== null && sessions !== null && !sessions.sessions.some((row) => row.id === left)) store.sessionEnded(left);
  const name = store.pipelineName.value;
  if (name === null || !pipelines.some((row) => row.name === name)) {
    store.pipelineName.value = (pipelines.find((row) => row.name === "echo") ?? pipelines[0])?.name ?? null;
  }
}

function hasEnded(id: string): boolean {
  return store.detail.value?.id === id && store.detail.value.state === "ended";
}

async function lookAtSession(): Promise<void> {
  const id = store.watchedId.value;
  if (id === null || hasEnded(id)) return;
  // Others may have ended it since, and then to ask would be an error that nobody made.
  if (id === store.leftId.value && !store.sessions.value?.sessions.some((row) => row.id === id && row.state === "running")) return;
  try {
    const detail = await store.client.value.session(id).catch(unlessGranted);
    if (detail === null || store.watchedId.value !== id || hasEnded(id)) return;
    answered();
    for (const line of poolEvents(store.detail.value, detail)) store.note(line);
    store.detail.value = detail;
    store.history.take(Date.now() / 1000, detail);
    store.looks.value += 1;
  } catch (error) {
    if (error instanceof TidegateError && error.code === "unknown_session") {
      store.sessionEnded(id);
      return;
    }
    throw error;
  }
}

async function lookAtPipeline(): Promise<void> {
  const name = store.pipelineName.value;
  if (name === null) return;
  const description = await store.client.value.describe(name);
  if (store.pipelineName.value === name) store.description.value = description;
}

/** Starts looking. */
export function startPolling(): void {
  const lists = every(LIST_MS, lookAtLists);
  const session = every(LOOK_MS, lookAtSession);
  const pipeline = every(5 * LIST_MS, lookAtPipeline);
  effect(() => {
    store.token.value;
    lists();
  });
  effect(() => {
    store.watchedId.value;
    session();
  });
  effect(() => {
    store.pipelineName.value;
    store.token.value;
    store.description.value = null;
    pipeline();
  });
  effect(store.rememberInAddress);
}
