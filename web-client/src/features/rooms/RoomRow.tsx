import { memo, type ReactNode } from "react";
import { Link } from "react-router";
import type { RoomSummary } from "../../core/types";
import { t } from "../../i18n";
import { useToday } from "../../store/today";
import { Avatar } from "../../ui/Avatar";
import { classes } from "../../ui/classes";
import { roomPath } from "./paths";

function preview({ lastMessage }: RoomSummary): string {
  if (lastMessage === undefined) return t.rooms.noMessages;
  const text = lastMessage.text ?? t.rooms.noPreview;
  return lastMessage.senderName === undefined
    ? t.rooms.you(text)
    : t.rooms.from(lastMessage.senderName, text);
}

interface RoomRowProps {
  readonly room: RoomSummary;
  readonly isOpen: boolean;
}

export const RoomRow = memo(function RoomRow({ room, isOpen }: RoomRowProps): ReactNode {
  const today = useToday();
  const isUnread = room.unreadCount > 0;
  return (
    <li>
      <Link
        to={roomPath(room.roomId)}
        aria-current={isOpen ? "page" : undefined}
        className={classes(
          "flex items-center gap-3 rounded-sm px-2 py-2 transition-colors focus-visible:-outline-offset-2",
          isOpen ? "bg-surface-3" : "hover:bg-surface-3/60",
        )}
      >
        <Avatar id={room.roomId} name={room.name} shape="room" />
        <span className="min-w-0 flex-1">
          <span className="flex items-baseline gap-2">
            <span className={classes("min-w-0 flex-1 truncate", isUnread ? "font-semibold" : "font-medium")}>
              {room.name}
            </span>
            {room.lastActivityMs > 0 && (
              <span className="shrink-0 text-xs text-text-3">
                {t.timeline.recent(room.lastActivityMs, today)}
              </span>
            )}
          </span>
          <span className="flex items-center gap-2">
            <span
              className={classes("min-w-0 flex-1 truncate text-sm", isUnread ? "text-text-1" : "text-text-3")}
            >
              {preview(room)}
            </span>
            {isUnread && (
              <span className="inline-flex h-5 min-w-5 shrink-0 items-center justify-center rounded-full bg-accent px-1.5 text-xs font-semibold text-on-accent tabular-nums">
                <span aria-hidden="true">{room.unreadCount > 99 ? "99+" : room.unreadCount}</span>
                <span className="sr-only">{t.rooms.unread(room.unreadCount)}</span>
              </span>
            )}
          </span>
        </span>
      </Link>
    </li>
  );
});
