/**
 * A session over a WebSocket, subprotocol `tidegate.v1.json`: frames in and out without WebRTC.
 *
 * Keeps true: nothing is sent before the socket is open; `ended` is the last event and comes once; what the gateway refuses has its code,
 * also where the browser hides the refusal.
 * Absent: recovery, since frames that were lost could not be told from frames that were not.
 */

import { type Caption, Captions } from "./captions.js";
import { TidegateError, defined, errorOfMessage } from "./errors.js";
import { TypedTarget } from "./events.js";
import type { Http } from "./http.js";
import {
  type AudioFormat,
  type ClientMessage,
  type Frame,
  type Open,
  type Opened,
  type Payload,
  type PortFormat,
  type ServerMessage,
  parseServerMessage,
} from "./messages.js";

/** The WebSocket subprotocol of the JSON messages. */
export const JSON_PROTOCOL = "tidegate.v1.json";

/** How a stream is opened. */
export interface StreamOptions {
  /** The pipeline's name. */
  pipeline: string;
  /** Values for the pipeline's parameters. */
  parameters?: Record<string, unknown>;
  /** `live` (the default) cannot be told to wait; `waits` can, and nothing of it is shed. */
  mode?: "live" | "waits";
  /** Protocol features to use: `credits`, `stats`, `acks`. */
  features?: string[];
  /** Joins or creates the session of this key. */
  session?: string;
  /** The ports that this client takes in a shared session. */
  as?: string | string[];
  /** Formats of the audio that the client will send, by port; by default 16-bit PCM, 16 kHz, mono. */
  inputs?: Record<string, AudioFormat>;
  /** Formats in which the client wants audio, by port. */
  outputs?: Record<string, AudioFormat>;
  /** The input and the output whose frames go as raw binary messages. */
  raw?: { input?: string; output?: string };
}

/** What a stream tells. */
export interface StreamEvents {
  opened: Opened;
  frame: Frame;
  caption: Caption;
  /** A raw binary message: audio of the output that `raw` named. */
  binary: ArrayBuffer;
  interrupted: { port?: string; reason: string };
  draining: { seconds: number };
  message: ServerMessage;
  error: TidegateError;
  /** The last event. `error`: what it failed by; left out where it came to its end or somebody ended it. */
  ended: { reason: string; error?: TidegateError };
}

/** A session over a WebSocket. */
export class Stream extends TypedTarget<StreamEvents> {
  /** Resolves when the server has opened the session. */
  readonly ready: Promise<Opened>;
  readonly #socket: WebSocket;
  readonly #captions = new Captions();
  readonly #seqs = new Map<string, number>();
  #settle: { resolve: (opened: Opened) => void; reject: (error: TidegateError) => void } | null = null;
  #wasOpen = false;
  #ended = false;
  #failure: TidegateError | undefined;

