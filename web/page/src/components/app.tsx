/** The page: a rail to talk from, and the instruments beside it. */

import { useEffect, useRef } from "preact/hooks";
import { hasVideo, player } from "../state/sound.js";
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

/** The whole page. */
export function App() {
  return (
    <>
      <a class="skip" href="#main">
        Skip to the figures
      </a>
      <Header />
      <ProblemBanner />
      <div class="layout">
        <aside class="rail" aria-label="Talk to the pipeline">
          <TalkPanel />
          {hasVideo.value && <Video />}
          <Captions />
        </aside>
        <main id="main" tabIndex={-1}>
          <Readouts />
          <TurnLatency />
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
