/** Pipelines of the mock, in the words of the HTTP API. */

const AUDIO_OPUS = { codec: "opus", sample_rate: 48000, channels: 1 };
const AUDIO_PCM = { codec: "pcm_f32", sample_rate: 16000, channels: 1 };
const port = (name, kind, format = null, extra = {}) => ({ name, kind, format, ...extra });
const hop = (id, type, placement = "in_place", inserted = false, timing = [0, 0, 0.4], kinds = ["audio", "audio"]) => ({
  id,
  type,
  placement,
  inserted,
  inputs: [port("in", kinds[0], kinds[0] === "audio" ? AUDIO_PCM : null)],
  outputs: [port("out", kinds[1], kinds[1] === "audio" ? AUDIO_PCM : null)],
  timing,
});
const queue = { frames: 64, bytes: 1048576, age_ms: 2000, when_full: "drop_oldest" };
const chain = (names, waits = []) =>
  names.slice(1).map((to, index) => ({
    from: { node: names[index], port: "" },
    to: { node: to, port: "" },
    queue: waits.includes(to) ? queue : null,
  }));
const conversions = () => [
  hop("dejitter", "audio.dejitter", "in_place", true, [18200, 0, 0.6]),
  hop("decode", "audio.decode", "in_place", true, [0, 0, 24]),
];
const encode = (id = "encode") => hop(id, "audio.encode", "in_place", true, [0, 0, 61]);

export const PIPELINES = [
  {
    name: "echo",
    description: "Sends every packet back as it came, without decoding.",
    shared: false,
    parameters: {},
    inputs: [port("mic", "audio", AUDIO_OPUS)],
    outputs: [port("speaker", "audio", AUDIO_OPUS)],
    hops: [hop("pass", "identity", "in_place", false, [0, 0, 0.09])],
    edges: chain(["mic", "pass", "speaker"]),
    interrupt: null,
  },
  {
    name: "interpreter",
    description: "Speech in English to speech in Spanish, with captions of both.",
    shared: false,
    parameters: { voice: { type: "string", default: "es", description: "The voice that speaks." } },
    inputs: [port("mic", "audio", AUDIO_OPUS)],
    outputs: [port("speaker", "audio", AUDIO_OPUS), port("heard", "text"), port("said", "text")],
    hops: [
      ...conversions(),
      hop("vad", "audio.vad", "in_place", false, [0, 0, 96]),
      hop("stt", "remote", "remote", false, [4100, 2300, 412000], ["audio", "text"]),
      hop("translate", "remote", "remote", false, [300, 900, 2100], ["text", "text"]),
      hop("tts", "remote", "remote", false, [1800, 1400, 118000], ["text", "audio"]),
      encode(),
    ],
    edges: [
      ...chain(["mic", "dejitter", "decode", "vad", "stt", "translate", "tts", "encode", "speaker"], ["stt", "translate", "tts"]),
      ...chain(["stt", "heard"]),
      ...chain(["translate", "said"]),
    ],
    interrupt: { on: "vad.speech_start", flush: ["tts"] },
  },
  {
    name: "clean-voice",
    description: "Takes noise out of a voice, finds speech in it, and sends it back with speech events.",
    shared: false,
    parameters: {},
    inputs: [port("mic", "audio", AUDIO_OPUS)],
    outputs: [port("speaker", "audio", AUDIO_OPUS), port("events", "json")],
    hops: [
      ...conversions(),
      hop("denoise", "audio.denoise", "offload", false, [42, 0, 97]),
      hop("vad", "audio.vad", "in_place", false, [0, 0, 96]),
      encode(),
    ],
    edges: [...chain(["mic", "dejitter", "decode", "denoise", "vad", "encode", "speaker"], ["denoise"]), ...chain(["vad", "events"])],
    interrupt: null,
  },
  {
    name: "conference",
    description: "Three seats in one session; each hears the others.",
    shared: true,
    parameters: {},
    inputs: ["a", "b", "c"].map((seat) => port(seat, "audio", AUDIO_OPUS)),
    outputs: ["a", "b", "c"].map((seat) => port(`${seat}_out`, "audio", AUDIO_OPUS, { for: seat })),
    hops: [
      ...["a", "b", "c"].map((seat) => hop(`decode_${seat}`, "audio.decode", "in_place", true, [12000, 0, 24])),
      ...["a", "b", "c"].map((seat) => hop(`mix_${seat}`, "audio.mix", "in_place", false, [0, 0, 3])),
      ...["a", "b", "c"].map((seat) => encode(`encode_${seat}`)),
    ],
    edges: [
      ...["a", "b", "c"].flatMap((seat) => chain([seat, `decode_${seat}`])),
      ...["a", "b", "c"].flatMap((to) => ["a", "b", "c"].filter((from) => from !== to).flatMap((from) => chain([`decode_${from}`, `mix_${to}`]))),
      ...["a", "b", "c"].flatMap((seat) => chain([`mix_${seat}`, `encode_${seat}`, `${seat}_out`])),
    ],
    interrupt: null,
  },
  {
    name: "speak",
    description: "Says what is written.",
    shared: false,
    parameters: {},
    inputs: [port("text", "text")],
    outputs: [port("speaker", "audio", AUDIO_OPUS)],
    hops: [hop("tts", "remote", "remote", false, [900, 1300, 84000], ["text", "audio"]), encode()],
    edges: chain(["text", "tts", "encode", "speaker"], ["tts"]),
    interrupt: null,
  },
];
