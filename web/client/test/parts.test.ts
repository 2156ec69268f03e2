import { describe, expect, it } from "vitest";
import { Captions } from "../src/captions.js";
import { TidegateError, errorCode, errorOfMessage, errorOfMicrophone, errorOfResponse, retryAfterSeconds } from "../src/errors.js";
import { iceServersOfLink } from "../src/link.js";
import { type Frame, parseServerMessage } from "../src/messages.js";
import { readFragment, restartedAnswer, writeFragment } from "../src/sdpfrag.js";

const OFFER = [
  "v=0",
  "o=- 1 2 IN IP4 127.0.0.1",
  "s=-",
  "t=0 0",
  "a=group:BUNDLE 0 1",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111",
  "a=ice-ufrag:abcd",
  "a=ice-pwd:0123456789012345678901",
  "a=mid:0",
  "m=application 50889 UDP/DTLS/SCTP webrtc-datachannel",
  "a=ice-ufrag:abcd",
  "a=ice-pwd:0123456789012345678901",
  "a=mid:1",
  "",
].join("\r\n");

describe("Link", () => {
  it("gives the ICE servers with their credentials and leaves other relations out", () => {
    const header =
      '<stun:stun.example.net>; rel="ice-server", ' +
      '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="a;b,c"; credential="q\\"uote"; credential-type="password", ' +
      '<https://example.net/next>; rel="next"';
    expect(iceServersOfLink(header)).toEqual([
      { urls: "stun:stun.example.net" },
      { urls: "turn:turn.example.net?transport=udp", username: "a;b,c", credential: 'q"uote' },
    ]);
  });

  it("takes nothing from what is not a link", () => {
    expect(iceServersOfLink("stun:stun.example.net; rel=ice-server")).toEqual([]);
    expect(iceServersOfLink("")).toEqual([]);
    expect(iceServersOfLink(null)).toEqual([]);
  });
});

describe("SDP fragment", () => {
  it("puts each candidate under its own media section", () => {
    const text = writeFragment(OFFER, [{ candidate: "candidate:1 1 udp 1 192.0.2.1 5000 typ host", sdpMid: "1" }], true);
    expect(text.split("\r\n")).toEqual([
      "a=ice-ufrag:abcd",
      "a=ice-pwd:0123456789012345678901",
      "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
      "a=mid:1",
      "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host",
      "a=end-of-candidates",
      "",
    ]);
  });

  it("names the first section when there are no candidates", () => {
    expect(writeFragment(OFFER, [], false)).toContain("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n");
  });

  it("is read back as it was written", () => {
    const candidates = [
      { candidate: "candidate:1 1 udp 1 192.0.2.1 5000 typ host", sdpMid: "0" },
      { candidate: "candidate:2 1 udp 1 192.0.2.2 5000 typ host", sdpMid: "1" },
    ];
    expect(readFragment(writeFragment(OFFER, candidates, true))).toEqual({
      ufrag: "abcd",
      pwd: "0123456789012345678901",
      candidates,
      endOfCandidates: true,
    });
  });

  it("replaces credentials and candidates of an answer after a restart", () => {
    const answer = OFFER.replace("a=mid:0", "a=mid:0\r\na=candidate:old 1 udp 1 192.0.2.9 1 typ host\r\na=end-of-candidates");
    const next = restartedAnswer(answer, {
      ufrag: "new1",
      pwd: "new-password-new-passwor",
      candidates: [{ candidate: "candidate:9 1 udp 1 192.0.2.3 7000 typ host", sdpMid: "0" }],
      endOfCandidates: true,
    });
    expect(next).not.toContain("old");
    expect(next).not.toContain("abcd");
    expect(next.match(/a=ice-ufrag:new1\r\n/g)).toHaveLength(2);
    expect(next.indexOf("candidate:9")).toBeLessThan(next.indexOf("m=application"));
    expect(next.split("\r\n").every((line) => !line.includes("\n"))).toBe(true);
  });

  it("without credentials is none", () => {
    expect(readFragment("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n")).toBeNull();
  });
});

