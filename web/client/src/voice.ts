/**
 * A voice session: a microphone, a peer connection, and what keeps it up.
 *
 * Keeps true: at most one connection at a time; recovery is bounded (an ICE restart within the session first, then a new
 * session, each attempt later than the one before); after `ended` nothing more is told, and the microphone that was
 * opened here is let go. Absent: playing the sound, which is the page's: give `remoteStream` to an audio element.
 */

import { type Caption, Captions } from "./captions.js";
import { TidegateError, defined, errorOfMessage } from "./errors.js";
import { TypedTarget } from "./events.js";
import type { Http } from "./http.js";
import { type ClientMessage, type Frame, type Opened, type Payload, type ServerMessage, parseServerMessage } from "./messages.js";
import { type Microphone, type OpenMicrophone, closeMicrophone, openMicrophone } from "./microphone.js";
import { Peer } from "./peer.js";

/** How a voice session is opened. */
export interface TalkOptions {
  /** The pipeline's name. */
  pipeline: string;
  /** An open stream, constraints for one, or `false` to listen only. By default, the system's microphone. */
  microphone?: Microphone;
  /** Joins or creates the session of this key, in a pipeline that clients share. */
  session?: string;
  /** The input that this client takes in a shared session. */
  as?: string;
  /** Values for the pipeline's parameters. */
  parameters?: Record<string, unknown>;
  /** ICE servers beside those that the gateway hands out. */
  iceServers?: RTCIceServer[];
  /** Whether to receive sound without sending any; by default yes. */
  receiveAudio?: boolean;
  /** Whether to receive video; by default no. */
  receiveVideo?: boolean;
  /** How many times in a row to try to get a lost connection back. By default 6, some 30 seconds; 0 gives up at once. */
  reconnectAttempts?: number;
}

/** Where a voice session stands. */
export type VoiceState = "preparing" | "signalling" | "connecting" | "connected" | "reconnecting" | "closed";

/** What a voice session tells. */
export interface VoiceEvents {
  /** `error`: of `closed`, what it failed by; left out where somebody ended it. */
  statechange: { state: VoiceState; previous: VoiceState; error?: TidegateError };
  /** Media flows; again after each recovery. */
  connected: { sessionId: string | null };
  /** The data channel is open and the server has named the session. */
  opened: Opened;
  track: { track: MediaStreamTrack; streams: readonly MediaStream[] };
  /** A frame of an output that is not media. */
  frame: Frame;
  /** A frame of text, with what it supersedes sorted out. */
  caption: Caption;
  interrupted: { port?: string; reason: string };
  /** The server takes no new sessions and ends this one after so many seconds. */
  draining: { seconds: number };
  /** Every message of the server, for those who log. */
  message: ServerMessage;
  error: TidegateError;
  /** Over, by this side or the other. The last event; `error` as in `statechange`. */
  ended: { reason: string; error?: TidegateError };
}

/** How long a connection may take to come up. */
const CONNECT_TIMEOUT_MS = 15_000;
/** How long a connection may be silent before it counts as lost: a change of network often heals by itself. */
const SILENCE_MS = 2_500;
/** The first wait of recovery; each next one is twice as long, up to `BACKOFF_MAX_MS`. */
const BACKOFF_MS = 500;
const BACKOFF_MAX_MS = 8_000;
/** What may lie unsent in the data channel. */
const SEND_BUFFER_MAX_BYTES = 1 << 20;

/** A voice session. */
export class Voice extends TypedTarget<VoiceEvents> {
  /** What the pipeline says: give it to an audio or video element's `srcObject`. */
  readonly remoteStream = new MediaStream();
  /** Resolves when media first flows; rejects with the {@link TidegateError} that prevented it. */
  readonly ready: Promise<Voice>;
  readonly #http: Http;
  readonly #options: TalkOptions;
  readonly #captions = new Captions();
  readonly #started = performance.now();
  readonly #seqs = new Map<string, number>();
  readonly #onPageHide = (): void => this.close("the page was left");
  #settle: { resolve: (voice: Voice) => void; reject: (error: TidegateError) => void } | null = null;
  #state: VoiceState = "preparing";
  #microphone: OpenMicrophone | null = null;
  #muted = false;
  #peer: Peer | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #wasConnected = false;
  /** What it failed by, and is about to end for. */
  #failure: TidegateError | undefined;

