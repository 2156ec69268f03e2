/** The mock's peer: takes offers, echoes audio, and speaks the native stream's messages on the data channel. */

const SENTENCES = [
  ["And so, my fellow Americans,", "Y así, mis compatriotas,"],
  ["ask not what your country can do for you,", "no preguntéis qué puede hacer vuestro país por vosotros,"],
  ["ask what you can do for your country.", "preguntad qué podéis hacer vosotros por vuestro país."],
];

/** Kept, or they would be collected and fall silent. */
const players = new Set();

/** The connections, for those that restart. */
const connections = new Map();

/** The connection's description once it has all its candidates. */
async function described(connection) {
  await connection.setLocalDescription(await connection.createAnswer());
  await new Promise((resolve) => {
    if (connection.iceGatheringState === "complete") return resolve();
    connection.addEventListener("icegatheringstatechange", () => connection.iceGatheringState === "complete" && resolve());
  });
  return connection.localDescription.sdp;
}

async function restart({ id, restart }) {
  const connection = connections.get(id);
  const value = (text, name) => new RegExp(`^a=${name}:(.*?)\\s*$`, "m").exec(text)[1];
  let sdp = connection.remoteDescription.sdp;
  for (const name of ["ice-ufrag", "ice-pwd"]) sdp = sdp.replaceAll(`a=${name}:${value(sdp, name)}`, `a=${name}:${value(restart, name)}`);
  await connection.setRemoteDescription({ type: "offer", sdp: sdp.replace(/^a=candidate.*\r\n/gm, "") });
  const lines = (await described(connection)).split("\r\n");
  const kept = lines.filter((line, index) => /^a=(ice-ufrag|ice-pwd|candidate)/.test(line) && lines.indexOf(line) === index);
  await fetch(`/dev/answer/${id}`, { method: "POST", body: `${kept.join("\r\n")}\r\n` });
}

async function answer({ id, pipeline, sdp }) {
  const connection = new RTCPeerConnection();
  connection.addEventListener("track", ({ track, transceiver }) => {
    if (track.kind !== "audio") return;
    // Chromium decodes a remote track for Web Audio only while an element plays it.
    const stream = new MediaStream([track]);
    const player = Object.assign(new Audio(), { srcObject: stream, muted: true });
    void player.play();
    const context = new AudioContext();
    const source = context.createMediaStreamSource(stream);
    const sink = context.createMediaStreamDestination();
    source.connect(context.createDelay(1)).connect(sink);
    transceiver.direction = "sendrecv";
    void transceiver.sender.replaceTrack(sink.stream.getAudioTracks()[0]);
    players.add(player);
  });
  connection.addEventListener("datachannel", ({ channel }) => {
    const send = (message) => channel.readyState === "open" && channel.send(JSON.stringify(message));
    let seq = 0;
    const text = (port, utterance, revision, final, value) => {
      seq += 1;
      send({ frame: { port, seq, media_time: Math.round(performance.now() * 1000), utterance, revision, ...(final ? { final } : {}), text: { text: value } } });
    };
    channel.addEventListener("open", () => {
      send({ opened: { session_id: id, ports: [{ name: "mic", kind: "audio" }, { name: "heard", kind: "text" }], features: [], limits: {} } });
      if (pipeline !== "interpreter") return;
      let step = 0;
      const timer = setInterval(() => {
        if (channel.readyState !== "open") return clearInterval(timer);
        const index = Math.floor(step / 4) % SENTENCES.length;
        const utterance = Math.floor(step / 4) + 1;
        const [heard, said] = SENTENCES[index];
        const phase = step % 4;
        const words = heard.split(" ");
        if (phase < 3) text("heard", utterance, phase, phase === 2, words.slice(0, Math.ceil((words.length * (phase + 1)) / 3)).join(" "));
        else text("said", utterance, 0, true, said);
        step += 1;
      }, 700);
    });
    channel.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.interrupt) send({ interrupted: { port: "speaker", reason: "client" } });
      if (message.frame?.text) text("heard", 900 + message.frame.seq, 0, true, `You wrote: ${message.frame.text.text}`);
    });
  });
  await connection.setRemoteDescription({ type: "offer", sdp });
  connections.set(id, connection);
  await fetch(`/dev/answer/${id}`, { method: "POST", body: await described(connection) });
}

for (;;) {
  const response = await fetch("/dev/offer");
  const offer = await response.json();
  void (offer.restart === undefined ? answer(offer) : restart(offer));
}
