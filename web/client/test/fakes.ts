/** Stand-ins for what a browser has and Node has not: peer connections, media streams, and a gateway behind `fetch`. */

import { vi } from "vitest";

export const SDP = (ufrag: string): string =>
  `v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:${ufrag}\r\na=ice-pwd:${ufrag}-password-password\r\na=mid:0\r\n`;

export class FakeTrack extends EventTarget {
  enabled = true;
  readyState = "live";
  constructor(readonly kind: string) {
    super();
  }
  stop(): void {
    this.readyState = "ended";
  }
}

export class FakeStream {
  readonly tracks: FakeTrack[];
  constructor(tracks: FakeTrack[] = []) {
    this.tracks = [...tracks];
  }
  getTracks(): FakeTrack[] {
    return [...this.tracks];
  }
  getAudioTracks(): FakeTrack[] {
    return this.tracks.filter((track) => track.kind === "audio");
  }
  addTrack(track: FakeTrack): void {
    this.tracks.push(track);
  }
  removeTrack(track: FakeTrack): void {
    this.tracks.splice(this.tracks.indexOf(track), 1);
  }
}

export class FakeChannel extends EventTarget {
  readyState = "connecting";
  bufferedAmount = 0;
  readonly sent: unknown[] = [];
  constructor(
    readonly label: string,
    readonly options: RTCDataChannelInit,
  ) {
    super();
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.readyState = "closed";
  }
  hear(message: unknown): void {
    this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(message) }));
  }
}

export class FakeConnection extends EventTarget {
  static all: FakeConnection[] = [];
  static get last(): FakeConnection {
    return FakeConnection.all[FakeConnection.all.length - 1] as FakeConnection;
  }
  connectionState = "new";
  signalingState = "stable";
  localDescription: { sdp: string } | null = null;
  remote: string[] = [];
  configuration: RTCConfiguration;
  channel!: FakeChannel;
  readonly senders: { track: FakeTrack | null; replaceTrack(track: FakeTrack): Promise<void> }[] = [];
  readonly transceivers: { what: unknown; direction: string }[] = [];
  #ufrags = 0;

  constructor(configuration: RTCConfiguration) {
    super();
    this.configuration = configuration;
    FakeConnection.all.push(this);
  }
  createDataChannel(label: string, options: RTCDataChannelInit): FakeChannel {
    this.channel = new FakeChannel(label, options);
    return this.channel;
  }
  addTransceiver(what: FakeTrack | string, { direction }: { direction: string }): void {
    this.transceivers.push({ what, direction });
    if (typeof what === "string") return;
    const sender = {
      track: what as FakeTrack | null,
      replaceTrack: async (track: FakeTrack): Promise<void> => {
        sender.track = track;
      },
    };
    this.senders.push(sender);
  }
  getSenders(): typeof this.senders {
    return this.senders;
  }
  getConfiguration(): RTCConfiguration {
    return this.configuration;
  }
  setConfiguration(configuration: RTCConfiguration): void {
    this.configuration = configuration;
  }
  async createOffer(): Promise<{ type: "offer"; sdp: string }> {
    this.#ufrags += 1;
    return { type: "offer", sdp: SDP(`local${this.#ufrags}`) };
  }
  async setLocalDescription(description: { sdp: string }): Promise<void> {
    this.localDescription = description;
  }
  async setRemoteDescription(description: { sdp: string }): Promise<void> {
    this.remote.push(description.sdp);
  }
  close(): void {
    this.connectionState = "closed";
  }
  become(state: string): void {
    this.connectionState = state;
    this.dispatchEvent(new Event("connectionstatechange"));
  }
  gather(candidate: string | null): void {
    this.dispatchEvent(Object.assign(new Event("icecandidate"), { candidate: candidate === null ? null : { candidate, sdpMid: "0" } }));
  }
  hearTrack(track: FakeTrack): void {
    this.dispatchEvent(Object.assign(new Event("track"), { track, streams: [] }));
  }
}

/** A request that the gateway got. */
export interface Seen {
  method: string;
  path: string;
  headers: Headers;
  body: string;
  keepalive: boolean;
}

/** A gateway behind `fetch`: `answer` may be changed by a test. */
export class FakeGateway {
  readonly seen: Seen[] = [];
  sessions = 0;
  answer: (request: Seen) => Response = (request) => this.usual(request);

  usual(request: Seen): Response {
    if (request.method === "POST") {
      this.sessions += 1;
      const headers = {
        Location: `/v1/whip/${this.sessions}`,
        ETag: '"first"',
        Link: '<turn:turn.example.net>; rel="ice-server"; username="u"; credential="c"',
        "Tidegate-Session": `session-${this.sessions}`,
      };
      return new Response(SDP("remote1"), { status: 201, headers });
    }
    if (request.method === "PATCH" && request.headers.get("If-Match") === "*") {
      return new Response(SDP("remote2"), { status: 200, headers: { ETag: '"second"' } });
    }
    return new Response(null, { status: 204 });
  }

  readonly fetch = async (input: URL | string, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input);
    const request = {
      method: init.method ?? "GET",
      path: url.pathname + url.search,
      headers: new Headers(init.headers),
      body: typeof init.body === "string" ? init.body : "",
      keepalive: init.keepalive ?? false,
    };
    this.seen.push(request);
    return this.answer(request);
  };

  of(method: string): Seen[] {
    return this.seen.filter((request) => request.method === method);
  }
}

/** Puts the stand-ins in place; the microphone gives a new stream each time. */
export function stubBrowser(): { gateway: FakeGateway; microphones: FakeStream[]; constraints: unknown[] } {
  const gateway = new FakeGateway();
  const microphones: FakeStream[] = [];
  const constraints: unknown[] = [];
  FakeConnection.all = [];
  vi.stubGlobal("fetch", gateway.fetch);
  vi.stubGlobal("RTCPeerConnection", FakeConnection);
  vi.stubGlobal("MediaStream", FakeStream);
  vi.stubGlobal("isSecureContext", true);
  vi.stubGlobal("navigator", {
    mediaDevices: {
      getUserMedia: async (wanted: unknown) => {
        constraints.push(wanted);
        const stream = new FakeStream([new FakeTrack("audio")]);
        microphones.push(stream);
        return stream;
      },
    },
  });
  return { gateway, microphones, constraints };
}
