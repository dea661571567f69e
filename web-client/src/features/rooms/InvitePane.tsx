import type { ReactNode } from "react";
import type { RoomSummary } from "../../core/types";
import { t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { EmptyState } from "../../ui/EmptyState";
import { BackLink } from "./BackLink";
import { EncryptionMark } from "./EncryptionMark";
import { InviteActions } from "./InviteActions";

/** The main pane of a room one is invited to. */
export function InvitePane({ room }: { readonly room: RoomSummary }): ReactNode {
  return (
    <div className="flex h-full flex-col">
      <div className="p-2 wide:hidden">
        <BackLink />
      </div>
      <EmptyState
        picture={<Avatar id={room.roomId} name={room.name} shape="room" size="large" />}
        title={t.rooms.inviteTitle(room.name)}
        {...(room.inviter === undefined
          ? {}
          : { body: t.rooms.inviteBody(room.inviter.name, room.inviter.userId) })}
      >
        <EncryptionMark isEncrypted={room.isEncrypted} />
        <InviteActions room={room} size="normal" />
      </EmptyState>
    </div>
  );
}
