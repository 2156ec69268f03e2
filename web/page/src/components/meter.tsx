/** A level meter: a bar on a scale in decibels, with its peak held. */

import { useEffect, useRef } from "preact/hooks";
import { LEVEL_MIN_DB, levelPosition } from "../model/levels.js";
import type { Meter } from "../state/sound.js";

const TICKS = [-60, -48, -36, -24, -12, 0];

/** How often the spoken and printed figure changes, so that it can be read. */
const FIGURE_SECONDS = 0.25;

/** Draws itself once a frame, past the component tree: sixty renders a second would be waste. */
export function LevelMeter(props: { label: string; meter: Meter }) {
  const root = useRef<HTMLDivElement>(null);
  const bar = useRef<HTMLSpanElement>(null);
  const peak = useRef<HTMLSpanElement>(null);
  const figure = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    let frame = 0;
    let told = -1;
    const paint = (ms: number): void => {
      const seconds = ms / 1000;
      const live = props.meter.measure(seconds);
      const { db, peakDb } = props.meter.needle;
      bar.current?.style.setProperty("transform", `scaleX(${levelPosition(db).toFixed(4)})`);
      peak.current?.style.setProperty("opacity", peakDb > LEVEL_MIN_DB ? "1" : "0");
      peak.current?.style.setProperty("left", `${(levelPosition(peakDb) * 100).toFixed(2)}%`);
      if (seconds - told > FIGURE_SECONDS) {
        told = seconds;
        const text = !live ? "–" : db <= LEVEL_MIN_DB ? "silent" : `${db.toFixed(0)} dB`;
        if (figure.current !== null && figure.current.textContent !== text) figure.current.textContent = text;
        root.current?.setAttribute("aria-valuenow", db.toFixed(0));
        root.current?.setAttribute("aria-valuetext", live ? `${db.toFixed(0)} decibels below full scale`.replace("-", "") : "off");
      }
      frame = requestAnimationFrame(paint);
    };
    frame = requestAnimationFrame(paint);
    return () => cancelAnimationFrame(frame);
  }, [props.meter]);
  return (
    <div class="meter">
      <div class="meter-head" aria-hidden="true">
        <span>{props.label}</span>
        <span class="mono" ref={figure}>
          –
        </span>
      </div>
      <div class="meter-track" role="meter" aria-label={`${props.label} level`} aria-valuemin={LEVEL_MIN_DB} aria-valuemax={0} aria-valuenow={LEVEL_MIN_DB} ref={root}>
        <span class="meter-bar" ref={bar} />
        <span class="meter-peak" ref={peak} />
      </div>
      <div class="meter-scale" aria-hidden="true">
        {TICKS.map((db) => (
          <span key={db}>{db}</span>
        ))}
      </div>
    </div>
  );
}
