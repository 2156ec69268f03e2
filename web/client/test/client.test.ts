import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TidegateClient } from "../src/client.js";
import { FakeGateway } from "./fakes.js";

let gateway: FakeGateway;

beforeEach(() => {
  gateway = new FakeGateway();
  vi.stubGlobal("fetch", gateway.fetch);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const client = (url = "http://gateway.example/behind/proxy?x=1#y"): TidegateClient => new TidegateClient({ url, token: "secret" });

describe("the client", () => {
  it("asks below the address that it was given, with its token", async () => {
    gateway.answer = () => Response.json({ pipelines: [{ name: "echo" }] });
    expect(await client().pipelines()).toEqual([{ name: "echo" }]);
    expect(gateway.seen[0]).toMatchObject({ method: "GET", path: "/behind/proxy/v1/pipelines" });
    expect(gateway.seen[0]?.headers.get("Authorization")).toBe("Bearer secret");
  });

  it("escapes names", async () => {
    gateway.answer = () => Response.json({});
    await client().describe("a/b c");
    await client().session("x?y");
    await client().endSession("../z");
    expect(gateway.seen.map((request) => `${request.method} ${request.path}`)).toEqual([
      "GET /behind/proxy/v1/pipelines/a%2Fb%20c",
      "GET /behind/proxy/v1/sessions/x%3Fy",
      "DELETE /behind/proxy/v1/sessions/..%2Fz",
    ]);
  });

  it("executes frames and names the port of each that comes out", async () => {
    gateway.answer = () => Response.json({ outputs: { said: [{ seq: 1, media_time: 0, text: { text: "hola" } }] } });
    const outputs = await client().execute("translate", { heard: [{ text: { text: "hello" } }] }, { to: "es" });
    expect(JSON.parse(gateway.seen[0]?.body ?? "")).toEqual({ inputs: { heard: [{ text: { text: "hello" } }] }, parameters: { to: "es" } });
    expect(outputs).toEqual({ said: [{ port: "said", seq: 1, media_time: 0, text: { text: "hola" } }] });
  });

  it("gives up on a gateway that does not answer in time", async () => {
    vi.useFakeTimers();
    vi.stubGlobal("fetch", (_url: URL, { signal }: { signal: AbortSignal }) => {
      return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError"))));
    });
    const failed = client().sessions().catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await failed).toMatchObject({ code: "timeout", retryable: true });
  });

  it("tells a gateway that is down from one whose answers are not for this page", async () => {
    const down = () => Promise.reject(new TypeError("Failed to fetch"));
    const message = async (origin: string | undefined, opaque: () => Promise<Response>): Promise<string> => {
      vi.stubGlobal("location", origin === undefined ? undefined : { origin });
      vi.stubGlobal("fetch", (url: URL, init: RequestInit) => (init.mode === "no-cors" && url.pathname === "/behind/proxy/healthz" ? opaque() : down()));
      const error: unknown = await client().pipelines().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "unreachable", retryable: true });
      return (error as Error).message;
    };
    const up = async () => new Response();
    const none = "no answer from gateway.example";
    expect(await message("http://app.example", down)).toBe(none);
    expect(await message("http://app.example", up)).toContain("TIDEGATE_ORIGINS=http://app.example");
    expect(await message("null", up)).toContain("serve the page over http");
    expect(await message("http://gateway.example", up)).toBe(none);
    expect(await message(undefined, up)).toBe(none);
  });

  it("says so where JSON was due and a proxy answered", async () => {
    gateway.answer = () => new Response("<html>");
    await expect(client().sessions()).rejects.toMatchObject({ code: "internal" });
  });
});
