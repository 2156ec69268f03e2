/**
 * A stand-in for the gateway, for work on the page only: it serves `dist/` under the policy that the page is made for,
 * answers the HTTP API with invented figures, and hands WebRTC offers to a second page (`/dev/peer`), which echoes.
 *
 *     node dev/mock.mjs [PORT]     then open /dev/peer in one tab and / in another
 *
 * `POST /dev/fail {"path": "whip", "status": 503, "headers": {}, "body": {}}` makes paths that contain `path` fail.
 */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { PIPELINES } from "./pipelines.mjs";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2" };
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export function startMock(listenPort = 0) {
  const sessions = new Map();
  const offers = [];
  const waiting = [];
  const requests = [];
  let failure = null;
  let count = 0;

  const latency = (us, n) => (us === 0 ? null : { count: n, p50_us: us, p90_us: us * 1.35, p99_us: us * 2.1, max_us: us * 2.6 });
  const wobble = (us) => us * (0.9 + 0.2 * Math.random());
  /** Three endpoints, of which the first dies after ten seconds. */
  const pool = (seconds) => {
    const dead = seconds > 10;
    const names = ["http://10.0.0.3:7001", "http://10.0.0.4:7001", "http://stt.eu.example:7001"];
    const breaker = ["closed", "open", "half_open"][dead ? 1 + (Math.floor(seconds / 3) % 2) : 0];
    return {
      endpoint: names[dead ? 1 : 0],
      endpoints: names.map((endpoint, at) => ({ endpoint, up: at !== 0 || seconds < 13, breaker: at === 0 ? breaker : "closed", in_flight: at === 0 && dead ? 0 : 4 - at, latency_ms: at === 2 ? null : wobble(38 + 9 * at), weight: 1, current: at === (dead ? 1 : 0) })),
      failovers: dead ? 1 : 0,
      replayed_frames: dead ? 14 : 0,
    };
  };
  const addSession = (pipeline, extra = {}) => {
    count += 1;
    const id = `${(0x5e7a1000 + count * 7919).toString(16)}-4c1e-${String(count).padStart(4, "0")}`;
    sessions.set(id, { id, pipeline, transports: ["webrtc"], state: "running", started: Date.now(), ...extra });
    return id;
  };
  const row = ({ answer, started, ...session }) => ({ ...session, age_seconds: (Date.now() - started) / 1000 });
  const detail = (session) => {
    const pipeline = PIPELINES.find((one) => one.name === session.pipeline);
    const seconds = (Date.now() - session.started) / 1000;
    const surge = 1 + 0.5 * Math.max(0, Math.sin(seconds / 9)) ** 3;
    const frames = Math.round(seconds * 50);
    return {
      ...row(session),
      hops: pipeline.hops.map(({ timing: [queue, wire, service], ...hop }) => ({
        ...hop,
        ...(hop.id === "stt" ? pool(seconds) : {}),
        ...(hop.placement === "remote" && hop.id !== "stt" ? { endpoint: `http://10.0.0.${hop.id.length}:7001` } : {}),
        frames_in: frames,
        frames_out: frames,
        bytes_in: frames * 1280,
        bytes_out: frames * 1280,
        dropped: hop.id === "stt" && seconds > 20 ? { queue_full: Math.floor(seconds / 10) } : {},
        queue_frames: hop.placement === "remote" && surge > 1.25 ? Math.round(surge * 6) : 0,
        in_flight: hop.placement === "remote" ? 1 : 0,
        latency: {
          queue: latency(wobble(queue) * surge, frames),
          service: latency(wobble(service) * (hop.id === "stt" ? surge : 1), frames),
          wire: latency(wobble(wire), frames),
          first_output: hop.placement === "remote" ? latency(wobble(service * 0.7), frames) : null,
        },
      })),
      edges: pipeline.edges,
      inputs: pipeline.inputs,
      outputs: pipeline.outputs.map((port) => ({ ...port, ...(port.kind === "audio" ? { paced: true } : {}), frames, dropped: {}, queue_frames: port.kind === "audio" ? Math.round(12 * surge) : 0, queue: port.kind === "audio" ? latency(wobble(250_000) * surge, frames) : null })),
      webrtc: session.transports.includes("webrtc") ? { rtt_ms: wobble(14.2), jitter_ms: wobble(1.3), packets_lost: Math.floor(seconds / 15), jitter_buffer_ms: wobble(20), concealed_samples: Math.floor(seconds / 15) * 960 } : null,
      session_latency: latency((250_000 + pipeline.hops.reduce((sum, hop) => sum + hop.timing.reduce((a, b) => a + b, 0), 0)) * surge * wobble(1), frames),
    };
  };

  const body = (request) =>
    new Promise((resolve) => {
      let text = "";
      request.on("data", (chunk) => (text += chunk));
      request.on("end", () => resolve(text));
    });
  const send = (response, status, value, headers = {}) => {
    const json = typeof value === "object" && value !== null;
    response.writeHead(status, { "Content-Type": json ? (status >= 400 ? "application/problem+json" : "application/json") : "text/plain", ...headers });
    response.end(json ? JSON.stringify(value) : value);
  };
  const refuse = (response, status, code, detailText) =>
    send(response, status, { type: `https://tidegate.dev/errors/${code}`, title: code, status, detail: detailText, code, retryable: status >= 500 });

  /** Hands an offer or a restart to the peer's page; gives its answer. */
  const ask = (offer) => {
    const answered = new Promise((resolve) => (sessions.get(offer.id).answer = resolve));
    const poll = waiting.shift();
    if (poll === undefined) offers.push(offer);
    else send(poll, 200, offer);
    return answered;
  };

  async function api(request, response, path) {
    const [, kind, name, rest] = path.split("/").slice(1);
    if (kind === "pipelines" && name === undefined) {
      return send(response, 200, { pipelines: PIPELINES.map(({ name, description, shared, inputs, outputs }) => ({ name, description, digest: `sha256:${name}`, shared, inputs, outputs })) });
    }
    if (kind === "pipelines" && rest === undefined) {
      const pipeline = PIPELINES.find((one) => one.name === name);
      if (pipeline === undefined) return refuse(response, 404, "unknown_pipeline", `there is no pipeline ${name}`);
      return send(response, 200, { ...pipeline, digest: `sha256:${name}`, hops: pipeline.hops.map(({ timing, ...hop }) => hop) });
    }
    if (kind === "pipelines" && rest === "whip" && request.method === "POST") {
      const query = new URL(request.url, "http://mock").searchParams;
      const id = addSession(name, query.get("session") ? { key: query.get("session") } : {});
      const sdp = await ask({ id, pipeline: name, sdp: await body(request) });
      return send(response, 201, sdp, { "Content-Type": "application/sdp", Location: `/v1/whip/${id}`, ETag: `"${id}-1"`, "Tidegate-Session": id });
    }
    if (kind === "whip") {
      const text = await body(request);
      if (request.method === "DELETE") sessions.delete(name);
      requests.push({ method: request.method, path, text, ifMatch: request.headers["if-match"] });
      if (request.headers["if-match"] === "*") {
        const fragment = await ask({ id: name, restart: text });
        return send(response, 200, fragment, { "Content-Type": "application/trickle-ice-sdpfrag", ETag: `"${name}-2"` });
      }
      return send(response, request.method === "PATCH" ? 204 : 200, "");
    }
    if (kind === "sessions" && name === undefined) {
      return send(response, 200, { active: sessions.size, limit: 64, sessions: [...sessions.values()].map(row) });
    }
    if (kind === "sessions") {
      const session = sessions.get(name);
      if (session === undefined) return refuse(response, 404, "unknown_session", `there is no session ${name}`);
      if (request.method === "DELETE") {
        sessions.delete(name);
        return send(response, 204, "");
      }
      return send(response, 200, detail(session));
    }
    return refuse(response, 404, "bad_request", `nothing is at ${path}`);
  }

  async function dev(request, response, path) {
    if (path === "/dev/fail") {
      const text = await body(request);
      failure = text === "" ? null : JSON.parse(text);
      return send(response, 204, "");
    }
    if (path === "/dev/session") return send(response, 200, { id: addSession(...JSON.parse(await body(request))) });
    if (path === "/dev/requests") return send(response, 200, requests);
    if (path === "/dev/offer") {
      const offer = offers.shift();
      if (offer === undefined) return waiting.push(response);
      return send(response, 200, offer);
    }
    if (path.startsWith("/dev/answer/")) {
      sessions.get(path.slice("/dev/answer/".length))?.answer(await body(request));
      return send(response, 204, "");
    }
    return file(response, path === "/dev/peer" ? "../dev/peer.html" : `..${path}`);
  }

  async function file(response, path) {
    const url = new URL(path, new URL("../dist/", import.meta.url));
    try {
      const content = await readFile(fileURLToPath(url));
      response.writeHead(200, { "Content-Type": TYPES[extname(url.pathname)] ?? "application/octet-stream", "Content-Security-Policy": POLICY });
      response.end(content);
    } catch {
      send(response, 404, "not found");
    }
  }

  const server = createServer((request, response) => {
    const path = new URL(request.url, "http://mock").pathname;
    if (failure !== null && path.startsWith("/v1/") && path.includes(failure.path)) {
      return send(response, failure.status, failure.body ?? {}, failure.headers ?? {});
    }
    const handler = path.startsWith("/v1/") ? api(request, response, path) : path.startsWith("/dev/") ? dev(request, response, path) : file(response, path === "/" ? "index.html" : `.${path}`);
    Promise.resolve(handler).catch((error) => send(response, 500, String(error)));
  });
  return new Promise((resolve) => server.listen(listenPort, "127.0.0.1", () => resolve({ server, url: `http://127.0.0.1:${server.address().port}/` })));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await startMock(Number(process.argv[2] ?? 8080));
  process.stdout.write(`the page: ${url}\nits peer: ${url}dev/peer\n`);
}
