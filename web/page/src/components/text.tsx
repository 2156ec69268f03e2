/** What the pipeline writes: captions, and the log of events. */

import { useEffect, useRef } from "preact/hooks";
import { Follow } from "../model/follow.js";
import * as store from "../state/store.js";
import { Panel } from "./controls.js";

/** Keeps a scrolling box at its end, unless its reader has scrolled away from it. */
function useFollow(count: unknown) {
  const box = useRef<HTMLDivElement>(null);
  const follow = useRef(new Follow());
  const grew = (): void => {
    if (box.current !== null) follow.current.grew(box.current);
  };
  useEffect(grew, [count]);
  useEffect(() => {
    if (box.current === null) return undefined;
    const observer = new ResizeObserver(grew);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const onScroll = (): void => {
    if (box.current !== null) follow.current.scrolled(box.current);
  };
  return { box, onScroll };
}

/** Captions, each utterance a line; what may still change is set apart. */
export function Captions() {
  const captions = store.captions.value;
  const { box, onScroll } = useFollow(captions);
  const ports = new Set(captions.map((caption) => caption.port));
  return (
    <Panel id="captions" title="Captions" class={captions.length === 0 ? "captions-panel is-empty" : "captions-panel"}>
      <div class="scroll" ref={box} onScroll={onScroll} tabIndex={0} role="log" aria-labelledby="captions" aria-live="polite">
        {captions.length === 0 && <p class="empty">What the pipeline writes stands here.</p>}
        {captions.map((caption) => (
          <p key={`${caption.port}/${caption.utterance}`} class={caption.final ? "caption" : "caption draft"}>
            {ports.size > 1 && <span class="port">{caption.port}</span>}
            {caption.text}
          </p>
        ))}
      </div>
    </Panel>
  );
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

/** The log of events. It is not announced: captions and the state are. */
export function EventLog() {
  const lines = store.log.value;
  const { box, onScroll } = useFollow(lines);
  return (
    <Panel id="events" title="Events" class={lines.length === 0 ? "events-panel is-empty" : "events-panel"}>
      <div class="scroll" ref={box} onScroll={onScroll} tabIndex={0} role="log" aria-labelledby="events" aria-live="off">
        {lines.length === 0 && <p class="empty">What happens to the session stands here.</p>}
        <ol>
          {lines.map((line) => (
            <li key={line.id} class={line.tone}>
              <time dateTime={new Date(line.time).toISOString()}>{clock.format(line.time)}</time>
              <b>{line.name}</b>
              <span>{line.text}</span>
            </li>
          ))}
        </ol>
      </div>
    </Panel>
  );
}
