/** Opening a microphone, with each way that it fails told apart. */

import { TidegateError, errorOfMicrophone } from "./errors.js";

/** What a microphone may be given as: an open stream, constraints, or `false` for none. */
export type Microphone = MediaStream | MediaTrackConstraints | boolean;

/** A microphone in use; `owned` streams were opened here and are stopped here. */
export interface OpenMicrophone {
  stream: MediaStream;
  owned: boolean;
}

/**
 * Opens a microphone.
 *
 * @throws TidegateError `insecure_context`, `microphone_denied`, `microphone_missing` or `microphone_busy`.
 */
export async function openMicrophone(microphone: Microphone): Promise<OpenMicrophone | null> {
  if (microphone === false) return null;
  if (typeof MediaStream !== "undefined" && microphone instanceof MediaStream) return { stream: microphone, owned: false };
  const devices = globalThis.navigator?.mediaDevices as MediaDevices | undefined;
  if (devices?.getUserMedia === undefined) {
    throw globalThis.isSecureContext
      ? new TidegateError("microphone_missing", "this browser has no microphones to offer")
      : new TidegateError("insecure_context", "browsers offer microphones to https pages and to localhost only");
  }
  try {
    const audio = microphone as MediaTrackConstraints | true;
    return { stream: await devices.getUserMedia({ audio, video: false }), owned: true };
  } catch (cause) {
    throw errorOfMicrophone(cause);
  }
}

/** Lets go of a microphone that was opened here. */
export function closeMicrophone(microphone: OpenMicrophone | null): void {
  if (microphone?.owned) for (const track of microphone.stream.getTracks()) track.stop();
}