  /** Use `TidegateClient.talk`. */
  constructor(http: Http, options: TalkOptions) {
    super();
    this.#http = http;
    this.#options = options;
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.ready.catch(() => undefined); // Those who listen to `error` need not await it too.
    globalThis.addEventListener?.("pagehide", this.#onPageHide);
    // In a turn of its own, so that listeners added right after `talk` hear everything.
    queueMicrotask(() => void this.#start());
  }

  get state(): VoiceState {
    return this.#state;
  }

  /** The Tidegate session's id, once the offer is answered. */
  get sessionId(): string | null {
    return this.#peer?.sessionId ?? null;
  }

  /** The peer connection, for its statistics. It is another one after a recovery. */
  get connection(): RTCPeerConnection | null {
    return this.#peer?.connection ?? null;
  }

  /** The microphone in use. */
  get microphone(): MediaStream | null {
    return this.#microphone?.stream ?? null;
  }

  /** A muted session sends silence and hears. */
  get muted(): boolean {
    return this.#muted;
  }

  set muted(muted: boolean) {
    this.#muted = muted;
    for (const track of this.#microphone?.stream.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /**
   * Changes the microphone without a new session.
   *
   * @throws TidegateError as `talk` does, and keeps the old one; `bad_request`, before any microphone opens, where the session
   * sends no sound because it was opened without one; `cancelled` where it has ended.
   */
  async setMicrophone(microphone: MediaStream | MediaTrackConstraints | true): Promise<void> {
    this.#mayChangeMicrophone();
    const opened = await openMicrophone(microphone);
    try {
      this.#mayChangeMicrophone(); // It may have ended while a person was asked.
      await this.#sender()?.replaceTrack(opened?.stream.getAudioTracks()[0] ?? null);
    } catch (cause) {
      closeMicrophone(opened);
      throw asError(cause);
    }
    closeMicrophone(this.#microphone);
    this.#microphone = opened;
    this.muted = this.#muted;
  }

  #sender(): RTCRtpSender | undefined {
    return this.connection?.getSenders().find((one) => one.track?.kind === "audio");
  }

  /** What would open a microphone that nobody hears is refused: its light would say otherwise. */
  #mayChangeMicrophone(): void {
    if (this.#isClosed()) throw new TidegateError("cancelled", "the session has ended: there is nothing to send sound to");
    // Without a connection (one comes up, or comes back) the microphone goes into the next offer.
    if (this.#options.microphone === false || (this.connection !== null && this.#sender() === undefined)) {
      throw new TidegateError("bad_request", "this session was opened without a microphone and sends no sound: open another one with `microphone`");
    }
  }

  /** Ends what the pipeline is saying. Overtakes data. */
  interrupt(): void {
    this.#sendMessage({ interrupt: {} });
  }

  /** Sends `text` to a text input; it is an utterance of its own. */
  sendText(port: string, text: string): void {
    this.sendFrame(port, { text: { text } }, { final: true });
  }

  /**
   * Sends a frame to an input that is not media.
   *
   * @throws TidegateError `network` if the data channel is not open, `overloaded` if what was sent before lies unsent.
   */
  sendFrame(port: string, payload: Payload, header: { utterance?: number; final?: boolean } = {}): void {
    const seq = (this.#seqs.get(port) ?? 0) + 1;
    const media_time = Math.round((performance.now() - this.#started) * 1000);
    this.#sendMessage({ frame: { port, seq, media_time, ...header, ...payload } });
    this.#seqs.set(port, seq);
  }

  /** Says that no more frames come for an input. */
  end(port: string): void {
    this.#sendMessage({ end: { port } });
  }

  /** Ends the session, here and at the server. */
  close(reason = "closed by the client"): void {
    if (this.#isClosed()) return;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("pagehide", this.#onPageHide);
    this.#dropPeer();
    closeMicrophone(this.#microphone);
    this.#setState("closed", this.#failure);
    this.#settle?.reject(this.#failure ?? new TidegateError("cancelled", reason));
    this.#settle = null;
    this.emit("ended", { reason, ...defined({ error: this.#failure }) });
  }

  #sendMessage(message: ClientMessage): void {
    const channel = this.#peer?.channel;
    if (channel === undefined || channel.readyState !== "open") {
      throw new TidegateError("network", "the events channel is not open", { retryable: true });
    }
    if (channel.bufferedAmount > SEND_BUFFER_MAX_BYTES) {
      throw new TidegateError("overloaded", "the network does not keep up with what is sent", { retryable: true });
    }
    channel.send(JSON.stringify(message));
  }

  #setState(state: VoiceState, error?: TidegateError): void {
    const previous = this.#state;
    if (previous === state) return;
    this.#state = state;
    this.emit("statechange", { state, previous, ...defined({ error }) });
  }

  async #start(): Promise<void> {
    try {
      const microphone = await openMicrophone(this.#options.microphone ?? true);
      if (this.#isClosed()) return closeMicrophone(microphone);
      this.#microphone = microphone;
      this.muted = this.#muted;
      this.#setState("signalling");
      await this.#connect();
    } catch (cause) {
      this.#fail(asError(cause));
    }
  }

  #isClosed(): boolean {
    return this.#state === "closed";
  }

  /** Opens a new connection with a new WHIP session. */
  async #connect(): Promise<void> {
    this.#dropPeer();
    const { pipeline, session, as, parameters } = this.#options;
    const endpoint = this.#http.url(`v1/pipelines/${encodeURIComponent(pipeline)}/whip`, {
      session,
      as,
      parameters: parameters === undefined ? undefined : JSON.stringify(parameters),
    });
    const peer: Peer = new Peer(
      this.#http,
      {
        endpoint,
        iceServers: this.#options.iceServers ?? [],
        tracks: this.#microphone?.stream.getTracks() ?? [],
        stream: this.#microphone?.stream ?? null,
        receiveAudio: this.#options.receiveAudio ?? true,
        receiveVideo: this.#options.receiveVideo ?? false,
      },
      {
        state: (state) => this.#peer === peer && this.#peerState(state),
        track: (event) => this.#peer === peer && this.#track(event),
        message: (text) => this.#peer === peer && this.#message(text),
        channelOpen: () => undefined,
      },
    );
    this.#peer = peer;
    this.#seqs.clear();
    await peer.open();
    if (this.#state === "signalling") this.#setState("connecting");
    this.#awaitConnection(peer);
  }

  #dropPeer(): void {
    this.#peer?.close();
    this.#peer = null;
    for (const track of this.remoteStream.getTracks()) this.remoteStream.removeTrack(track);
  }

  /** A connection that healed while it was restarted tells no change, so it is asked. */
  #awaitConnection(peer: Peer): void {
    if (this.#isClosed() || this.#peer !== peer || this.#state === "connected") return;
    if (peer.connection.connectionState === "connected") return this.#peerState("connected");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost("no connection came up"), CONNECT_TIMEOUT_MS);
  }

  #peerState(state: RTCPeerConnectionState): void {
    if (state === "connected") {
      clearTimeout(this.#timer);
      this.#attempt = 0;
      this.#wasConnected = true;
      this.#failure = undefined;
      this.#setState("connected");
      this.emit("connected", { sessionId: this.sessionId });
      this.#settle?.resolve(this);
      this.#settle = null;
    } else if (state === "disconnected" && this.#state === "connected") {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#lost("the connection went silent"), SILENCE_MS);
    } else if (state === "failed") {
      this.#lost("the connection failed");
    } else if (state === "closed" && this.#wasConnected) {
      this.#lost("the server closed the connection");
    }
  }

  #track(event: RTCTrackEvent): void {
    this.remoteStream.addTrack(event.track);
    this.emit("track", { track: event.track, streams: event.streams.length > 0 ? event.streams : [this.remoteStream] });
  }

  /** The connection is gone: waits, then tries again, or gives up. */
  #lost(reason: string): void {
    clearTimeout(this.#timer);
    if (this.#isClosed()) return;
    if (!this.#wasConnected) return this.#fail(new TidegateError("ice_failed", reason, { retryable: true }));
    if (this.#attempt >= (this.#options.reconnectAttempts ?? 6)) {
      return this.#fail(new TidegateError("network", `${reason}, and ${this.#attempt} attempts did not bring it back`));
    }
    this.#attempt += 1;
    this.#setState("reconnecting");
    const wait = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** (this.#attempt - 1));
    // Half of the wait is chance, so that a thousand clients of a lost gateway do not come back in one moment.
    this.#timer = setTimeout(() => void this.#recover(), wait / 2 + (Math.random() * wait) / 2);
  }

  async #recover(): Promise<void> {
    const peer = this.#peer;
    try {
      // The first half of the attempts keeps the session; if the server has lost it, the rest begin a new one.
      if (peer !== null && peer.connection.connectionState !== "closed" && this.#attempt <= 3) {
        try {
          await peer.restart();
          return this.#awaitConnection(peer);
        } catch (error) {
          if (!(error instanceof TidegateError) || error.status === undefined) throw error;
        }
      }
      if (!this.#isClosed()) await this.#connect();
    } catch (cause) {
      const error = asError(cause);
      if (error.code === "unauthenticated" || error.code === "permission_denied") this.#fail(error);
      else this.#lost(error.message);
    }
  }

  #message(text: string): void {
    const message = parseServerMessage(text);
    if (message === null) return;
    this.emit("message", message);
    if ("opened" in message) this.emit("opened", message.opened);
    else if ("frame" in message) {
      this.emit("frame", message.frame);
      const caption = this.#captions.take(message.frame);
      if (caption !== null) this.emit("caption", caption);
    } else if ("interrupted" in message) this.emit("interrupted", message.interrupted);
    else if ("draining" in message) this.emit("draining", { seconds: message.draining.deadline / 1e6 });
    else if ("error" in message) this.#tell(errorOfMessage(message.error));
    else if ("ended" in message) this.close(message.ended.reason);
  }

  #fail(error: TidegateError): void {
    if (this.#isClosed()) return;
    this.#tell(error);
    this.close(error.message);
  }

  /** The end follows, from here or from the server, and has it too: who looks at one event only shall know why. */
  #tell(error: TidegateError): void {
    this.#failure = error;
    this.emit("error", error);
  }
}

/** Whatever was thrown, as one of ours. */
function asError(cause: unknown): TidegateError {
  if (cause instanceof TidegateError) return cause;
  return new TidegateError("internal", cause instanceof Error ? cause.message : String(cause), { cause });
}
