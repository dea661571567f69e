import { ArrowDown, RotateCw } from "lucide-react";
import { useEffect, useMemo, type ReactNode } from "react";
import { Virtualizer } from "virtua";
import type { RoomSummary, RoomView } from "../../core/types";
import { t } from "../../i18n";
import { useSnapshot } from "../../store/snapshot";
import { Button } from "../../ui/Button";
import { IconButton } from "../../ui/IconButton";
import { Spinner } from "../../ui/Spinner";
import { Announcer } from "./Announcer";
import { rowsOf } from "./rows";
import { TimelineRow } from "./TimelineRow";
import { useArrowKeys } from "./use-arrow-keys";
import { useStickyScroll } from "./use-sticky-scroll";

interface TimelineProps {
  readonly room: RoomSummary;
  readonly view: RoomView;
}

function useReadMark(view: RoomView, lastKey: string | undefined, isAtEnd: boolean): void {
  useEffect(() => {
    const markRead = (): void => {
      if (isAtEnd && document.visibilityState === "visible") view.markRead();
    };
    markRead();
    document.addEventListener("visibilitychange", markRead);
    return () => document.removeEventListener("visibilitychange", markRead);
  }, [view, lastKey, isAtEnd]);
}

/** The messages of a room: only what is in sight is in the page, and it stays at the end until scrolled up. */
export function Timeline({ room, view }: TimelineProps): ReactNode {
  const { items, hasMore, loading } = useSnapshot(view.timeline);
  const rows = useMemo(() => rowsOf(items, !hasMore), [items, hasMore]);
  const { scroller, list, isAtEnd, isNearTop, isPrepend, onScroll, onResize, toEnd } = useStickyScroll(
    rows,
    items.at(-1),
  );
  const { onKeyDown, kept } = useArrowKeys(rows, list, scroller);
  useReadMark(view, items.at(-1)?.key, isAtEnd);

  useEffect(() => {
    if (isNearTop && hasMore && loading === "idle") void view.loadMore();
  }, [isNearTop, hasMore, loading, view, items]);

  return (
    <section aria-label={t.timeline.label(room.name)} className="relative flex min-h-0 flex-1 flex-col">
      {/* oxlint-disable jsx-a11y/no-noninteractive-tabindex, jsx-a11y/no-noninteractive-element-interactions --
          the scroller is the tab stop; from it the arrow keys walk through the messages */}
      <div
        ref={scroller}
        tabIndex={0}
        aria-label={t.timeline.label(room.name)}
        role="group"
        className="flex min-h-0 flex-1 flex-col overflow-y-auto pb-3 [overflow-anchor:none] focus-visible:-outline-offset-2"
        onKeyDown={onKeyDown}
      >
        {/* oxlint-enable */}
        <div className="grow" />
        <Virtualizer
          ref={list}
          data={rows}
          shift={isPrepend}
          keepMounted={kept}
          onScroll={onScroll}
          onResize={onResize}
        >
          {(row, index) => (
            <div key={row.key} data-row={index}>
              <TimelineRow row={row} room={room} view={view} />
            </div>
          )}
        </Virtualizer>
      </div>
      <div role="status" className="pointer-events-none absolute inset-x-0 top-2 flex justify-center">
        {loading === "loading" && items.length > 0 && (
          <span className="rounded-full border border-line bg-overlay p-1.5 text-text-2 shadow-overlay">
            <Spinner />
            <span className="sr-only">{t.timeline.loading}</span>
          </span>
        )}
        {loading === "failed" && (
          <span className="pointer-events-auto flex items-center gap-3 rounded-md border border-line bg-overlay py-1.5 ps-4 pe-1.5 text-sm shadow-overlay">
            {t.timeline.loadFailed}
            <Button
              size="small"
              icon={<RotateCw aria-hidden="true" className="size-3.5" />}
              onClick={() => void view.loadMore()}
            >
              {t.app.tryAgain}
            </Button>
          </span>
        )}
      </div>
      {!isAtEnd && (
        <div className="absolute end-5 bottom-3 animate-appear rounded-full border border-line bg-overlay shadow-overlay">
          <IconButton
            label={t.timeline.toLatest}
            icon={<ArrowDown />}
            className="rounded-full"
            onClick={toEnd}
          />
        </div>
      )}
      <Announcer items={items} />
    </section>
  );
}
