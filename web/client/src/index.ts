/** `@tidegate/client`: talk to a Tidegate media pipeline from a browser. */

export type * from "./api.js";
export type { Caption } from "./captions.js";
export { type ClientOptions, type InputFrame, TidegateClient } from "./client.js";
export { type BrowserCode, type ErrorCode, TidegateError, errorCode } from "./errors.js";
export { DetailEvent, TypedTarget } from "./events.js";
export { iceServersOfLink } from "./link.js";
export type * from "./messages.js";
export { parseServerMessage, textOf } from "./messages.js";
export { type Microphone, openMicrophone } from "./microphone.js";
export { JSON_PROTOCOL, Stream, type StreamEvents, type StreamOptions } from "./stream.js";
export { type TalkOptions, Voice, type VoiceEvents, type VoiceState } from "./voice.js";
