import { Plus } from "lucide-react";
import { useState, type ReactNode } from "react";
import { useParams } from "react-router";
import { t } from "../../i18n";
import { useCore } from "../../store/core";
import { useSnapshot } from "../../store/snapshot";
import { PageTitle } from "../../ui/PageTitle";
import { IconButton } from "../../ui/IconButton";
import { Logo } from "../../ui/Logo";
import { CreateRoomDialog } from "./CreateRoomDialog";
import { InviteRow } from "./InviteRow";
import { RoomRow } from "./RoomRow";

interface RoomListProps {
  /** Whether the list is the whole page. */
  readonly isAlone?: boolean;
}

export function RoomList({ isAlone = false }: RoomListProps): ReactNode {
  const Heading = isAlone ? "h1" : "h2";
  const rooms = useSnapshot(useCore().rooms);
  const { roomId } = useParams();
  const [isCreating, setCreating] = useState(false);
  const invites = rooms.filter((room) => room.membership === "invite");
  const joined = rooms.filter((room) => room.membership === "join");

  return (
    <nav aria-label={t.rooms.title} className="flex min-h-0 flex-1 flex-col">
      {isAlone && <PageTitle>{t.rooms.title}</PageTitle>}
      <div className="flex h-15 shrink-0 items-center gap-2.5 ps-4 pe-3">
        <Logo className="size-7" />
        <Heading className="flex-1 text-lg font-semibold tracking-tight">{t.rooms.title}</Heading>
        <IconButton label={t.rooms.create} icon={<Plus />} onClick={() => setCreating(true)} />
      </div>
      <div className="min-h-0 flex-1 overflow-y-auto px-2 pb-3">
        {invites.length > 0 && (
          <section aria-label={t.rooms.invites} className="mb-3">
            <p aria-hidden="true" className="px-2 py-1.5 text-xs font-semibold text-text-3">
              {t.rooms.invites}
            </p>
            <ul className="flex flex-col gap-1">
              {invites.map((room) => (
                <InviteRow key={room.roomId} room={room} />
              ))}
            </ul>
          </section>
        )}
        {rooms.length === 0 && <p className="px-2 py-2 text-sm text-text-3">{t.rooms.empty}</p>}
        {joined.length > 0 && (
          <ul className="flex flex-col gap-0.5">
            {joined.map((room) => (
              <RoomRow key={room.roomId} room={room} isOpen={room.roomId === roomId} />
            ))}
          </ul>
        )}
      </div>
      {isCreating && <CreateRoomDialog onClose={() => setCreating(false)} />}
    </nav>
  );
}
