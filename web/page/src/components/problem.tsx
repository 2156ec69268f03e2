/** What is wrong, and what to press. */

import { useEffect, useState } from "preact/hooks";
import { resumePlay, playBlocked } from "../state/sound.js";
import * as store from "../state/store.js";
import { talk } from "../state/talk.js";

/** Counts down from `seconds`; starts anew when `key` changes. */
function useCountdown(seconds: number | undefined, key: unknown): number {
  const [left, setLeft] = useState(seconds ?? 0);
  useEffect(() => {
    setLeft(seconds ?? 0);
    if (seconds === undefined) return undefined;
    const timer = setInterval(() => setLeft((value) => Math.max(0, value - 1)), 1000);
    return () => clearInterval(timer);
  }, [seconds, key]);
  return left;
}

/** The banner below the head. It is an alert, so screen readers say it when it comes. */
export function ProblemBanner() {
  const problem = store.problem.value;
  const left = useCountdown(problem?.waitSeconds, problem);
  const dismiss = (): void => {
    store.problem.value = null;
  };
  return (
    <div role="alert">
      {problem !== null && (
        <div class="problem">
          <div>
            <strong>{problem.title}</strong>
            <p>{problem.text}</p>
          </div>
          <div class="buttons">
            {problem.mend === "retry" && store.pipeline.value !== null && !store.inCall.value && (
              <button type="button" disabled={left > 0} onClick={() => talk()}>
                {left > 0 ? `Try again in ${left} s` : (problem.again ?? "Try again")}
              </button>
            )}
            {problem.mend === "listen" && store.pipeline.value !== null && (
              <>
                <button type="button" onClick={() => talk()}>
                  Try again
                </button>
                <button type="button" onClick={() => talk(true)}>
                  Listen only
                </button>
              </>
            )}
            <button type="button" class="quiet" onClick={dismiss}>
              Dismiss
            </button>
          </div>
        </div>
      )}
      {playBlocked.value && (
        <div class="problem">
          <div>
            <strong>The browser holds the sound back</strong>
            <p>It plays after a click.</p>
          </div>
          <div class="buttons">
            <button type="button" onClick={resumePlay}>
              Play
            </button>
          </div>
        </div>
      )}
    </div>
  );
}
