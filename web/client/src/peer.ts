/**
 * One peer connection with its WHIP session: offer, trickle, ICE restart, end.
 *
 * Keeps true: candidates go out in order, one request at a time; after `close` nothing is sent but the `DELETE`.
 * Absent: deciding when to restart or begin anew, which is `voice.ts`.
 */

import { TidegateError } from "./errors.js";
import type { Http } from "./http.js";
import { type Candidate, restartedAnswer, writeFragment } from "./sdpfrag.js";
import { Whip } from "./whip.js";

/** The label of the data channel that carries the native stream's messages. */
export const EVENTS_CHANNEL = "events";
/** Its subprotocol. */
export const EVENTS_PROTOCOL = "tidegate.v1.json";
/** How long the connection stays open for the request that ends the session, in milliseconds. */
const DELETE_PATIENCE_MS = 1000;

/** What a peer connection is opened with. */
export interface PeerOptions {
  endpoint: URL;
  iceServers: RTCIceServer[];
  /** Tracks to send; without an audio track a receiving audio section is offered. */
  tracks: MediaStreamTrack[];
  stream: MediaStream | null;
  receiveAudio: boolean;
  receiveVideo: boolean;
}

/** What a peer connection tells. */
export interface PeerEvents {
  state(state: RTCPeerConnectionState): void;
  track(event: RTCTrackEvent): void;
  message(text: string): void;
  channelOpen(): void;
}

/** A peer connection and the WHIP session that it belongs to. */
export class Peer {
  readonly connection: RTCPeerConnection;
  readonly channel: RTCDataChannel;
  sessionId: string | null = null;
  readonly #http: Http;
  readonly #options: PeerOptions;
  #whip: Whip | null = null;
  #closed = false;
  #pending: Candidate[] = [];
  #complete = false;
  #sending = false;
  #answer = "";

  constructor(http: Http, options: PeerOptions, events: PeerEvents) {
    this.#http = http;
    this.#options = options;
    this.connection = new RTCPeerConnection({ iceServers: options.iceServers, bundlePolicy: "max-bundle" });
    this.connection.addEventListener("connectionstatechange", () => {
      if (!this.#closed) events.state(this.connection.connectionState);
    });
    this.connection.addEventListener("track", (event) => events.track(event));
    this.connection.addEventListener("icecandidate", (event) => this.#gathered(event.candidate));
    this.channel = this.connection.createDataChannel(EVENTS_CHANNEL, { protocol: EVENTS_PROTOCOL, ordered: true });
    this.channel.addEventListener("open", () => events.channelOpen());
    this.channel.addEventListener("message", (event) => {
      if (typeof event.data === "string") events.message(event.data);
    });
  }

  /** Offers, and applies the answer. The connection comes up afterwards, as `state` tells. */
  async open(): Promise<void> {
    const { tracks, stream, receiveAudio, receiveVideo } = this.#options;
    for (const track of tracks) {
      this.connection.addTransceiver(track, {
        direction: "sendrecv",
        streams: stream === null ? [] : [stream],
      });
    }
    const sends = (kind: string): boolean => tracks.some((track) => track.kind === kind);
    if (receiveAudio && !sends("audio")) this.connection.addTransceiver("audio", { direction: "recvonly" });
    if (receiveVideo && !sends("video")) this.connection.addTransceiver("video", { direction: "recvonly" });

    // Gathering starts with setLocalDescription, so it waits for the ICE servers that the gateway hands out (RFC 9725 §4.6).
    const offer = await this.connection.createOffer();
    const { whip, answer } = await Whip.open(this.#http, this.#options.endpoint, offer.sdp ?? "");
    this.#whip = whip;
    if (this.#closed) {
      await whip.delete();
      throw new TidegateError("cancelled", "closed while the offer was under way");
    }
    this.sessionId = answer.sessionId;
    if (answer.iceServers.length > 0) {
      this.connection.setConfiguration({
        ...this.connection.getConfiguration(),
        iceServers: [...this.#options.iceServers, ...answer.iceServers],
      });
    }
    await this.connection.setLocalDescription(offer);
    await this.connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    this.#answer = answer.sdp;
    void this.#send();
  }

  /** Restarts ICE within the same session; the media of both sides stay as they are. */
  async restart(): Promise<void> {
    if (this.#whip === null) throw new TidegateError("network", "there is no session to restart");
    if (this.connection.signalingState === "have-local-offer") {
      await this.connection.setLocalDescription({ type: "rollback" });
    }
    this.#pending = [];
    this.#complete = false;
    const offer = await this.connection.createOffer({ iceRestart: true });
    const fragment = await this.#whip.restart(writeFragment(offer.sdp ?? "", [], false));
    await this.connection.setLocalDescription(offer);
    this.#answer = restartedAnswer(this.#answer, fragment);
    await this.connection.setRemoteDescription({ type: "answer", sdp: this.#answer });
    void this.#send();
  }

  /** Ends the session and the connection. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const leave = (): void => {
      this.channel.close();
      this.connection.close();
    };
    if (this.#whip === null) return leave();
    // First the request: to another origin it takes a preflight, and a gateway that hears the connection close has forgotten the
    // session by the time the request itself comes.
    const patience = new Promise((resolve) => setTimeout(resolve, DELETE_PATIENCE_MS));
    void Promise.race([this.#whip.delete(), patience]).then(leave);
  }

  #gathered(candidate: RTCIceCandidate | null): void {
    if (this.#closed) return;
    if (candidate === null || candidate.candidate === "") this.#complete = true;
    else this.#pending.push({ candidate: candidate.candidate, sdpMid: candidate.sdpMid ?? "0" });
    void this.#send();
  }

  /** Sends what was gathered; whatever comes meanwhile goes with the next request. */
  async #send(): Promise<void> {
    if (this.#sending || this.#whip === null) return;
    this.#sending = true;
    try {
      while (!this.#closed && (this.#pending.length > 0 || this.#complete)) {
        const local = this.connection.localDescription?.sdp;
        if (local === undefined) return;
        const candidates = this.#pending.splice(0);
        const complete = this.#complete;
        this.#complete = false;
        await this.#whip.trickle(writeFragment(local, candidates, complete));
      }
    } catch {
      // A lost fragment is not a lost session: this side's checks make its addresses known to the other (RFC 8445 §7.3.1.3).
    } finally {
      this.#sending = false;
    }
  }
}
