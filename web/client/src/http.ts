/** Requests to the gateway: its address, the bearer token, a deadline for each, and refusals as {@link TidegateError}. */

import { TidegateError, errorOfResponse } from "./errors.js";

/** How long a request may take until its response's headers. */
export const REQUEST_TIMEOUT_MS = 10_000;

/** How long to look whether anything answers. */
const LOOK_TIMEOUT_MS = 2_000;

/** Where the gateway is and how to ask it. */
export class Http {
  /** The gateway's address, with a slash at the end. */
  readonly base: URL;
  readonly token: string | undefined;

  constructor(base: string | URL, token: string | undefined) {
    const url = new URL(base);
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    url.search = "";
    url.hash = "";
    this.base = url;
    this.token = token === "" ? undefined : token;
  }

  /** The address of a path such as `v1/pipelines`; `query` members that are undefined are left out. */
  url(path: string, query: Record<string, string | undefined> = {}): URL {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== "") url.searchParams.set(name, value);
    }
    return url;
  }

  /**
   * Sends a request.
   *
   * @throws TidegateError `unreachable` without an answer, or with one that this page may not read, `timeout` past the deadline, else the server's code.
   */
  async request(url: URL, init: RequestInit = {}, timeoutMs = REQUEST_TIMEOUT_MS): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token !== undefined) headers.set("Authorization", `Bearer ${this.token}`);
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), timeoutMs);
    try {
      const response = await fetch(url, { ...init, headers, signal: deadline.signal, cache: "no-store" });
      if (!response.ok) throw await errorOfResponse(response);
      return response;
    } catch (cause) {
      if (cause instanceof TidegateError) throw cause;
      if (deadline.signal.aborted) {
        throw new TidegateError("timeout", `no answer from ${url.host} in ${timeoutMs / 1000} s`, { cause, retryable: true });
      }
      throw new TidegateError("unreachable", await this.#whyUnreachable(url), { cause, retryable: true });
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * A browser shows a page nothing of an answer that is not for the page's origin, not even that there was one. A request that asks to
   * see nothing is let through, and fails only without an answer.
   */
  async #whyUnreachable(url: URL): Promise<string> {
    const page = globalThis.location?.origin;
    const nothing = `no answer from ${url.host}`;
    if (page === undefined || page === url.origin) return nothing;
    const look = { mode: "no-cors", cache: "no-store", signal: AbortSignal.timeout(LOOK_TIMEOUT_MS) } as const;
    const answers = await fetch(this.url("healthz"), look).then(() => true, () => false);
    if (!answers) return nothing;
    if (page === "null") return `${url.host} answers, but not to a page without an origin, such as one from a file: serve the page over http`;
    return `${url.host} answers, but not to pages of ${page}: the gateway's setting 'origins' must name it, TIDEGATE_ORIGINS=${page}`;
  }

  /** `GET` of a JSON document. */
  async json<T>(path: string): Promise<T> {
    const response = await this.request(this.url(path), { headers: { Accept: "application/json" } });
    try {
      return (await response.json()) as T;
    } catch (cause) {
      throw new TidegateError("internal", `${this.url(path).pathname} did not answer with JSON`, { cause });
    }
  }
}
