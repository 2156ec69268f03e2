/** What went wrong, said to a person: what it is, how to mend it, and what to press. */

import type { TidegateError } from "@tidegate/client";

/** What the page offers beside the text. */
export type Mend = "retry" | "token" | "listen" | null;

/** A problem as the page shows it. */
export interface Problem {
  title: string;
  text: string;
  mend: Mend;
  /** What the button for `retry` says; "Try again" unless given. */
  again?: string;
  /** Seconds until a retry makes sense. */
  waitSeconds?: number;
}

/** Whether it is a remote hop's worker that the gateway could not use, and not the gateway that this page could not. */
function ofWorker(error: TidegateError): boolean {
  return error.fault === "worker" || error.hop !== undefined;
}

/** Whether a proxy answered that has no gateway behind it: what the gateway says has a code of its own. */
export function ofProxy(error: TidegateError): boolean {
  return (error.status ?? 0) >= 500 && error.serverCode === undefined && error.fault === undefined;
}

const KNOWN: Partial<Record<TidegateError["code"], (error: TidegateError, token: boolean) => Problem>> = {
  insecure_context: () => ({
    title: "The browser hides the microphone from this page",
    text: "Browsers offer microphones to https pages and to localhost only. Open the gateway over https, or bring it to localhost: ssh -L 8080:127.0.0.1:8080 HOST, then http://127.0.0.1:8080.",
    mend: "listen",
  }),
  microphone_denied: () => ({
    title: "The microphone is blocked",
    text: "This browser or the system refuses it to this site. Allow it in the site settings beside the address, then try again.",
    mend: "retry",
  }),
  microphone_missing: () => ({
    title: "No microphone was found",
    text: "Plug one in or switch it on in the system's sound settings, then try again. Without one you can still listen.",
    mend: "listen",
  }),
  microphone_busy: (error) => ({
    title: "The microphone does not open",
    text: `Another program may hold it. Close that program, then try again. (${error.message})`,
    mend: "retry",
  }),
  unreachable: (error) => ({
    title: "The gateway does not answer",
    text: `${sentence(error.message)} It may be stopped or restarting, or a proxy is in the way. This page keeps trying.`,
    mend: "retry",
  }),
  circuit_open: (error) => ({ title: "A worker of this pipeline is shut off for now", text: sentence(error.message), mend: "retry" }),
  all_endpoints_failed: (error) => ({ title: "No worker of this pipeline answers", text: sentence(error.message), mend: "retry" }),
  remote_execution: (error) => ({ title: "A worker of this pipeline failed", text: sentence(error.message), mend: error.retryable ? "retry" : null }),
  timeout: (error) => ({ title: ofWorker(error) ? "A worker of this pipeline took too long" : "The gateway took too long", text: sentence(error.message), mend: "retry" }),
  ice_failed: () => ({
    title: "No path for media was found",
    text: "Signalling works and UDP does not get through. Check that the gateway's media port is open in firewalls, that the address it advertises (--media) is reachable from here, or configure a TURN server.",
    mend: "retry",
  }),
  network: (error) =>
    ofWorker(error)
      ? {
          title: error.status === undefined ? "The connection to a worker was lost" : "A worker of this pipeline does not answer",
          text: `${error.status === undefined ? "" : "The call was not opened. "}${sentence(error.message)}`,
          mend: "retry",
        }
      : { title: "The connection was lost", text: sentence(error.message), mend: "retry" },
  unauthenticated: (_, token) => ({
    title: token ? "The gateway does not take this token" : "The gateway asks for a token",
    text: `${token ? "It was started with another one. " : ""}Give the bearer token that the gateway was started with. It stays in this tab.`,
    mend: "token",
  }),
  permission_denied: (error) => ({ title: "This token does not allow that", text: sentence(error.message), mend: "token" }),
  overloaded: (error) => ({
    title: "The gateway is full",
    text: `It refuses what it cannot serve in time. ${sentence(error.message)}`,
    mend: "retry",
    ...(error.retryAfterSeconds === undefined ? {} : { waitSeconds: error.retryAfterSeconds }),
  }),
  rate_limited: (error) => ({
    title: "Too many requests",
    text: sentence(error.message),
    mend: "retry",
    ...(error.retryAfterSeconds === undefined ? {} : { waitSeconds: error.retryAfterSeconds }),
  }),
  draining: () => ({
    title: "The gateway is shutting down",
    text: "It finishes running sessions and takes no new ones. Try again when it is back.",
    mend: "retry",
  }),
  unknown_pipeline: () => ({
    title: "This pipeline is gone",
    text: "The gateway no longer serves it. Choose another one.",
    mend: null,
  }),
  incompatible: (error) => ({ title: "This client does not fit the pipeline", text: sentence(error.message), mend: null }),
};

/** The problem behind an error. `token`: the request had one. */
export function explain(error: TidegateError, token = false): Problem {
  if (ofProxy(error)) {
    return { title: "The gateway does not answer", text: `A proxy before it answered in its place: ${error.status}. It may be stopped or restarting. This page keeps trying.`, mend: "retry" };
  }
  const problem = KNOWN[error.code]?.(error, token) ?? {
    title: "The gateway reports an error",
    text: sentence(error.message),
    mend: error.retryable ? ("retry" as const) : null,
  };
  const where = [error.hop === undefined ? "" : `hop ${error.hop}`, error.endpoint === undefined ? "" : `endpoint ${error.endpoint}`]
    .filter((text) => text !== "")
    .join(", ");
  return where === "" ? problem : { ...problem, text: `${problem.text} (${where})` };
}

/** A call that goes on for now while the gateway shuts down. `until`: when it is cut, in milliseconds since the epoch. */
export function draining(until: number): Problem {
  const at = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }).format(until);
  return { title: "The gateway is shutting down", text: `This call may go on until ${at}; then it is cut. No new one is taken until the gateway is back.`, mend: null };
}

/** Why a call ended that nobody here stopped and no error explains; `null` where there is nothing to say. */
export function ending(reason: string): Problem | null {
  const again = { mend: "retry" as const, again: "Talk again" };
  if (reason === "deleted") return { title: "The call was ended at the gateway", text: "An operator ended this session, on this page or by the API.", ...again };
  if (reason === "finished") return { title: "The pipeline has finished", text: "All its outputs have ended, so the call is over.", ...again };
  return null;
}

/** The server's lower-case text as a sentence. */
function sentence(text: string): string {
  if (text === "") return "";
  const capital = (text[0] as string).toUpperCase() + text.slice(1);
  return /[.!?)]$/.test(capital) ? capital : `${capital}.`;
}
