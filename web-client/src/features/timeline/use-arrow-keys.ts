import { useState, type KeyboardEvent, type RefObject } from "react";
import type { VirtualizerHandle } from "virtua";
import type { Row } from "./rows";

interface ArrowKeys {
  readonly onKeyDown: (event: KeyboardEvent<HTMLDivElement>) => void;
  /** The focused row, which must stay in the page while it is scrolled out of sight. */
  readonly kept: readonly number[];
}

function isMessage(row: Row): boolean {
  return row.kind === "message";
}

/** The row to go to from `current` (-1: none yet), or `undefined` for keys that mean something else. */
export function rowAfterKey(key: string, current: number, rows: readonly Row[]): number | undefined {
  switch (key) {
    case "ArrowUp":
      return rows.findLastIndex((row, index) => isMessage(row) && (current === -1 || index < current));
    case "ArrowDown":
      return current === -1
        ? rows.findLastIndex(isMessage)
        : rows.findIndex((row, index) => isMessage(row) && index > current);
    case "Home":
      return rows.findIndex(isMessage);
    case "End":
      return rows.findLastIndex(isMessage);
    default:
      return undefined;
  }
}

/** Walks the focus through the messages with the arrow keys, Home and End. */
export function useArrowKeys(
  rows: readonly Row[],
  list: RefObject<VirtualizerHandle | null>,
  scroller: RefObject<HTMLDivElement | null>,
): ArrowKeys {
  const [focusedKey, setFocusedKey] = useState<string>();
  const current = rows.findIndex((row) => row.key === focusedKey);

  function onKeyDown(event: KeyboardEvent<HTMLDivElement>): void {
    const isInRow =
      document.activeElement instanceof HTMLElement && document.activeElement.closest("article") !== null;
    const target = rowAfterKey(event.key, isInRow ? current : -1, rows);
    if (target === undefined || target === -1) return;
    event.preventDefault();
    setFocusedKey(rows[target]?.key);
    list.current?.scrollToIndex(target, { align: "nearest" });
    // The row may come into the page only with the next frame.
    requestAnimationFrame(() => {
      scroller.current?.querySelector<HTMLElement>(`[data-row="${target}"] article`)?.focus({
        preventScroll: true,
      });
    });
  }

  return { onKeyDown, kept: current === -1 ? [] : [current] };
}
