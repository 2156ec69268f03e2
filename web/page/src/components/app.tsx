/** The page: a rail to talk from, and the instruments beside it. */

import { useEffect, useRef } from "preact/hooks";
import { low } from "../state/room.js";
import { hasVideo, player } from "../state/sound.js";
import * as store from "../state/store.js";
import { Chart } from "./chart.js";
import { Figures } from "./figures.js";
import { Header } from "./header.js";
import { ProblemBanner } from "./problem.js";
import { Readouts } from "./readouts.js";
import { Sessions } from "./sessions.js";
import { TalkPanel } from "./talk.js";
import { Captions, EventLog } from "./text.js";
import { TurnLatency } from "./turn.js";

/** What the pipeline shows, if it sends video. */
function Video() {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    place.current?.append(player);
    return () => player.remove();
  }, []);
  return <div class="video" ref={place} />;
}

/** What is said, and what the answer took. A window that is too low for captions in the rail has them here, if there can be any. */
function Words() {
  const writes = store.captions.value.length > 0 || (store.pipeline.value?.outputs.some((output) => output.kind === "text") ?? false);
  if (!writes) return <TurnLatency />;
  return (
    <div class="words">
      <Captions />
      <TurnLatency />
    </div>
  );
}

/** The whole page. */
export function App() {
  return (
    <>
      <a class="skip" href="#main">
        Skip to the figures
      </a>
      <Header />
      <ProblemBanner />
      <div class={low.value ? "layout low" : "layout"}>
        <aside class="rail" aria-label="Talk to the pipeline">
          <TalkPanel />
          {hasVideo.value && <Video />}
          {!low.value && <Captions />}
        </aside>
        <main id="main" tabIndex={-1}>
          {low.value && <Words />}
          <Readouts />
          {!low.value && <TurnLatency />}
          <Figures />
          <Chart />
          <div class="lower">
            <Sessions />
            <EventLog />
          </div>
        </main>
      </div>
    </>
  );
}