  /** Use `TidegateClient.stream`. */
  constructor(http: Http, options: StreamOptions) {
    super();
    const url = http.url(`v1/pipelines/${encodeURIComponent(options.pipeline)}/ws`);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const protocols = [JSON_PROTOCOL];
    // A browser can set no headers on a WebSocket, so the token goes by the one list that it can set.
    if (http.token !== undefined) protocols.push(`tidegate.bearer.${http.token}`);
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.ready.catch(() => undefined);
    this.#socket = new WebSocket(url, protocols);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("open", () => {
      this.#wasOpen = true;
      this.#send({ open: openMessage(options) });
    });
    this.#socket.addEventListener("message", (event: MessageEvent<string | ArrayBuffer>) => {
      if (typeof event.data === "string") this.#message(event.data);
      else this.emit("binary", event.data);
    });
    let refusal: Promise<void> | null = null;
    this.#socket.addEventListener("error", () => {
      if (this.#ended) return;
      if (this.#wasOpen) this.#fail(new TidegateError("network", `the stream to ${url.host} broke`, { retryable: true }));
      else refusal ??= refusalOf(http, url, options.pipeline).then((error) => this.#refuse(error));
    });
    this.#socket.addEventListener("close", (event) => {
      if (refusal === null) this.#end(event.reason === "" ? `closed with code ${event.code}` : event.reason);
    });
  }

  /** Bytes that were given to send and have not left yet: what a sender in haste should look at. */
  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  /**
   * Sends a frame.
   *
   * @throws TidegateError `network` before `opened` and after `ended`.
   */
  send(port: string, payload: Payload, header: { media_time?: number; utterance?: number; final?: boolean } = {}): void {
    const seq = (this.#seqs.get(port) ?? 0) + 1;
    this.#send({ frame: { port, seq, media_time: 0, ...header, ...payload } });
    this.#seqs.set(port, seq);
  }

  /** Sends text to a text input; it is an utterance of its own. */
  sendText(port: string, text: string): void {
    this.send(port, { text: { text } }, { final: true });
  }

  /** Sends raw audio to the input that `raw` named. */
  sendBinary(data: ArrayBuffer | ArrayBufferView): void {
    this.#expectOpen();
    this.#socket.send(data as ArrayBufferView<ArrayBuffer>);
  }

  /** Ends what the pipeline is saying. */
  interrupt(): void {
    this.#send({ interrupt: {} });
  }

  /** Says that no more frames come for an input. */
  end(port: string): void {
    this.#send({ end: { port } });
  }

  /** Ends the session. */
  close(reason = "closed by the client"): void {
    this.#socket.close(1000);
    this.#end(reason);
  }

  #expectOpen(): void {
    if (this.#socket.readyState !== WebSocket.OPEN) throw new TidegateError("network", "the stream is not open");
  }

  #send(message: ClientMessage): void {
    this.#expectOpen();
    this.#socket.send(JSON.stringify(message));
  }

  #message(text: string): void {
    const message = parseServerMessage(text);
    if (message === null || this.#ended) return;
    this.emit("message", message);
    if ("opened" in message) {
      this.emit("opened", message.opened);
      this.#settle?.resolve(message.opened);
      this.#settle = null;
    } else if ("frame" in message) {
      this.emit("frame", message.frame);
      const caption = this.#captions.take(message.frame);
      if (caption !== null) this.emit("caption", caption);
    } else if ("interrupted" in message) this.emit("interrupted", message.interrupted);
    else if ("draining" in message) this.emit("draining", { seconds: message.draining.deadline / 1e6 });
    else if ("error" in message) this.#fail(errorOfMessage(message.error));
    else if ("ended" in message) this.#end(message.ended.reason);
  }

  #fail(error: TidegateError): void {
    if (this.#ended) return;
    this.#settle?.reject(error);
    this.#settle = null;
    this.#failure = error;
    this.emit("error", error);
  }

  #refuse(error: TidegateError): void {
    this.#fail(error);
    this.#end(error.code);
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#settle?.reject(new TidegateError("cancelled", reason));
    this.#settle = null;
    this.#ended = true;
    this.emit("ended", { reason, ...defined({ error: this.#failure }) });
  }
}

/** Why the socket did not open. Browsers say nothing of the answer to an upgrade; the pipeline's own address refuses the same, readably. */
async function refusalOf(http: Http, url: URL, pipeline: string): Promise<TidegateError> {
  try {
    await http.json(`v1/pipelines/${encodeURIComponent(pipeline)}`);
  } catch (error) {
    return error instanceof TidegateError ? error : new TidegateError("internal", String(error), { cause: error });
  }
  return new TidegateError("unreachable", `${url.host} serves '${pipeline}', but no WebSocket opens: a proxy in between may pass none`, { retryable: true });
}

/** The message that begins a stream. */
function openMessage(options: StreamOptions): Open {
  const { pipeline, mode, features, parameters, session, as, raw } = options;
  const formats = (ports: Record<string, AudioFormat> | undefined): PortFormat[] | undefined =>
    ports && Object.entries(ports).map(([port, audio]) => ({ port, audio }));
  return {
    pipeline,
    mode: mode ?? "live",
    features: features ?? [],
    ...defined({
      parameters,
      session,
      as: typeof as === "string" ? [as] : as,
      inputs: formats(options.inputs),
      outputs: formats(options.outputs),
      raw,
    }),
  };
}
