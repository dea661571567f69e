import type { ChangeItem, MessageItem, TimelineItem } from "../../core/types";

/** Messages of one sender within this time share one heading. */
const GROUP_MS = 5 * 60_000;

export type Row =
  | { readonly kind: "start"; readonly key: "start" }
  | { readonly kind: "day"; readonly key: string; readonly atMs: number }
  | { readonly kind: "change"; readonly key: string; readonly item: ChangeItem }
  | {
      readonly kind: "message";
      readonly key: string;
      readonly item: MessageItem;
      /** Whether the sender stands above it. */
      readonly isHead: boolean;
    };

function isSameDay(aMs: number, bMs: number): boolean {
  return new Date(aMs).toDateString() === new Date(bMs).toDateString();
}

function continues(previous: TimelineItem | undefined, item: MessageItem): boolean {
  return (
    previous?.kind === "message" &&
    previous.sender.userId === item.sender.userId &&
    Math.abs(item.sentAtMs - previous.sentAtMs) < GROUP_MS &&
    isSameDay(item.sentAtMs, previous.sentAtMs)
  );
}

/** The rows of a timeline: day marks between days, messages grouped by sender. */
export function rowsOf(items: readonly TimelineItem[], isComplete: boolean): readonly Row[] {
  const rows: Row[] = isComplete ? [{ kind: "start", key: "start" }] : [];
  let previous: TimelineItem | undefined;
  for (const item of items) {
    if (previous === undefined || !isSameDay(previous.sentAtMs, item.sentAtMs)) {
      rows.push({ kind: "day", key: `day before ${item.key}`, atMs: item.sentAtMs });
    }
    if (item.kind === "change") rows.push({ kind: "change", key: item.key, item });
    else rows.push({ kind: "message", key: item.key, item, isHead: !continues(previous, item) });
    previous = item;
  }
  return rows;
}
