/** How much room the window has. */

import { signal } from "@preact/signals";

/** Two columns, and too low for captions to be read below the controls. */
const LOW = "(min-width: 861px) and (max-height: 859px)";

/** Whether captions stand above the figures, where they are seen without scrolling. */
export const low = signal(false);

const query = globalThis.matchMedia?.(LOW);
if (query !== undefined) {
  low.value = query.matches;
  query.addEventListener("change", ({ matches }) => {
    low.value = matches;
  });
}
