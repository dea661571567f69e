import { X } from "lucide-react";
import { useEffect, type ReactNode } from "react";
import { useNavigate } from "react-router";
import type { Member, RoomView } from "../../core/types";
import { t } from "../../i18n";
import { useSnapshot } from "../../store/snapshot";
import { Avatar } from "../../ui/Avatar";
import { classes } from "../../ui/classes";
import { PageTitle } from "../../ui/PageTitle";
import { IconButton } from "../../ui/IconButton";

function MemberRow({ member }: { readonly member: Member }): ReactNode {
  const note = member.membership === "invite" ? t.members.invited : t.members.role[member.role];
  return (
    <li className="flex items-center gap-3 px-2 py-1.5">
      <Avatar id={member.userId} name={member.name} />
      <div className="min-w-0 flex-1">
        <div className="truncate font-medium">{member.name}</div>
        <div className="truncate text-xs text-text-3" title={member.userId}>
          {member.userId}
        </div>
      </div>
      {note !== "" && (
        <span className="shrink-0 rounded-full bg-surface-3 px-2 py-0.5 text-xs text-text-2">{note}</span>
      )}
    </li>
  );
}

interface MemberPanelProps {
  readonly view: RoomView;
  /** Where the room without this panel lives. */
  readonly closePath: string;
  /** Whether the panel is the whole page. */
  readonly isAlone?: boolean;
}

export function MemberPanel({ view, closePath, isAlone = false }: MemberPanelProps): ReactNode {
  const Heading = isAlone ? "h1" : "h2";
  const members = useSnapshot(view.members);
  const navigate = useNavigate();
  useEffect(() => {
    // Those already known are shown in any case.
    view.loadMembers().catch(() => undefined);
  }, [view]);
  return (
    <aside
      aria-label={t.members.title}
      className={classes("flex h-full shrink-0 flex-col", !isAlone && "w-72 border-s border-line")}
    >
      {isAlone && <PageTitle>{t.members.title}</PageTitle>}
      <div className="flex h-15 shrink-0 items-center gap-2 border-b border-line ps-4 pe-2">
        <Heading className="flex-1 font-semibold">
          {t.members.title} <span className="font-normal text-text-3">{members.length}</span>
        </Heading>
        <IconButton label={t.members.close} icon={<X />} onClick={() => void navigate(closePath)} />
      </div>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a region that scrolls must be reachable */}
      <ul className="min-h-0 flex-1 overflow-y-auto p-2" tabIndex={0} aria-label={t.members.title}>
        {members.map((member) => (
          <MemberRow key={member.userId} member={member} />
        ))}
      </ul>
    </aside>
  );
}
