/** Telling that something goes on beyond the edge of a box that scrolls sideways. */

import { useSignal } from "@preact/signals";
import { type RefObject } from "preact";
import { useEffect } from "preact/hooks";

/** Nearer to an end than this counts as there. */
const NEAR = 4;

/** By how many pixels what a box holds is wider than it, as either changes. */
export function useExcess(element: RefObject<HTMLElement | null>): number {
  const excess = useSignal(0);
  useEffect(() => {
    const box = element.current;
    if (box === null) return undefined;
    const observer = new ResizeObserver(() => {
      excess.value = box.scrollWidth - box.clientWidth;
    });
    for (const one of [box, ...box.children]) observer.observe(one);
    return () => observer.disconnect();
  }, [element, excess]);
  return excess.value;
}

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
