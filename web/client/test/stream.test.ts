import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TidegateClient } from "../src/client.js";
import type { Stream, StreamOptions } from "../src/stream.js";
import { FakeGateway } from "./fakes.js";

class FakeSocket extends EventTarget {
  static readonly OPEN = 1;
  static last: FakeSocket;
  readyState = 0;
  bufferedAmount = 0;
  binaryType = "blob";
  readonly sent: unknown[] = [];
  constructor(
    readonly url: URL,
    readonly protocols: string[],
  ) {
    super();
    FakeSocket.last = this;
  }
  send(data: string | ArrayBuffer): void {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : data);
  }
  close(): void {
    this.readyState = 3;
  }
  open(): void {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }
  hear(data: unknown): void {
    this.dispatchEvent(Object.assign(new Event("message"), { data: data instanceof ArrayBuffer ? data : JSON.stringify(data) }));
  }
  shut(code: number, reason: string): void {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }
}

beforeEach(() => vi.stubGlobal("WebSocket", FakeSocket));
afterEach(() => vi.unstubAllGlobals());

function stream(options: Partial<StreamOptions> = {}, token = "secret"): Stream {
  return new TidegateClient({ url: "https://gateway.example/", token }).stream({ pipeline: "echo", ...options });
}

const OPENED = { opened: { session_id: "s", ports: [], features: [], limits: {} } };

describe("a stream", () => {
  it("offers the token beside its subprotocol, since a browser can set no headers", () => {
    stream();
    expect(FakeSocket.last.url.href).toBe("wss://gateway.example/v1/pipelines/echo/ws");
    expect(FakeSocket.last.protocols).toEqual(["tidegate.v1.json", "tidegate.bearer.secret"]);
    stream({}, "");
    expect(FakeSocket.last.protocols).toEqual(["tidegate.v1.json"]);
  });

  it("begins with what it opens, and is ready when that is open", async () => {
    const opened = stream({
      session: "standup",
      as: "a",
      mode: "waits",
      parameters: { voice: "es" },
      inputs: { mic: { codec: "pcm_s16", sample_rate: 16000, channels: 1 } },
      raw: { input: "mic", output: "speaker" },
    });
    FakeSocket.last.open();
    expect(FakeSocket.last.sent).toEqual([
      {
        open: {
          pipeline: "echo",
          mode: "waits",
          features: [],
          parameters: { voice: "es" },
          session: "standup",
          as: ["a"],
          inputs: [{ port: "mic", audio: { codec: "pcm_s16", sample_rate: 16000, channels: 1 } }],
          raw: { input: "mic", output: "speaker" },
        },
      },
    ]);
    FakeSocket.last.hear(OPENED);
    await expect(opened.ready).resolves.toMatchObject({ session_id: "s" });
  });

  it("numbers frames per port, and sends none before it is open", () => {
    const opened = stream();
    expect(() => opened.sendText("prompt", "early")).toThrowError("not open");
    FakeSocket.last.open();
    opened.sendText("prompt", "one");
    opened.send("prompt", { text: { text: "two" } }, { media_time: 20_000 });
    opened.interrupt();
    opened.end("prompt");
    opened.sendBinary(new Uint8Array([1, 2]));
    expect(FakeSocket.last.sent.slice(1)).toMatchObject([
      { frame: { port: "prompt", seq: 1, final: true } },
      { frame: { port: "prompt", seq: 2, media_time: 20_000 } },
      { interrupt: {} },
      { end: { port: "prompt" } },
      new Uint8Array([1, 2]),
    ]);
  });

  it("tells frames, captions, raw audio and the end, once", () => {
    const opened = stream();
    const told: unknown[] = [];
    opened.addEventListener("frame", ({ detail }) => told.push(detail.seq));
    opened.addEventListener("caption", ({ detail }) => told.push(detail.text));
    opened.addEventListener("binary", ({ detail }) => told.push(detail.byteLength));
    opened.addEventListener("ended", ({ detail }) => told.push(detail.reason, "error" in detail));
    FakeSocket.last.open();
    FakeSocket.last.hear({ frame: { port: "captions", seq: 1, media_time: 0, utterance: 1, text: { text: "hi" } } });
    FakeSocket.last.hear(new ArrayBuffer(640));
    FakeSocket.last.hear({ ended: { reason: "done" } });
    FakeSocket.last.shut(1000, "");
    expect(told).toEqual([1, "hi", 640, "done", false]);
  });

  it("that the server refuses says why", async () => {
    const opened = stream();
    FakeSocket.last.open();
    FakeSocket.last.hear({ error: { code: "unknown_pipeline", message: "there is no echo" } });
    FakeSocket.last.shut(4404, "unknown_pipeline");
    await expect(opened.ready).rejects.toMatchObject({ code: "unknown_pipeline" });
  });

  /** As a browser tells that an upgrade failed: by nothing but that it did. */
  const fail = (): void => {
    FakeSocket.last.dispatchEvent(new Event("error"));
    FakeSocket.last.shut(1006, "");
  };

  it("that is refused before it opens says why, though browsers hide the answer to an upgrade", async () => {
    const gateway = new FakeGateway();
    gateway.answer = () => Response.json({ code: "unknown_pipeline", detail: "no pipeline 'echo'", retryable: false }, { status: 404 });
    vi.stubGlobal("fetch", gateway.fetch);
    const opened = stream();
    const told: string[] = [];
    opened.addEventListener("error", ({ detail }) => told.push(detail.code));
    opened.addEventListener("ended", ({ detail }) => told.push(`ended: ${detail.reason}, ${detail.error?.message}`));
    fail();
    await expect(opened.ready).rejects.toMatchObject({ code: "unknown_pipeline", status: 404, retryable: false, message: "no pipeline 'echo'" });
    expect(gateway.seen).toMatchObject([{ method: "GET", path: "/v1/pipelines/echo" }]);
    expect(gateway.seen[0]?.headers.get("Authorization")).toBe("Bearer secret");
    expect(told).toEqual(["unknown_pipeline", "ended: unknown_pipeline, no pipeline 'echo'"]);
  });

  it("that never comes up says whether anything answers", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
    const down = stream();
    fail();
    await expect(down.ready).rejects.toMatchObject({ code: "unreachable", retryable: true, message: "no answer from gateway.example" });
    vi.stubGlobal("fetch", async () => Response.json({}));
    const blocked = stream();
    fail();
    await expect(blocked.ready).rejects.toMatchObject({ code: "unreachable", message: expect.stringContaining("proxy") });
  });

  it("that its owner closes before it is open asks nothing more", () => {
    const gateway = new FakeGateway();
    vi.stubGlobal("fetch", gateway.fetch);
    stream().close();
    fail();
    expect(gateway.seen).toEqual([]);
  });

  it("that breaks later is a lost connection", () => {
    const opened = stream();
    const told: string[] = [];
    opened.addEventListener("error", ({ detail }) => told.push(detail.code));
    opened.addEventListener("ended", ({ detail }) => told.push(detail.reason, String(detail.error?.code)));
    FakeSocket.last.open();
    FakeSocket.last.hear(OPENED);
    fail();
    expect(told).toEqual(["network", "closed with code 1006", "network"]);
  });
});
