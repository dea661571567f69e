import type { ReactNode } from "react";
import type { RoomSummary, RoomView } from "../../core/types";
import { t } from "../../i18n";
import { useToday } from "../../store/today";
import { MessageRow } from "./MessageRow";
import type { Row } from "./rows";

interface TimelineRowProps {
  readonly row: Row;
  readonly room: RoomSummary;
  readonly view: RoomView;
}

export function TimelineRow({ row, room, view }: TimelineRowProps): ReactNode {
  const today = useToday();
  switch (row.kind) {
    case "start":
      return <p className="px-4 pt-8 pb-2 text-center text-sm text-text-3">{t.timeline.start(room.name)}</p>;
    case "day":
      return (
        <div className="flex items-center gap-3 px-4 pt-5 pb-1.5 wide:px-5">
          <span className="h-px flex-1 bg-line" />
          <span className="text-xs font-medium text-text-3">{t.timeline.day(row.atMs, today)}</span>
          <span className="h-px flex-1 bg-line" />
        </div>
      );
    case "change":
      return (
        <p className="px-4 py-1 text-center text-xs break-words text-text-3">
          {t.timeline.change(row.item.change, row.item.isOwn ? t.timeline.you : row.item.sender.name)}
        </p>
      );
    case "message":
      return <MessageRow item={row.item} isHead={row.isHead} view={view} />;
  }
}
