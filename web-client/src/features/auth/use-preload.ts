import { useEffect } from "react";
import { preloadCore } from "../../core/start";

const IDLE_MS = 1200;

/** Fetches the SDK while the form is being filled in, well after it has painted. */
export function usePreload(): void {
  useEffect(() => {
    const timer = setTimeout(preloadCore, IDLE_MS);
    return () => clearTimeout(timer);
  }, []);
}