describe("errors", () => {
  it("come from problem details with what they say", async () => {
    const body = { title: "busy", detail: "64 of 64 sessions run", code: "overloaded", retryable: true, hop: "stt", endpoint: "http://a:1" };
    const response = new Response(JSON.stringify(body), { status: 503, headers: { "Retry-After": "7", "Content-Type": "application/problem+json" } });
    expect(await errorOfResponse(response)).toMatchObject({
      code: "overloaded",
      message: "64 of 64 sessions run",
      status: 503,
      retryable: true,
      retryAfterSeconds: 7,
      hop: "stt",
      endpoint: "http://a:1",
    });
  });

  it("come from the status where a proxy answers", async () => {
    expect(await errorOfResponse(new Response("<h1>no</h1>", { status: 401 }))).toMatchObject({ code: "unauthenticated", retryable: false });
    expect(await errorOfResponse(new Response("", { status: 502 }))).toMatchObject({ code: "internal", message: "the server answered 502" });
  });

  it("with a code of a later version read as internal and keep what the server wrote", async () => {
    const response = new Response(JSON.stringify({ code: "out_of_tea", title: "no tea" }), { status: 500 });
    expect(await errorOfResponse(response)).toMatchObject({ code: "internal", serverCode: "out_of_tea", message: "no tea" });
    expect(errorCode("out_of_tea")).toBe("internal");
  });

  it("tell the ways that a microphone fails apart", () => {
    const code = (name: string): string => errorOfMicrophone(Object.assign(new Error("x"), { name })).code;
    expect(code("NotAllowedError")).toBe("microphone_denied");
    expect(code("OverconstrainedError")).toBe("microphone_missing");
    expect(code("NotFoundError")).toBe("microphone_missing");
    expect(code("NotReadableError")).toBe("microphone_busy");
  });

  it("read Retry-After as seconds or as a date", () => {
    const now = Date.parse("2026-01-01T00:00:00Z");
    expect(retryAfterSeconds("30", now)).toBe(30);
    expect(retryAfterSeconds("Thu, 01 Jan 2026 00:00:12 GMT", now)).toBe(12);
    expect(retryAfterSeconds("Wed, 31 Dec 2025 00:00:00 GMT", now)).toBe(0);
    expect(retryAfterSeconds("soon", now)).toBeUndefined();
    expect(retryAfterSeconds(null, now)).toBeUndefined();
  });

  it("are errors", () => {
    expect(new TidegateError("network", "gone")).toBeInstanceOf(Error);
  });
});

describe("server messages", () => {
  it("are read by their one key", () => {
    expect(parseServerMessage('{"ended":{"reason":"done"}}')).toEqual({ ended: { reason: "done" } });
  });

  it("that are not known are left", () => {
    for (const text of ["", "{", "[]", "null", "7", '{"later":{}}', '{"ended":7}', '{"ended":null}']) {
      expect(parseServerMessage(text), text).toBeNull();
    }
  });
});

describe("an error message", () => {
  it("gives an error with everything that it says", () => {
    const error = errorOfMessage({ code: "timeout", message: "late", fault: "worker", retryable: true, hop: "stt", phase: "gap", retry_after: 1_500_000 });
    expect(error).toMatchObject({ code: "timeout", fault: "worker", retryable: true, hop: "stt", phase: "gap", retryAfterSeconds: 2 });
  });
});

describe("captions", () => {
  const frame = (seq: number, utterance: number | undefined, revision: number, text: string, port = "captions"): Frame => ({
    port,
    seq,
    media_time: 0,
    ...(utterance === undefined ? {} : { utterance }),
    revision,
    text: { text },
  });

  it("drop a revision that a later one has superseded", () => {
    const captions = new Captions();
    expect(captions.take(frame(1, 3, 2, "ask not what"))?.text).toBe("ask not what");
    expect(captions.take(frame(2, 3, 1, "ask not"))).toBeNull();
    expect(captions.take(frame(3, 3, 3, "ask not what your"))?.revision).toBe(3);
  });

  it("say how long the gateway had them, where it says so", () => {
    const captions = new Captions();
    expect(captions.take({ ...frame(1, 1, 1, "ask"), service: 812_000 })?.service).toBe(812_000);
    expect(captions.take(frame(2, 1, 2, "ask not"))).not.toHaveProperty("service");
  });

  it("keep ports apart", () => {
    const captions = new Captions();
    captions.take(frame(1, 1, 5, "heard", "a"));
    expect(captions.take(frame(1, 1, 0, "said", "b"))?.text).toBe("said");
  });

  it("remember a quiet port however much another says", () => {
    const captions = new Captions();
    captions.take(frame(1, 1, 5, "heard", "quiet"));
    for (let seq = 1; seq <= 200; seq++) captions.take(frame(seq, undefined, 0, "and", "chatty"));
    expect(captions.take(frame(2, 1, 4, "hear", "quiet"))).toBeNull();
  });

  it("count a text without an utterance as one of its own", () => {
    const captions = new Captions();
    const first = captions.take(frame(1, undefined, 0, "one"));
    const second = captions.take(frame(2, undefined, 0, "two"));
    expect(first?.utterance).not.toBe(second?.utterance);
    expect(first?.final).toBe(true);
  });

  it("take no frame of another kind", () => {
    expect(new Captions().take({ port: "events", seq: 1, media_time: 0, json: { value: 1 } })).toBeNull();
  });
});
