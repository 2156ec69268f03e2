/** The client: what a gateway has, what runs on it, and sessions with it. */

import type { PipelineDescription, PipelineSummary, SessionDetail, SessionList } from "./api.js";
import { Http } from "./http.js";
import type { Frame, Payload } from "./messages.js";
import { Stream, type StreamOptions } from "./stream.js";
import { type TalkOptions, Voice } from "./voice.js";

/** Where the gateway is. */
export interface ClientOptions {
  /** The gateway's address, `https://gateway.example`; by default, that of the page. */
  url?: string | URL;
  /** The bearer token, if the gateway asks for one. */
  token?: string;
}

/** How long `execute` may take: it answers when everything is through. */
const EXECUTE_TIMEOUT_MS = 120_000;

/** A frame to `execute`: the gateway numbers those without a `seq` by their place. */
export type InputFrame = Payload & { seq?: number; media_time?: number };

/** A gateway. Every method throws a `TidegateError`. */
export class TidegateClient {
  readonly #http: Http;

  constructor(options: ClientOptions = {}) {
    const base = options.url ?? globalThis.location?.origin;
    if (base === undefined) throw new TypeError("url is needed outside of a page");
    this.#http = new Http(base, options.token);
  }

  /** The pipelines that the gateway serves. */
  async pipelines(): Promise<PipelineSummary[]> {
    return (await this.#http.json<{ pipelines: PipelineSummary[] }>("v1/pipelines")).pipelines;
  }

  /** One pipeline with its ports, hops, edges and parameters. */
  async describe(name: string): Promise<PipelineDescription> {
    return this.#http.json(`v1/pipelines/${encodeURIComponent(name)}`);
  }

  /** What runs now. */
  async sessions(): Promise<SessionList> {
    return this.#http.json("v1/sessions");
  }

  /** One session with the figures of its hops. */
  async session(id: string): Promise<SessionDetail> {
    return this.#http.json(`v1/sessions/${encodeURIComponent(id)}`);
  }

  /** Ends a session, whoever opened it. */
  async endSession(id: string): Promise<void> {
    await this.#http.request(this.#http.url(`v1/sessions/${encodeURIComponent(id)}`), { method: "DELETE" });
  }

  /** Opens a voice session over WebRTC. It comes up by itself: await its `ready`, or listen. */
  talk(options: TalkOptions): Voice {
    return new Voice(this.#http, options);
  }

  /** Opens a session over a WebSocket: await its `ready`, or listen. */
  stream(options: StreamOptions): Stream {
    return new Stream(this.#http, options);
  }

  /** Runs frames through a pipeline and gives what came out, by port. */
  async execute(
    pipeline: string,
    inputs: Record<string, InputFrame[]>,
    parameters: Record<string, unknown> = {},
  ): Promise<Record<string, Frame[]>> {
    const request = {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify({ inputs, parameters }),
    };
    const url = this.#http.url(`v1/pipelines/${encodeURIComponent(pipeline)}/execute`);
    const response = await this.#http.request(url, request, EXECUTE_TIMEOUT_MS);
    const { outputs } = (await response.json()) as { outputs: Record<string, Omit<Frame, "port">[]> };
    return Object.fromEntries(Object.entries(outputs).map(([port, frames]) => [port, frames.map((frame) => ({ ...frame, port }) as Frame)]));
  }
}
