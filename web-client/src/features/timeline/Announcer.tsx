import { useEffect, useRef, useState, type ReactNode } from "react";
import type { TimelineItem } from "../../core/types";
import { t } from "../../i18n";
import { bodyText } from "./body-text";

const BATCH_MS = 400;
const SPOKEN_MAX = 3;

/** The messages of others that follow `lastKey`, as sentences. */
export function spokenSince(items: readonly TimelineItem[], lastKey: string | undefined): readonly string[] {
  const start = items.findLastIndex((item) => item.key === lastKey);
  if (start === -1) return [];
  return items
    .slice(start + 1)
    .filter((item) => item.kind === "message")
    .filter((item) => !item.isOwn && item.body.kind !== "decrypting")
    .map((item) => t.timeline.spoken(item.sender.name, bodyText(item.body)));
}

/** The one live region of a room: author and text of new messages, never times, a batch at a time. */
export function Announcer({ items }: { readonly items: readonly TimelineItem[] }): ReactNode {
  const lastKey = useRef(items.at(-1)?.key);
  const [spoken, setSpoken] = useState("");
  useEffect(() => {
    // A message that is still being decrypted is announced when its words are there.
    if (items.some((item) => item.kind === "message" && item.body.kind === "decrypting")) return undefined;
    const timer = setTimeout(() => {
      const sentences = spokenSince(items, lastKey.current);
      lastKey.current = items.at(-1)?.key;
      if (sentences.length > 0) setSpoken(sentences.slice(-SPOKEN_MAX).join("\n"));
    }, BATCH_MS);
    return () => clearTimeout(timer);
  }, [items]);
  return (
    <div aria-live="polite" className="sr-only">
      {spoken}
    </div>
  );
}
