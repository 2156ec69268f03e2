/**
 * The messages of the native stream, `tidegate.v1.json`: the same on the data channel `events` and on the WebSocket.
 *
 * Each message is an object with exactly one key, which names it. Within v1 members are only added, so a reader takes
 * what it knows and leaves the rest. Times are integer microseconds, 64-bit integers travel as numbers, bytes as base64.
 */

import type { ErrorCode } from "./errors.js";

/** What a port carries. */
export type Kind = "audio" | "video" | "text" | "binary" | "tensor" | "json";

/** The format of an audio frame: `codec` is `pcm_s16`, `pcm_f32`, `opus`, …; `sample_rate` in Hz. */
export interface AudioFormat {
  codec: string;
  sample_rate: number;
  channels: number;
}

/** What every frame has, whatever it carries. */
export interface FrameHeader {
  /** The port that the frame enters or left by. */
  port: string;
  /** Counts per port and direction, from 1 by 1. */
  seq: number;
  /** Media time in microseconds. */
  media_time: number;
  /** The run of frames that this one belongs to. */
  utterance?: number;
  /** A higher revision of an utterance supersedes a lower one. */
  revision?: number;
  /** Closes the utterance. Left out where it does not. */
  final?: boolean;
  /** The newest input that this frame came from. */
  caused_by?: number;
  /** Microseconds, when sent, until nobody wants it. */
  deadline?: number;
  /** The worker's own time for it, in microseconds. */
  service?: number;
  /** Sent again after a worker was lost. */
  replayed?: boolean;
  /** The input that `caused_by` counts on, where there are several. */
  caused_port?: string;
}

/** What a frame carries: one of six kinds. */
export type Payload =
  | { audio: { format: AudioFormat; data: string } }
  | { video: { format?: { codec: string }; key?: boolean; data: string } }
  | { text: { text: string } }
  | { binary: { data: string } }
  | { tensor: { dtype: string; shape: number[]; data: string } }
  | { json: { value: unknown } };

/** One unit that moves. */
export type Frame = FrameHeader & Payload;

/** A port as the server describes it. */
export interface Port {
  name: string;
  /** `null` where nothing is joined. */
  kind: Kind | null;
  /** The format in words, where a description names it. */
  format?: unknown;
  /** The format where `opened` names it. */
  audio?: AudioFormat;
  video?: { codec: string };
  /** Whether frames enter or leave by it. */
  direction?: "input" | "output";
  /** Of an output: the input whose client it belongs to, in a pipeline that clients share. */
  for?: string;
}

/** The format of a port, where the client may choose it. */
export interface PortFormat {
  port: string;
  audio?: AudioFormat;
}

/** Opens a stream on the WebSocket. The data channel needs none: the offer opened the session. */
export interface Open {
  pipeline: string;
  parameters?: Record<string, unknown>;
  /** `live` cannot be told to wait; `waits` can. */
  mode: "live" | "waits";
  /** What this client understands: `credits`, `stats`, `acks`. */
  features: string[];
  /** Joins, or creates, the session with this key. */
  session?: string;
  /** The ports of a shared session that this client takes; none: the first free seat. */
  as?: string[];
  /** Formats of the audio that the client will send; by default 16-bit PCM, 16 kHz, mono. */
  inputs?: PortFormat[];
  /** Formats in which the client wants audio; by default what it sends. */
  outputs?: PortFormat[];
  /** The input and the output whose frames raw binary messages carry. */
  raw?: { input?: string; output?: string };
  /** The session's time limit from now, in microseconds. */
  deadline?: number;
}

/** The server's first message. */
export interface Opened {
  session_id: string;
  ports: Port[];
  features: string[];
  /** The largest message in bytes; the longest life and silence of a session in microseconds, none if left out. */
  limits: { message_bytes?: number; session?: number; idle?: number };
  pipeline?: string;
  /** Version of the gateway. */
  gateway?: string;
  /** The same input from a replay point on gives the same outputs. */
  deterministic?: boolean;
}

/** What went wrong, whose fault it is, and where. */
export interface ErrorMessage {
  code: ErrorCode | string;
  message: string;
  fault?: string;
  retryable?: boolean;
  hop?: string;
  endpoint?: string;
  /** Of `timeout`: `connect`, `first_output`, `gap` or `call`. */
  phase?: string;
  /** When a retry may help, in microseconds from now. */
  retry_after?: number;
}

/** What a client may send. */
export type ClientMessage =
  | { open: Open }
  | { frame: Frame }
  | { interrupt: { port?: string } }
  | { end: { port: string } }
  | { credit: { port: string; frames: number; bytes: number } }
  | { ack: { port: string; seq: number } };

/** What a server may send. */
export type ServerMessage =
  | { opened: Opened }
  | { frame: Frame }
  | { interrupted: { port?: string; reason: string } }
  | { error: ErrorMessage }
  | { stats: Record<string, unknown> }
  | { replay_from: { port: string; seq: number } }
  /** `deadline`: microseconds until the session is ended. */
  | { draining: { deadline: number } }
  | { ended: { reason: string } }
  /** No more frames come from an output. */
  | { end: { port: string } }
  | { credit: { port: string; frames: number; bytes: number } }
  | { ack: { port: string; seq: number } };

const SERVER_KEYS: readonly string[] = [
  "opened", "frame", "interrupted", "error", "stats", "replay_from", "draining", "ended", "end", "credit", "ack",
];

/**
 * Reads one server message.
 *
 * @returns the message, or `null` for text that is not one known message: a newer server may send more kinds.
 */
export function parseServerMessage(text: string): ServerMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const key = Object.keys(value).find((name) => SERVER_KEYS.includes(name));
  if (key === undefined) return null;
  const body: unknown = (value as Record<string, unknown>)[key];
  if (typeof body !== "object" || body === null) return null;
  return { [key]: body } as ServerMessage;
}

/** The text of a frame that carries text, or `null`. */
export function textOf(frame: Frame): string | null {
  return "text" in frame ? frame.text.text : null;
}
