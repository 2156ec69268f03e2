// WHIP and WHEP by hand, in a browser's page: the requests of RFC 9725 in the fewest lines, with nothing in them of Tidegate's own
// client, so that what it and the gateway might both have misread shows.

/** Opens an empty document of the gateway's own origin with `window.plain` in it. */
export async function blank(page, gateway) {
  await page.goto(new URL("/healthz", gateway).href);
  await page.evaluate(plain);
}

function plain() {
  const lines = (text, start) => text.split("\r\n").filter((line) => line.startsWith(start));
  const complete = (pc) =>
    new Promise((resolve) => {
      const look = () => pc.iceGatheringState === "complete" && resolve();
      pc.addEventListener("icegatheringstatechange", look);
      look();
    });
  const answered = async (response, status) => {
    if (response.status !== status) throw new Error(`${response.status}: ${await response.text()}`);
    return response;
  };

  /** Offers by one request with all candidates in it. `tone` is the pitch to say, none to listen only. */
  const open = async (url, { tone, config } = {}) => {
    const pc = new RTCPeerConnection(config);
    const call = { pc, pitch: null };
    if (tone) {
      const context = new AudioContext();
      const [oscillator, gain, out] = [context.createOscillator(), context.createGain(), context.createMediaStreamDestination()];
      oscillator.frequency.value = tone;
      gain.gain.value = 0.3;
      oscillator.connect(gain).connect(out);
      oscillator.start();
      call.pitch = oscillator.frequency;
      pc.addTransceiver(out.stream.getAudioTracks()[0], { direction: "sendrecv" });
    } else {
      pc.addTransceiver("audio", { direction: "recvonly" });
    }
    pc.addEventListener("track", ({ track }) => {
      // What nothing plays, Chromium does not decode.
      call.player = new Audio();
      call.player.srcObject = new MediaStream([track]);
      void call.player.play();
    });
    await pc.setLocalDescription();
    await complete(pc);
    const headers = { "content-type": "application/sdp" };
    const body = pc.localDescription.sdp;
    let first = await fetch(url, { method: "POST", headers, body });
    while (first.status === 409 && first.headers.has("retry-after")) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * Number(first.headers.get("retry-after"))));
      first = await fetch(url, { method: "POST", headers, body });
    }
    const response = await answered(first, 201);
    call.answer = await response.text();
    call.resource = new URL(response.headers.get("location"), url).href;
    call.etag = response.headers.get("etag");
    call.link = response.headers.get("link") ?? "";
    call.session = response.headers.get("tidegate-session");
    await pc.setRemoteDescription({ type: "answer", sdp: call.answer });
    return call;
  };

  /** RFC 9725 §4.3.3: new credentials with all their candidates, and the server's in answer. */
  const restart = async (call, config) => {
    const { pc } = call;
    if (config) pc.setConfiguration({ ...pc.getConfiguration(), ...config });
    await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
    await complete(pc);
    const sdp = pc.localDescription.sdp;
    const [media] = lines(sdp, "m=");
    const body = [lines(sdp, "a=ice-ufrag:")[0], lines(sdp, "a=ice-pwd:")[0], media, lines(sdp, "a=mid:")[0]]
      .concat(lines(sdp, "a=candidate:"), "a=end-of-candidates", "")
      .join("\r\n");
    const headers = { "content-type": "application/trickle-ice-sdpfrag", "if-match": "*" };
    const response = await answered(await fetch(call.resource, { method: "PATCH", headers, body }), 200);
    const fragment = await response.text();
    const before = call.etag;
    call.etag = response.headers.get("etag");
    const credentials = lines(fragment, "a=ice-");
    const kept = call.answer.split("\r\n").filter((line) => !/^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/.test(line));
    const first = kept.findIndex((line) => line.startsWith("a=mid:"));
    kept.splice(first + 1, 0, ...credentials, ...lines(fragment, "a=candidate:"));
    call.answer = kept.join("\r\n");
    await pc.setRemoteDescription({ type: "answer", sdp: call.answer });
    const again = { ...headers, "if-match": before };
    const stale = await fetch(call.resource, { method: "PATCH", headers: again, body });
    return { etags: [before, call.etag], stale: stale.status };
  };

  /** The path that media takes: type and fragment of both ends. */
  const path = async ({ pc }) => {
    const stats = await pc.getStats();
    const transport = [...stats.values()].find((entry) => entry.type === "transport" && entry.selectedCandidatePairId);
    const pair = transport && stats.get(transport.selectedCandidatePairId);
    const [local, remote] = [pair && stats.get(pair.localCandidateId), pair && stats.get(pair.remoteCandidateId)];
    return local && remote && { local: local.candidateType, relay: local.relayProtocol, remote: remote.usernameFragment, to: remote.port };
  };

  window.plain = { open, restart, path };
}
