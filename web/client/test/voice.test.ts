import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TidegateClient } from "../src/client.js";
import type { TidegateError } from "../src/errors.js";
import type { TalkOptions, Voice } from "../src/voice.js";
import { FakeConnection, type FakeGateway, FakeStream, FakeTrack, stubBrowser } from "./fakes.js";

let gateway: FakeGateway;
let microphones: FakeStream[];

beforeEach(() => {
  vi.useFakeTimers();
  ({ gateway, microphones } = stubBrowser());
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Lets everything that waits for nothing but promises happen. */
const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

async function talk(options: Partial<TalkOptions> = {}): Promise<{ voice: Voice; told: string[] }> {
  const voice = new TidegateClient({ url: "http://gateway.example/base", token: "secret" }).talk({ pipeline: "echo", ...options });
  const told: string[] = [];
  voice.addEventListener("statechange", ({ detail }) => told.push(detail.state));
  voice.addEventListener("error", ({ detail }) => told.push(`error ${detail.code}`));
  voice.addEventListener("ended", () => told.push("ended"));
  await settle();
  return { voice, told };
}

async function connected(options: Partial<TalkOptions> = {}): Promise<{ voice: Voice; told: string[] }> {
  const opened = await talk(options);
  FakeConnection.last.become("connected");
  await settle();
  return opened;
}

describe("a voice session", () => {
  it("offers its microphone and a data channel, and tells each step", async () => {
    const { voice, told } = await connected({ session: "standup", as: "a b", parameters: { voice: "es" } });
    const [offer] = gateway.of("POST");
    expect(offer?.path).toBe("/base/v1/pipelines/echo/whip?session=standup&as=a+b&parameters=%7B%22voice%22%3A%22es%22%7D");
    expect(offer?.headers.get("Authorization")).toBe("Bearer secret");
    expect(offer?.headers.get("Content-Type")).toBe("application/sdp");
    expect(FakeConnection.last.channel).toMatchObject({ label: "events", options: { protocol: "tidegate.v1.json" } });
    expect(FakeConnection.last.transceivers).toEqual([{ what: microphones[0]?.tracks[0], direction: "sendrecv" }]);
    expect(told).toEqual(["signalling", "connecting", "connected"]);
    expect(voice.sessionId).toBe("session-1");
    await expect(voice.ready).resolves.toBe(voice);
  });

  it("gathers with the ICE servers that the gateway hands out", async () => {
    await talk({ iceServers: [{ urls: "stun:own.example" }] });
    expect(FakeConnection.last.configuration.iceServers).toEqual([
      { urls: "stun:own.example" },
      { urls: "turn:turn.example.net", username: "u", credential: "c" },
    ]);
  });

  it("listens without a microphone", async () => {
    await talk({ microphone: false });
    expect(microphones).toHaveLength(0);
    expect(FakeConnection.last.transceivers).toEqual([{ what: "audio", direction: "recvonly" }]);
  });

  it("trickles candidates in order under the answer's entity tag", async () => {
    await connected();
    FakeConnection.last.gather("candidate:1 1 udp 1 192.0.2.1 1 typ host");
    FakeConnection.last.gather("candidate:2 1 udp 1 192.0.2.1 2 typ host");
    FakeConnection.last.gather(null);
    await settle();
    const patches = gateway.of("PATCH");
    const text = patches.map((patch) => patch.body).join("");
    expect(patches.every((patch) => patch.headers.get("If-Match") === '"first"')).toBe(true);
    expect(patches.every((patch) => patch.headers.get("Content-Type") === "application/trickle-ice-sdpfrag")).toBe(true);
    expect(text.match(/a=candidate:\d/g)).toEqual(["a=candidate:1", "a=candidate:2"]);
    expect(text.match(/a=end-of-candidates/g)).toHaveLength(1);
  });

  it("asks a gateway without trickle once", async () => {
    gateway.answer = (request) => (request.method === "PATCH" ? new Response("", { status: 405 }) : gateway.usual(request));
    await connected();
    for (const port of [1, 2, 3]) {
      FakeConnection.last.gather(`candidate:${port} 1 udp 1 192.0.2.1 ${port} typ host`);
      await settle();
    }
    expect(gateway.of("PATCH")).toHaveLength(1);
  });

  it("gives what the pipeline says as one stream", async () => {
    const { voice } = await talk();
    const heard: string[] = [];
    voice.addEventListener("track", ({ detail }) => heard.push(detail.track.kind));
    const track = new FakeTrack("audio");
    FakeConnection.last.hearTrack(track);
    expect(heard).toEqual(["audio"]);
    expect(voice.remoteStream.getTracks()).toEqual([track]);
  });

  it("sends text, frames and interrupts, numbered per port", async () => {
    const { voice } = await connected();
    expect(() => voice.interrupt()).toThrowError("not open");
    FakeConnection.last.channel.readyState = "open";
    voice.sendText("prompt", "one");
    voice.sendText("prompt", "two");
    voice.sendFrame("control", { json: { value: 1 } });
    voice.interrupt();
    voice.end("prompt");
    expect(FakeConnection.last.channel.sent).toMatchObject([
      { frame: { port: "prompt", seq: 1, final: true, text: { text: "one" } } },
      { frame: { port: "prompt", seq: 2, text: { text: "two" } } },
      { frame: { port: "control", seq: 1, json: { value: 1 } } },
      { interrupt: {} },
      { end: { port: "prompt" } },
    ]);
  });

  it("does not pile up what the network does not take", async () => {
    const { voice } = await connected();
    FakeConnection.last.channel.readyState = "open";
    FakeConnection.last.channel.bufferedAmount = 2 << 20;
    expect(() => voice.sendText("prompt", "more")).toThrowError("keep up");
  });

  it("tells what the server says", async () => {
    const { voice } = await connected();
    const told: unknown[] = [];
    voice.addEventListener("opened", ({ detail }) => told.push(["opened", detail.session_id]));
    voice.addEventListener("caption", ({ detail }) => told.push(["caption", detail.text, detail.final]));
    voice.addEventListener("frame", ({ detail }) => told.push(["frame", detail.port]));
    voice.addEventListener("interrupted", ({ detail }) => told.push(["interrupted", detail.reason]));
    voice.addEventListener("error", ({ detail }) => told.push(["error", detail.code, detail.hop]));
    const { channel } = FakeConnection.last;
    channel.hear({ opened: { session_id: "s", ports: [], features: [], limits: {} } });
    channel.hear({ frame: { port: "captions", seq: 1, media_time: 5, utterance: 1, revision: 1, final: true, text: { text: "hi" } } });
    channel.hear({ interrupted: { reason: "speech" } });
    channel.hear({ error: { code: "timeout", message: "late", fault: "worker", retryable: true, hop: "stt" } });
    expect(told).toEqual([
      ["opened", "s"],
      ["frame", "captions"],
      ["caption", "hi", true],
      ["interrupted", "speech"],
      ["error", "timeout", "stt"],
    ]);
    expect(voice.state).toBe("connected");
  });

  it("mutes by sending silence and keeps the microphone", async () => {
    const { voice } = await connected();
    voice.muted = true;
    expect(microphones[0]?.tracks[0]).toMatchObject({ enabled: false, readyState: "live" });
    voice.muted = false;
    expect(microphones[0]?.tracks[0]?.enabled).toBe(true);
  });

  it("changes the microphone within the session and keeps it muted", async () => {
    const { voice } = await connected();
    voice.muted = true;
    await voice.setMicrophone({ deviceId: "other" });
    expect(FakeConnection.last.senders[0]?.track).toBe(microphones[1]?.tracks[0]);
    expect(microphones[1]?.tracks[0]?.enabled).toBe(false);
    expect(microphones[0]?.tracks[0]?.readyState).toBe("ended");
    expect(gateway.sessions).toBe(1);
  });

  it("opens no microphone in a session that cannot send it, and says so", async () => {
    const { voice } = await connected({ microphone: false });
    await expect(voice.setMicrophone(true)).rejects.toMatchObject({ code: "bad_request", message: expect.stringContaining("without a microphone") });
    expect([microphones.length, voice.microphone]).toEqual([0, null]);
    voice.close();
    await expect(voice.setMicrophone(true)).rejects.toMatchObject({ code: "cancelled" });
    expect(microphones).toHaveLength(0);
  });

  it("lets a microphone go that opened after the session had ended", async () => {
    const { voice } = await connected();
    const changed = voice.setMicrophone(true);
    voice.close();
    await expect(changed).rejects.toMatchObject({ code: "cancelled" });
    expect(microphones.map((one) => one.tracks[0]?.readyState)).toEqual(["ended", "ended"]);
  });
});

describe("the end of a voice session", () => {
  it("deletes the session at the gateway, even while the page goes away, and lets the microphone go", async () => {
    const { voice, told } = await connected();
    voice.close();
    voice.close();
    await settle();
    expect(gateway.of("DELETE")).toMatchObject([{ path: "/v1/whip/1", keepalive: true }]);
    expect(microphones[0]?.tracks[0]?.readyState).toBe("ended");
    expect(told.slice(-2)).toEqual(["closed", "ended"]);
  });

  it("leaves a stream that the caller opened as it is", async () => {
    const own = new FakeStream([new FakeTrack("audio")]);
    const { voice } = await connected({ microphone: own as unknown as MediaStream });
    voice.close();
    expect(own.tracks[0]?.readyState).toBe("live");
  });

  it("comes when the server ends it, without an attempt to get it back", async () => {
    const { told } = await connected();
    FakeConnection.last.channel.hear({ ended: { reason: "drained" } });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(told.slice(-2)).toEqual(["closed", "ended"]);
    expect(gateway.sessions).toBe(1);
  });

  it("says why to who hears only of that, unless somebody ended it", async () => {
    const ends = async (end: (voice: Voice) => void): Promise<unknown[]> => {
      const { voice } = await connected();
      const told: unknown[] = [];
      voice.addEventListener("statechange", ({ detail }) => told.push([detail.state, "error" in detail && detail.error?.code]));
      voice.addEventListener("ended", ({ detail }) => told.push(["ended", "error" in detail && detail.error?.code]));
      end(voice);
      return told;
    };
    const failing = { error: { code: "network", message: "gone", fault: "worker", retryable: true, hop: "stt" } };
    const all = (what: unknown): unknown[] => [["closed", what], ["ended", what]];
    expect(await ends((voice) => voice.close())).toEqual(all(false));
    expect(await ends(() => FakeConnection.last.channel.hear({ ended: { reason: "deleted" } }))).toEqual(all(false));
    expect(
      await ends(() => {
        FakeConnection.last.channel.hear(failing);
        FakeConnection.last.channel.hear({ ended: { reason: "network" } });
      }),
    ).toEqual(all("network"));
    // Also where the page hangs up as soon as it is told.
    expect(
      await ends((voice) => {
        voice.addEventListener("error", () => voice.close());
        FakeConnection.last.channel.hear(failing);
      }),
    ).toEqual(all("network"));
  });

  it("during the offer deletes what the gateway has opened meanwhile", async () => {
    let release: (response: Response) => void = () => undefined;
    const slow = new Promise<Response>((resolve) => (release = resolve));
    vi.stubGlobal("fetch", (input: URL, init: RequestInit) => (init.method === "POST" ? slow : gateway.fetch(input, init)));
    const { voice } = await talk();
    voice.close();
    release(gateway.usual({ method: "POST", path: "", headers: new Headers(), body: "", keepalive: false }));
    await settle();
    expect(gateway.of("DELETE")).toHaveLength(1);
    expect(voice.state).toBe("closed");
  });
});

describe("a lost connection", () => {
  it("is restarted within the session by ICE, with new credentials on both sides", async () => {
    const { told } = await connected();
    FakeConnection.last.become("failed");
    await vi.advanceTimersByTimeAsync(1_000);
    const restart = gateway.of("PATCH").find((request) => request.headers.get("If-Match") === "*");
    expect(restart?.body).toContain("a=ice-ufrag:local2");
    expect(FakeConnection.last.remote[1]).toContain("a=ice-ufrag:remote2");
    FakeConnection.last.become("connected");
    expect(told.slice(-2)).toEqual(["reconnecting", "connected"]);
    expect(FakeConnection.all).toHaveLength(1);
    // What is gathered now goes under the tag of the new credentials.
    FakeConnection.last.gather("candidate:9 1 udp 1 192.0.2.1 9 typ host");
    await settle();
    expect(gateway.of("PATCH").at(-1)?.headers.get("If-Match")).toBe('"second"');
  });

  it("that heals by itself is left alone", async () => {
    const { told } = await connected();
    FakeConnection.last.become("disconnected");
    await vi.advanceTimersByTimeAsync(1_000);
    FakeConnection.last.become("connected");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(told).toEqual(["signalling", "connecting", "connected"]);
    expect(gateway.of("PATCH")).toHaveLength(0);
  });

  it("that heals while it is restarted is up again", async () => {
    const { voice, told } = await connected();
    FakeConnection.last.become("disconnected");
    await vi.advanceTimersByTimeAsync(2_500);
    FakeConnection.last.connectionState = "connected";
    await vi.advanceTimersByTimeAsync(60_000);
    expect(told.slice(-2)).toEqual(["reconnecting", "connected"]);
    expect(voice.state).toBe("connected");
    expect(gateway.of("PATCH")).toHaveLength(1);
  });

  it("begins a new session if the gateway has lost the old one", async () => {
    const { voice, told } = await connected();
    gateway.answer = (request) => (request.method === "PATCH" ? new Response("", { status: 404 }) : gateway.usual(request));
    FakeConnection.last.become("failed");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(FakeConnection.all).toHaveLength(2);
    FakeConnection.last.become("connected");
    expect(voice.sessionId).toBe("session-2");
    expect(told.at(-1)).toBe("connected");
  });

  it("is given up after a bounded number of attempts", async () => {
    const { voice, told } = await connected({ reconnectAttempts: 4 });
    const before = gateway.seen.length;
    gateway.answer = () => {
      throw new TypeError("fetch failed");
    };
    FakeConnection.last.become("failed");
    await vi.advanceTimersByTimeAsync(120_000);
    expect(told.slice(-3)).toEqual(["error network", "closed", "ended"]);
    expect(voice.state).toBe("closed");
    expect(gateway.seen.length - before).toBeLessThanOrEqual(10);
  });
});

describe("a session that does not come up", () => {
  const failure = async (options: Partial<TalkOptions> = {}): Promise<TidegateError> => {
    const { voice } = await talk(options);
    await vi.advanceTimersByTimeAsync(20_000);
    return voice.ready.then(
      () => Promise.reject(new Error("it came up")),
      (error: TidegateError) => error,
    );
  };

  it("tells the reason with the state and with the end, where nobody listens to errors", async () => {
    gateway.answer = () => new Response(JSON.stringify({ code: "unauthenticated", detail: "give a token" }), { status: 401 });
    const voice = new TidegateClient({ url: "http://gateway.example/" }).talk({ pipeline: "echo" });
    const told: unknown[] = [];
    voice.addEventListener("statechange", ({ detail }) => told.push([detail.state, detail.error?.code, detail.error?.message]));
    voice.addEventListener("ended", ({ detail }) => told.push([detail.reason, detail.error?.code]));
    await settle();
    expect(told).toEqual([
      ["signalling", undefined, undefined],
      ["closed", "unauthenticated", "give a token"],
      ["give a token", "unauthenticated"],
    ]);
    await expect(voice.ready).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it("says that the gateway is full and when to come back", async () => {
    gateway.answer = () => new Response(JSON.stringify({ code: "overloaded" }), { status: 503, headers: { "Retry-After": "5" } });
    expect(await failure()).toMatchObject({ code: "overloaded", retryAfterSeconds: 5 });
    expect(gateway.of("POST")).toHaveLength(1);
    expect(microphones[0]?.tracks[0]?.readyState).toBe("ended");
  });

  it("says that there is no gateway", async () => {
    gateway.answer = () => {
      throw new TypeError("fetch failed");
    };
    expect(await failure()).toMatchObject({ code: "unreachable" });
  });

  it("says that no path for media was found, and ends the session", async () => {
    expect(await failure()).toMatchObject({ code: "ice_failed" });
    expect(gateway.of("DELETE")).toHaveLength(1);
  });

  it("says that the microphone is hidden from pages without a secure context", async () => {
    vi.stubGlobal("navigator", {});
    vi.stubGlobal("isSecureContext", false);
    expect(await failure()).toMatchObject({ code: "insecure_context" });
    expect(gateway.seen).toHaveLength(0);
  });

  it("says that the microphone is blocked", async () => {
    const getUserMedia = (): Promise<never> => Promise.reject(Object.assign(new Error("no"), { name: "NotAllowedError" }));
    vi.stubGlobal("navigator", { mediaDevices: { getUserMedia } });
    expect(await failure()).toMatchObject({ code: "microphone_denied" });
  });
});
