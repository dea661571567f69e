import { EllipsisVertical, LogOut, UserPlus, Users } from "lucide-react";
import { useState, type ReactNode } from "react";
import { useNavigate } from "react-router";
import type { RoomSummary } from "../../core/types";
import { t } from "../../i18n";
import { useCore } from "../../store/core";
import { Avatar } from "../../ui/Avatar";
import { ConfirmDialog } from "../../ui/ConfirmDialog";
import { PageTitle } from "../../ui/PageTitle";
import { IconButton } from "../../ui/IconButton";
import { Menu, MenuItem } from "../../ui/Menu";
import { BackLink } from "./BackLink";
import { EncryptionMark } from "./EncryptionMark";
import { InviteDialog } from "./InviteDialog";
import { membersPath, roomPath } from "./paths";

interface RoomHeaderProps {
  readonly room: RoomSummary;
  readonly isShowingMembers: boolean;
}

export function RoomHeader({ room, isShowingMembers }: RoomHeaderProps): ReactNode {
  const core = useCore();
  const navigate = useNavigate();
  const [dialog, setDialog] = useState<"invite" | "leave">();
  const close = (): void => setDialog(undefined);

  async function leave(): Promise<void> {
    await core.leave(room.roomId);
    await navigate("/");
  }

  return (
    <header className="flex h-15 shrink-0 items-center gap-3 border-b border-line ps-2 pe-2 wide:ps-5 wide:pe-3">
      <PageTitle>{room.name}</PageTitle>
      <BackLink />
      <Avatar id={room.roomId} name={room.name} shape="room" />
      <div className="min-w-0 flex-1">
        <h1 className="truncate leading-tight font-semibold">{room.name}</h1>
        <div className="flex items-center gap-2 text-xs text-text-3">
          <EncryptionMark isEncrypted={room.isEncrypted} />
          {room.topic !== undefined && <span className="min-w-0 truncate max-wide:hidden">{room.topic}</span>}
        </div>
      </div>
      {room.canInvite && (
        <IconButton
          label={t.rooms.invite}
          icon={<UserPlus />}
          className="max-wide:hidden"
          onClick={() => setDialog("invite")}
        />
      )}
      <IconButton
        label={isShowingMembers ? t.rooms.hideMembers : t.rooms.showMembers}
        aria-pressed={isShowingMembers}
        icon={<Users />}
        onClick={() => void navigate(isShowingMembers ? roomPath(room.roomId) : membersPath(room.roomId))}
      />
      <Menu
        trigger={
          <button
            type="button"
            aria-label={t.rooms.actions}
            className="inline-flex size-9 items-center justify-center rounded-sm text-text-2 hover:bg-surface-3 aria-expanded:bg-surface-3 pointer-coarse:size-11"
          >
            <EllipsisVertical aria-hidden="true" className="size-[18px]" />
          </button>
        }
      >
        {room.canInvite && (
          <MenuItem icon={<UserPlus aria-hidden="true" />} onSelect={() => setDialog("invite")}>
            {t.rooms.invite}
          </MenuItem>
        )}
        <MenuItem tone="danger" icon={<LogOut aria-hidden="true" />} onSelect={() => setDialog("leave")}>
          {t.rooms.leave}
        </MenuItem>
      </Menu>
      {dialog === "invite" && <InviteDialog room={room} onClose={close} />}
      {dialog === "leave" && (
        <ConfirmDialog
          title={t.rooms.leaveTitle(room.name)}
          body={t.rooms.leaveBody}
          action={t.rooms.leave}
          onConfirm={leave}
          onClose={close}
        />
      )}
    </header>
  );
}
