/** Sound on this machine: devices, levels, and what is played. */

import { signal } from "@preact/signals";
import { Needle, levelDb } from "../model/levels.js";

/** Microphones and loudspeakers; their labels are empty until the microphone was allowed once. */
export const microphones = signal<MediaDeviceInfo[]>([]);
export const speakers = signal<MediaDeviceInfo[]>([]);
/** The chosen ones; empty for the system's. */
export const microphoneId = signal("");
export const speakerId = signal("");
/** The browser waits for a click before it plays. */
export const playBlocked = signal(false);
/** The remote stream carries video. */
export const hasVideo = signal(false);

/** Reads the list of devices again. */
export async function listDevices(): Promise<void> {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  microphones.value = devices.filter((device) => device.kind === "audioinput" && device.deviceId !== "");
  speakers.value = devices.filter((device) => device.kind === "audiooutput" && device.deviceId !== "");
}

/** What the microphone is opened with. */
export function microphoneConstraints(): MediaTrackConstraints {
  return {
    echoCancellation: true,
    noiseSuppression: false,
    autoGainControl: false,
    ...(microphoneId.value === "" ? {} : { deviceId: { exact: microphoneId.value } }),
  };
}

/** One meter's measurement. */
export interface Meter {
  needle: Needle;
  /** Looks at the sound now; `false` if there is none to look at. */
  measure(seconds: number): boolean;
  /** The level now, in dBFS; `null` if there is no sound to look at. */
  level(): number | null;
  attach(stream: MediaStream | null): void;
}

let context: AudioContext | null = null;

/** Call from a click: browsers start sound then only. */
export function wakeSound(): void {
  context ??= new AudioContext();
  void context.resume();
}

function meter(): Meter {
  const needle = new Needle();
  const samples = new Float32Array(1024);
  let analyser: AnalyserNode | null = null;
  let source: MediaStreamAudioSourceNode | null = null;
  return {
    needle,
    measure(seconds) {
      if (analyser === null) {
        needle.take(-Infinity, seconds);
        return false;
      }
      analyser.getFloatTimeDomainData(samples);
      needle.take(levelDb(samples), seconds);
      return true;
    },
    level() {
      if (analyser === null) return null;
      analyser.getFloatTimeDomainData(samples);
      return levelDb(samples);
    },
    attach(stream) {
      source?.disconnect();
      source = null;
      analyser = null;
      if (stream === null || stream.getAudioTracks().length === 0 || context === null) return;
      analyser = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0 });
      source = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
      source.connect(analyser);
    },
  };
}

/** The microphone's level. */
export const inputMeter = meter();
/** The level of what the pipeline says. */
export const outputMeter = meter();

/** What plays. It is in the page only while it carries video. */
export const player = document.createElement("video");
player.autoplay = true;
player.playsInline = true;

/** Plays a stream, or nothing. */
export function play(stream: MediaStream | null): void {
  player.srcObject = stream;
  hasVideo.value = stream?.getVideoTracks().length ? true : false;
  playBlocked.value = false;
  if (stream !== null) resumePlay();
}

/** Tries to play again, from a click. */
export function resumePlay(): void {
  player.play().then(
    () => {
      playBlocked.value = false;
    },
    (error: unknown) => {
      playBlocked.value = error instanceof DOMException && error.name === "NotAllowedError";
    },
  );
}

/** Whether this browser can choose a loudspeaker. */
export const canChooseSpeaker = typeof player.setSinkId === "function";

/** Plays on another loudspeaker. */
export async function chooseSpeaker(id: string): Promise<void> {
  speakerId.value = id;
  await player.setSinkId?.(id).catch(() => undefined);
}
