import { createContext, useContext } from "react";
import type { Core, RoomSummary } from "../core/types";
import { useSnapshot } from "./snapshot";

export const CoreContext = createContext<Core | undefined>(undefined);

/** The core of the running session; only pages behind the sign-in may ask. */
export function useCore(): Core {
  const core = useContext(CoreContext);
  if (core === undefined) throw new Error("No session is running");
  return core;
}

export function useRoomSummary(roomId: string): RoomSummary | undefined {
  return useSnapshot(useCore().rooms).find((room) => room.roomId === roomId);
}
