/**
 * One error type for everything that can go wrong, with the codes of the server and those of the browser.
 *
 * A server's code that this version does not know reads as `internal`; what the server wrote stays in `serverCode`.
 */

import type { ErrorMessage } from "./messages.js";

const SERVER_CODES = [
  "manifest_invalid", "manifest_fetch_failed", "manifest_cycle", "incompatible", "unknown_pipeline", "unknown_session",
  "unauthenticated", "permission_denied", "overloaded", "rate_limited", "draining", "session_expired", "bad_request",
  "too_large", "unsupported_media", "network", "timeout", "remote_execution", "invalid_remote_data", "circuit_open",
  "all_endpoints_failed", "node_failed", "cancelled", "internal",
] as const;

/** What the server says, the same on every transport. */
export type ErrorCode = (typeof SERVER_CODES)[number];

/** What only a browser can run into. */
export type BrowserCode =
  /** The page is not in a secure context, so the browser hides microphones from it. */
  | "insecure_context"
  /** The user or the browser's settings refused the microphone. */
  | "microphone_denied"
  /** There is no microphone, or none that fits the constraints. */
  | "microphone_missing"
  /** The microphone is there and cannot be opened: another program holds it, or the system failed. */
  | "microphone_busy"
  /** No answer that this page may read: the server is down, the address is wrong, or its `origins` do not name this page's; the message says which. */
  | "unreachable"
  /** Signalling worked and no media path was found. */
  | "ice_failed";

/** Details of a {@link TidegateError}. */
export interface ErrorDetails {
  status?: number;
  retryable?: boolean;
  retryAfterSeconds?: number;
  fault?: string;
  hop?: string;
  endpoint?: string;
  phase?: string;
  serverCode?: string;
  cause?: unknown;
}

/** What went wrong: a code to act on, and a message for a person. */
export class TidegateError extends Error {
  override readonly name = "TidegateError";
  readonly code: ErrorCode | BrowserCode;
  /** The HTTP status, where there was one. */
  readonly status: number | undefined;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** What `Retry-After` said. */
  readonly retryAfterSeconds: number | undefined;
  /** Whose fault it is, as the server says. */
  readonly fault: string | undefined;
  /** The hop that it concerns. */
  readonly hop: string | undefined;
  /** The endpoint that it concerns. */
  readonly endpoint: string | undefined;
  /** Of a `timeout`: `connect`, `first_output`, `gap` or `call`. */
  readonly phase: string | undefined;
  /** The code as the server wrote it. */
  readonly serverCode: string | undefined;

  constructor(code: ErrorCode | BrowserCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.status = details.status;
    this.retryable = details.retryable ?? false;
    this.retryAfterSeconds = details.retryAfterSeconds;
    this.fault = details.fault;
    this.hop = details.hop;
    this.endpoint = details.endpoint;
    this.phase = details.phase;
    this.serverCode = details.serverCode;
  }
}

/** The code of this name, `internal` if this version does not know it. */
export function errorCode(name: unknown): ErrorCode {
  return SERVER_CODES.find((code) => code === name) ?? "internal";
}

/** The code for a response without a problem body (a proxy's, say), by its status. */
function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return "unauthenticated";
  if (status === 403) return "permission_denied";
  if (status === 408 || status === 504) return "timeout";
  if (status === 413) return "too_large";
  if (status === 415) return "unsupported_media";
  if (status === 429) return "rate_limited";
  if (status === 503) return "overloaded";
  return status >= 400 && status < 500 ? "bad_request" : "internal";
}

/** Reads a refused response: RFC 9457 problem details where it has them, its status where not. */
export async function errorOfResponse(response: Response): Promise<TidegateError> {
  const text = await response.text().catch(() => "");
  let problem: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) problem = value as Record<string, unknown>;
  } catch {
    // Not JSON: the status says what there is to say.
  }
  const string = (key: string): string | undefined =>
    typeof problem[key] === "string" ? (problem[key] as string) : undefined;
  const code = string("code") === undefined ? codeOfStatus(response.status) : errorCode(problem["code"]);
  const message = string("detail") ?? string("title") ?? `the server answered ${response.status}`;
  const retryAfter = retryAfterSeconds(response.headers.get("Retry-After"), Date.now());
  return new TidegateError(code, message, {
    status: response.status,
    retryable: problem["retryable"] === true || retryAfter !== undefined,
    ...defined({ retryAfterSeconds: retryAfter, fault: string("fault"), hop: string("hop"), endpoint: string("endpoint"), phase: string("phase"), serverCode: string("code") }),
  });
}

/** `Retry-After` in seconds from `nowMs`: RFC 9110 §10.2.3, a number of seconds or a date. */
export function retryAfterSeconds(header: string | null, nowMs: number): number | undefined {
  if (header === null || header.trim() === "") return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header.trim());
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - nowMs) / 1000));
}

/** The error of an `error` message. */
export function errorOfMessage(body: ErrorMessage): TidegateError {
  const { code, message, fault, retryable, hop, endpoint, phase, retry_after } = body;
  const retryAfter = retry_after === undefined ? undefined : Math.ceil(retry_after / 1e6);
  return new TidegateError(errorCode(code), message, defined({ fault, retryable, hop, endpoint, phase, retryAfterSeconds: retryAfter, serverCode: code }));
}

/** The error behind a refused `getUserMedia`: Media Capture and Streams §10.2. */
export function errorOfMicrophone(cause: unknown): TidegateError {
  const name = cause instanceof Error ? cause.name : "";
  const text = cause instanceof Error ? cause.message : String(cause);
  if (name === "NotAllowedError" || name === "SecurityError") {
    return new TidegateError("microphone_denied", `the browser refused the microphone: ${text}`, { cause });
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return new TidegateError("microphone_missing", `no microphone was found: ${text}`, { cause });
  }
  return new TidegateError("microphone_busy", `the microphone could not be opened: ${text}`, { cause, retryable: true });
}

/** `object` without the members that are undefined. */
export function defined<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
