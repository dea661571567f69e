import { create } from "zustand";

interface Drafts {
  readonly byRoom: Readonly<Record<string, string>>;
  readonly write: (roomId: string, text: string) => void;
}

/** What was typed and not sent yet, per room; lives as long as the page. */
export const useDrafts = create<Drafts>((set) => ({
  byRoom: {},
  write: (roomId, text) => set(({ byRoom }) => ({ byRoom: { ...byRoom, [roomId]: text } })),
}));
