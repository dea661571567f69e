import { DoorClosed } from "lucide-react";
import type { ReactNode } from "react";
import { Link, useParams } from "react-router";
import type { RoomSummary } from "../../core/types";
import { t } from "../../i18n";
import { useCore, useRoomSummary } from "../../store/core";
import { useIsWide } from "../../store/layout";
import { useSnapshot } from "../../store/snapshot";
import { EmptyState } from "../../ui/EmptyState";
import { Spinner } from "../../ui/Spinner";
import { Composer } from "../composer";
import { MemberPanel } from "../members";
import { Timeline } from "../timeline";
import { InvitePane } from "./InvitePane";
import { roomPath } from "./paths";
import { RoomHeader } from "./RoomHeader";

interface JoinedRoomProps {
  readonly room: RoomSummary;
  readonly isShowingMembers: boolean;
}

function JoinedRoom({ room, isShowingMembers }: JoinedRoomProps): ReactNode {
  const isWide = useIsWide();
  const view = useCore().openRoom(room.roomId);
  if (view === undefined) return undefined;
  const closePath = roomPath(room.roomId);
  if (isShowingMembers && !isWide) return <MemberPanel view={view} closePath={closePath} isAlone />;
  return (
    <div className="flex h-full min-w-0">
      <div className="flex h-full min-w-0 flex-1 flex-col">
        <RoomHeader room={room} isShowingMembers={isShowingMembers} />
        <Timeline key={room.roomId} room={room} view={view} />
        <Composer key={`${room.roomId} composer`} room={room} view={view} />
      </div>
      {isShowingMembers && <MemberPanel view={view} closePath={closePath} />}
    </div>
  );
}

/** A room that the list does not know: just joined, or not ours. */
function UnknownRoom(): ReactNode {
  const isLoading = useSnapshot(useCore().connection) === "connecting";
  if (isLoading) {
    return <EmptyState picture={<Spinner />} title={t.rooms.joining} />;
  }
  return (
    <EmptyState
      picture={<DoorClosed aria-hidden="true" className="size-10 text-text-3" />}
      title={t.rooms.gone}
      body={t.rooms.goneBody}
    >
      <Link className="font-medium text-accent-text underline underline-offset-2" to="/">
        {t.app.home}
      </Link>
    </EmptyState>
  );
}

export function RoomPage({ isShowingMembers = false }: { readonly isShowingMembers?: boolean }): ReactNode {
  const { roomId = "" } = useParams();
  const room = useRoomSummary(roomId);
  if (room === undefined) return <UnknownRoom />;
  if (room.membership === "invite") return <InvitePane room={room} />;
  return <JoinedRoom room={room} isShowingMembers={isShowingMembers} />;
}
