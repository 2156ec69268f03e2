/** Telling that something goes on beyond the edge of a box that scrolls sideways. */

import { useSignal } from "@preact/signals";
import { type RefObject } from "preact";
import { useEffect } from "preact/hooks";

/** Nearer to an end than this counts as there. */
const NEAR = 4;

/** Classes `more-left` and `more-right` for a box whose content is wider than it by `excess` pixels. */
export function useOverflow(element: RefObject<HTMLElement | null>, excess: number): { there: boolean; class: string; onScroll: () => void } {
  const at = useSignal(0);
  const onScroll = (): void => {
    at.value = element.current?.scrollLeft ?? 0;
  };
  useEffect(onScroll, [excess]);
  const there = excess > NEAR;
  const left = there && at.value > NEAR ? "more-left" : "";
  const right = there && at.value < excess - NEAR ? "more-right" : "";
  return { there, class: `${left} ${right}`.trim(), onScroll };
}
