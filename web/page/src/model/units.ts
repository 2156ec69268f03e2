/** Figures as text: three significant digits, the unit beside them, the same width from one tick to the next. */

import type { Latency } from "@tidegate/client";

/** Which percentile is shown. */
export type Percentile = "p50" | "p90" | "p99";

/** The percentiles that can be shown. */
export const PERCENTILES: readonly Percentile[] = ["p50", "p90", "p99"];

/** The percentile of a latency in microseconds; `null` if nothing was measured. */
export function percentileUs(latency: Latency | null | undefined, percentile: Percentile): number | null {
  if (latency === null || latency === undefined || latency.count === 0) return null;
  return latency[`${percentile}_us`];
}

/** Three significant digits without an exponent. */
function significant(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** A duration, given in microseconds, in the unit that fits: `340 ns`, `12.5 µs`, `41.0 ms`, `1.20 s`. */
export function formatMicros(us: number | null | undefined): string {
  if (us === null || us === undefined || !Number.isFinite(us)) return "–";
  if (us === 0) return "0";
  if (us < 0.9995) return `${Math.round(us * 1000)} ns`;
  if (us < 999.5) return `${significant(us)} µs`;
  if (us < 999_500) return `${significant(us / 1000)} ms`;
  return `${significant(us / 1e6)} s`;
}

/** A count: `812`, `12.3 k`, `4.56 M`. */
export function formatCount(count: number): string {
  if (count < 10_000) return String(count);
  if (count < 1e6) return `${significant(count / 1e3)} k`;
  return `${significant(count / 1e6)} M`;
}

/** Bytes in binary units. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${bytes} B` : `${significant(value)} ${units[unit]}`;
}

/** An age: `0:42`, `12:03`, `3:04:05`. */
export function formatAge(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** The smallest of 1, 2, 5, 10, 20, … that is not below `value`: the end of a scale. */
export function niceCeil(value: number): number {
  if (!(value > 0) || !Number.isFinite(value)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 5]) if (value <= step * power * (1 + 1e-9)) return step * power;
  return 10 * power;
}

/** A port's format in a few words; the server writes it as a string or as an object of members. */
export function formatFormat(format: unknown): string {
  if (typeof format === "string") return format;
  if (Array.isArray(format)) return format.map(formatFormat).filter((text) => text !== "").join(" or ");
  if (typeof format !== "object" || format === null) return "";
  const members = format as Record<string, unknown>;
  const parts: string[] = [];
  for (const [name, value] of Object.entries(members)) {
    if (value === null || value === undefined) continue;
    if (name === "sample_rate" && typeof value === "number") parts.push(`${value / 1000} kHz`);
    else if (name === "channels") parts.push(value === 1 ? "mono" : value === 2 ? "stereo" : `${String(value)} channels`);
    else if (typeof value === "object") parts.push(formatFormat(value) || JSON.stringify(value));
    else parts.push(String(value));
  }
  return parts.join(" ");
}
