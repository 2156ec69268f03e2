import { afterEach, describe, expect, it, vi } from "vitest";
import readme from "../README.md?raw";
import { TidegateClient } from "../src/client.js";
import { FakeConnection, FakeTrack, stubBrowser } from "./fakes.js";

afterEach(() => vi.unstubAllGlobals());

describe("the README's voice client", () => {
  const code = /```js\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";

  it("has at most twenty lines", () => {
    expect(code.trimEnd().split("\n").filter((line) => line !== "").length).toBeLessThanOrEqual(20);
  });

  it("talks, plays, shows captions and stops", async () => {
    const { gateway } = stubBrowser();
    const elements: Record<string, Record<string, unknown>> = { talk: {}, stop: {}, player: { play: vi.fn() }, captions: {} };
    const document = { getElementById: (id: string) => elements[id] };
    const log = { log: vi.fn(), error: vi.fn() };
    const [importLine = "", ...rest] = code.split("\n");
    expect(importLine).toBe('import { TidegateClient } from "@tidegate/client";');
    new Function("TidegateClient", "document", "console", rest.join("\n"))(TidegateClient, document, log);
    (elements["talk"]?.["onclick"] as () => void)();
    await vi.waitFor(() => expect(FakeConnection.last.remote).toHaveLength(1));
    FakeConnection.last.become("connected");
    FakeConnection.last.hearTrack(new FakeTrack("audio"));
    FakeConnection.last.channel.hear({ frame: { port: "captions", seq: 1, media_time: 0, text: { text: "hello" } } });
    expect(elements["player"]?.["play"]).toHaveBeenCalledOnce();
    expect(elements["captions"]?.["textContent"]).toBe("hello");
    (elements["stop"]?.["onclick"] as () => void)();
    await vi.waitFor(() => expect(gateway.of("DELETE")).toHaveLength(1));
    expect(log.error).not.toHaveBeenCalled();
    expect(log.log).toHaveBeenCalledOnce();
  });
});
