import { Copy, Plus } from "lucide-react";
import { useState, type ReactNode } from "react";
import { t } from "../../i18n";
import { useCore } from "../../store/core";
import { notify } from "../../store/notices";
import { Button } from "../../ui/Button";
import { EmptyState } from "../../ui/EmptyState";
import { IconButton } from "../../ui/IconButton";
import { Logo } from "../../ui/Logo";
import { CreateRoomDialog } from "../rooms";

export function HomePage(): ReactNode {
  const { me } = useCore();
  const [isCreating, setCreating] = useState(false);

  async function copyId(): Promise<void> {
    await navigator.clipboard.writeText(me.userId);
    notify(t.home.copied);
  }

  return (
    <EmptyState picture={<Logo className="size-16" />} title={t.home.title(me.name)} body={t.home.body}>
      <Button
        tone="primary"
        icon={<Plus aria-hidden="true" className="size-4" />}
        onClick={() => setCreating(true)}
      >
        {t.rooms.create}
      </Button>
      <div className="mt-4 text-sm text-text-3">
        {t.home.shareId}
        <div className="mt-1.5 flex items-center justify-center gap-1 rounded-sm border border-line ps-3 text-text-1">
          <code className="min-w-0 break-all">{me.userId}</code>
          <IconButton label={t.home.copy} icon={<Copy />} onClick={() => void copyId()} />
        </div>
      </div>
      {isCreating && <CreateRoomDialog onClose={() => setCreating(false)} />}
    </EmptyState>
  );
}
