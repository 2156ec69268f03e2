/**
 * The shapes of the HTTP API: what `GET /v1/pipelines` and `GET /v1/sessions` answer.
 *
 * Figures are over the last ten seconds; latencies are in microseconds and may be fractions of one.
 */

import type { Kind, Port } from "./messages.js";

/** A row of `GET /v1/pipelines`. */
export interface PipelineSummary {
  name: string;
  description: string;
  digest: string;
  /** Whether clients may share a session of it. */
  shared: boolean;
  inputs: { name: string; kind: Kind | null }[];
  outputs: { name: string; kind: Kind | null; for?: string }[];
}

/** Where a hop runs: in the session's own call, on a thread, or in another process. */
export type Placement = "in_place" | "offload" | "remote";

/** A node of the pipeline. */
export interface Hop {
  id: string;
  type: string;
  placement: Placement;
  /** Inserted by the compiler, to convert between formats. */
  inserted: boolean;
  inputs?: Port[];
  outputs?: Port[];
}

/** One end of an edge; `port` is empty where `node` is an input or output of the pipeline. */
export interface EdgeEnd {
  node: string;
  port: string;
}

/** What a queue holds at most, and what happens then. */
export interface Queue {
  frames?: number | null;
  bytes?: number | null;
  age_ms?: number | null;
  when_full?: "block" | "drop_oldest" | "drop_newest";
}

/** What joins an output port to an input port. */
export interface Edge {
  from: EdgeEnd;
  to: EdgeEnd;
  queue?: Queue | null;
}

/** A parameter of a pipeline. */
export interface Parameter {
  type: string;
  /** `null`: the client must give one. */
  default?: unknown;
  description?: string;
  /** The values that it may have, if they are listed. */
  enum?: unknown[];
  min?: number;
  max?: number;
}

/** `GET /v1/pipelines/{name}`. */
export interface PipelineDescription {
  name: string;
  description: string;
  digest: string;
  shared?: boolean;
  parameters: Record<string, Parameter>;
  inputs: Port[];
  outputs: Port[];
  hops: Hop[];
  edges: Edge[];
  /** What ends the listener's audio, and the hops that forget what they hold. */
  interrupt: { on: string | null; flush: string[] } | null;
}

/** Percentiles over the last ten seconds, in microseconds. */
export interface Latency {
  count: number;
  p50_us: number;
  p90_us: number;
  p99_us: number;
  max_us: number;
}

/** What became of the time at a hop. */
export interface HopLatency {
  /** Waited before it. */
  queue: Latency | null;
  /** The hop's own duration. */
  service: Latency | null;
  /** The remainder: the way there and back. */
  wire: Latency | null;
  /** To an utterance's first output, be it a partial result, from the input that this one answers. */
  first_output: Latency | null;
}

/** One endpoint of a remote hop's pool, as the gateway sees it now. */
export interface EndpointState {
  /** As configured. */
  endpoint: string;
  /** By its health checks. */
  up: boolean;
  /** A newer gateway may know more states. */
  breaker: "closed" | "open" | "half_open" | (string & {});
  /** Streams and calls that it serves for the gateway. */
  in_flight: number;
  /** A moving average; `null` before the first output. */
  latency_ms: number | null;
  weight: number;
  /** It serves this session now. */
  current: boolean;
}

/** A hop of a running session, with its figures. */
export interface HopFigures extends Hop {
  endpoint?: string;
  /** Of a remote hop: its pool. */
  endpoints?: EndpointState[];
  /** How often this session's hop moved to another endpoint. */
  failovers?: number;
  /** Frames that were sent again for that. */
  replayed_frames?: number;
  frames_in: number;
  frames_out: number;
  bytes_in: number;
  bytes_out: number;
  /** Frames that did not go on, by reason. */
  dropped: Record<string, number>;
  queue_frames: number;
  in_flight: number;
  latency: HopLatency;
}

/** A row of `GET /v1/sessions`. */
export interface SessionSummary {
  id: string;
  pipeline: string;
  key?: string;
  transports: string[];
  /** `busy`: it computes and did not answer in time, so nothing else is known of it. */
  state: "opening" | "running" | "busy" | "vacant" | "draining" | "ended";
  age_seconds: number;
}

/** `GET /v1/sessions`. */
export interface SessionList {
  active: number;
  limit: number;
  /** Sessions beyond the thousand oldest that are listed. */
  more?: number;
  sessions: SessionSummary[];
}

/** An input or output of a running session, with its figures. */
export interface PortFigures extends Port {
  /** An output that lets its frames go as they are to be played, rather than as they come. */
  paced?: boolean;
  frames?: number;
  /** Frames that did not go on, by reason. */
  dropped?: Record<string, number>;
  queue_frames?: number;
  /** How long those waited that had to; frames that passed at once are not among them. */
  queue?: Latency | null;
}

/** How the gateway sees a WebRTC client. */
export interface WebRtcFigures {
  rtt_ms: number | null;
  jitter_ms: number | null;
  packets_lost: number | null;
  jitter_buffer_ms: number | null;
  concealed_samples: number | null;
}

/** `GET /v1/sessions/{id}`. */
export interface SessionDetail extends SessionSummary {
  hops: HopFigures[];
  edges: Edge[];
  inputs: PortFigures[];
  outputs: PortFigures[];
  webrtc: WebRtcFigures | null;
  session_latency: Latency | null;
}
