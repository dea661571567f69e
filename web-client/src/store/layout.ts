import { useSyncExternalStore } from "react";

/** The width from which list and room stand side by side; the same as the `wide` breakpoint of the styles. */
const wide = window.matchMedia("(min-width: 64rem)");

function subscribe(listener: () => void): () => void {
  wide.addEventListener("change", listener);
  return () => wide.removeEventListener("change", listener);
}

/** Whether more than one pane fits. */
export function useIsWide(): boolean {
  return useSyncExternalStore(subscribe, () => wide.matches);
}
