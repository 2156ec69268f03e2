/** One WHIP session: the requests of RFC 9725, without the peer connection. */

import { TidegateError } from "./errors.js";
import type { Http } from "./http.js";
import { iceServersOfLink } from "./link.js";
import { type Fragment, readFragment } from "./sdpfrag.js";

const SDP_FRAGMENT = "application/trickle-ice-sdpfrag";

/** What the gateway answered to an offer. */
export interface WhipAnswer {
  sdp: string;
  iceServers: RTCIceServer[];
  /** The id of the Tidegate session behind it. */
  sessionId: string | null;
}

/** A WHIP session that the gateway has opened. */
export class Whip {
  readonly #http: Http;
  readonly #location: URL;
  #etag: string | null;
  #trickles = true;

  private constructor(http: Http, location: URL, etag: string | null) {
    this.#http = http;
    this.#location = location;
    this.#etag = etag;
  }

  /** Posts an offer to `endpoint`. */
  static async open(http: Http, endpoint: URL, offer: string): Promise<{ whip: Whip; answer: WhipAnswer }> {
    const response = await http.request(endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", Accept: "application/sdp" },
      body: offer,
    });
    const location = response.headers.get("Location");
    if (location === null) throw new TidegateError("internal", "the answer to the offer has no Location");
    const whip = new Whip(http, new URL(location, response.url || endpoint), response.headers.get("ETag"));
    const answer = {
      sdp: await response.text(),
      iceServers: iceServersOfLink(response.headers.get("Link")),
      sessionId: response.headers.get("Tidegate-Session"),
    };
    return { whip, answer };
  }

  /** Sends candidates. A gateway that takes none, or that has moved on to newer credentials, is not asked again. */
  async trickle(fragment: string): Promise<void> {
    if (!this.#trickles) return;
    const headers: Record<string, string> = { "Content-Type": SDP_FRAGMENT };
    if (this.#etag !== null) headers["If-Match"] = this.#etag;
    try {
      await this.#http.request(this.#location, { method: "PATCH", headers, body: fragment });
    } catch (error) {
      const status = error instanceof TidegateError ? error.status : undefined;
      if (status === 405 || status === 415 || status === 501) this.#trickles = false;
      else if (status !== 412 && status !== 428) throw error;
    }
  }

  /** Restarts ICE with a fragment of new credentials; gives the gateway's. */
  async restart(fragment: string): Promise<Fragment> {
    const response = await this.#http.request(this.#location, {
      method: "PATCH",
      headers: { "Content-Type": SDP_FRAGMENT, "If-Match": "*" },
      body: fragment,
    });
    const answer = readFragment(await response.text());
    if (answer === null) throw new TidegateError("internal", "the answer to the ICE restart has no credentials");
    this.#etag = response.headers.get("ETag") ?? this.#etag;
    return answer;
  }

  /** Ends the session. Works while the page goes away, and does not say whether the gateway still knew the session. */
  async delete(): Promise<void> {
    await this.#http.request(this.#location, { method: "DELETE", keepalive: true }).catch(() => undefined);
  }
}
