/** The events log: what was said by the server and by this page, in one line each, bounded. */

import type { Frame, ServerMessage } from "@tidegate/client";

/** How many lines are kept. */
export const LOG_LINES = 200;

/** A line of the log. */
export interface LogLine {
  id: number;
  /** Milliseconds since the epoch. */
  time: number;
  tone: "plain" | "good" | "warn" | "bad";
  /** The event's name. */
  name: string;
  text: string;
}

/** What a server message says in a line; `null` for those that would flood it. */
export function lineOf(message: ServerMessage): Pick<LogLine, "tone" | "name" | "text"> | null {
  if ("opened" in message) {
    const ports = message.opened.ports?.map((port) => `${port.name}: ${port.kind}`).join(", ") ?? "";
    return { tone: "good", name: "opened", text: [message.opened.session_id, ports].filter((text) => text !== "").join(" · ") };
  }
  if ("interrupted" in message) {
    const { port, reason } = message.interrupted;
    return { tone: "warn", name: "interrupted", text: [port ?? "", reason].filter((text) => text !== "").join(" · ") };
  }
  if ("error" in message) {
    const { code, message: text, hop, endpoint } = message.error;
    return { tone: "bad", name: "error", text: [code, text, hop ?? "", endpoint ?? ""].filter((part) => part !== "").join(" · ") };
  }
  if ("draining" in message) {
    return { tone: "warn", name: "draining", text: `the gateway goes away in ${Math.round(message.draining.deadline / 1e6)} s` };
  }
  if ("ended" in message) return { tone: "plain", name: "ended", text: message.ended.reason };
  if ("frame" in message) return frameLine(message.frame);
  return null;
}

function frameLine(frame: Frame): Pick<LogLine, "tone" | "name" | "text"> | null {
  if ("json" in frame) return { tone: "plain", name: frame.port, text: shorten(JSON.stringify(frame.json.value, readable)) };
  if ("text" in frame && frame.utterance && frame.final !== true) return null; // Captions show what may still change.
  if ("text" in frame) return { tone: "plain", name: frame.port, text: shorten(frame.text.text) };
  if ("tensor" in frame) return { tone: "plain", name: frame.port, text: `tensor ${frame.tensor.dtype}[${frame.tensor.shape.join(", ")}]` };
  if ("binary" in frame) return { tone: "plain", name: frame.port, text: `binary, ${Math.floor((frame.binary.data.length * 3) / 4)} bytes` };
  return null; // Media is heard and seen.
}

/** Long fractions are for programs: four digits of them say enough here. */
function readable(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}

function shorten(text: string): string {
  return text.length > 240 ? `${text.slice(0, 239)}…` : text;
}
