import { memo, type ReactNode } from "react";
import { Link } from "react-router";
import type { RoomSummary } from "../../core/types";
import { t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { InviteActions } from "./InviteActions";
import { roomPath } from "./paths";

export const InviteRow = memo(function InviteRow({ room }: { readonly room: RoomSummary }): ReactNode {
  return (
    <li className="flex gap-3 rounded-md border border-line bg-surface-1 p-2.5">
      <Avatar id={room.roomId} name={room.name} shape="room" />
      <div className="flex min-w-0 flex-1 flex-col gap-2">
        <Link to={roomPath(room.roomId)} className="rounded-[4px]">
          <span className="block truncate font-medium">{room.name}</span>
          {room.inviter !== undefined && (
            <span className="block truncate text-sm text-text-3" title={room.inviter.userId}>
              {t.rooms.invitedBy(room.inviter.name)}
            </span>
          )}
        </Link>
        <InviteActions room={room} size="small" />
      </div>
    </li>
  );
});
