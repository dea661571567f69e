import { create } from "zustand";

export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly tone: "info" | "danger";
}

const SHOWN_MS = 6000;
const NOTICES_MAX = 3;
let lastId = 0;

/** Short messages at the edge of the page, newest last. */
export const useNotices = create<readonly Notice[]>(() => []);

export function dismissNotice(id: number): void {
  useNotices.setState((notices) => notices.filter((notice) => notice.id !== id), true);
}

export function notify(text: string, tone: Notice["tone"] = "info"): void {
  lastId += 1;
  const id = lastId;
  useNotices.setState((notices) => [...notices, { id, text, tone }].slice(-NOTICES_MAX), true);
  setTimeout(() => dismissNotice(id), SHOWN_MS);
}
