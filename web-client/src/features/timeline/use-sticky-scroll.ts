import { useCallback, useLayoutEffect, useRef, useState, type RefObject } from "react";
import type { VirtualizerHandle } from "virtua";
import type { TimelineItem } from "../../core/types";
import type { Row } from "./rows";

/** Closer to the top than this, the page before is wanted. */
const TOP_PX = 600;
/** Within this distance of the end, the view counts as being there. */
const END_PX = 48;

interface StickyScroll {
  readonly scroller: RefObject<HTMLDivElement | null>;
  readonly list: RefObject<VirtualizerHandle | null>;
  readonly isAtEnd: boolean;
  readonly isNearTop: boolean;
  /** Whether this render adds rows before the known ones, whose places must not move. */
  readonly isPrepend: boolean;
  readonly onScroll: () => void;
  readonly onResize: () => void;
  readonly toEnd: () => void;
}

/** Keeps the end of the list in sight while the reader is there, and one's place while older rows arrive. */
export function useStickyScroll(rows: readonly Row[], lastItem: TimelineItem | undefined): StickyScroll {
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<VirtualizerHandle>(null);
  const isStuck = useRef(true);
  const [isAtEnd, setAtEnd] = useState(true);
  const [isNearTop, setNearTop] = useState(false);
  const [shown, setShown] = useState(rows);
  // Adjusted while rendering, because the list needs it together with the rows.
  const isPrepend = shown !== rows && rows.length > shown.length && rows.at(-1)?.key === shown.at(-1)?.key;

  const stick = useCallback(() => {
    const element = scroller.current;
    if (element === null) return;
    if (isStuck.current) element.scrollTop = element.scrollHeight;
    setNearTop(element.scrollTop < TOP_PX);
  }, []);

  const onScroll = useCallback(() => {
    const element = scroller.current;
    if (element === null) return;
    const isNearEnd = element.scrollHeight - element.scrollTop - element.clientHeight < END_PX;
    isStuck.current = isNearEnd;
    setAtEnd(isNearEnd);
    setNearTop(element.scrollTop < TOP_PX);
  }, []);

  const toEnd = useCallback(() => {
    isStuck.current = true;
    setAtEnd(true);
    list.current?.scrollToIndex(rows.length - 1, { align: "end" });
    stick();
  }, [rows.length, stick]);

  useLayoutEffect(() => {
    setShown(rows);
    stick();
  }, [rows, stick]);

  // One's own new message is always shown.
  const ownKey = lastItem?.kind === "message" && lastItem.sendState === "sending" ? lastItem.key : undefined;
  useLayoutEffect(() => {
    if (ownKey !== undefined) toEnd();
    // oxlint-disable-next-line react/exhaustive-deps -- only a new message moves the view, not every new row
  }, [ownKey]);

  return { scroller, list, isAtEnd, isNearTop, isPrepend, onScroll, onResize: stick, toEnd };
}
