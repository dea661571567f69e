import { useSyncExternalStore } from "react";
import type { Snapshot } from "../core/types";

/** The current value of a core snapshot; renders again when it changes. */
export function useSnapshot<T>(snapshot: Snapshot<T>): T {
  return useSyncExternalStore(snapshot.subscribe, snapshot.get);
}
