import type { ReactNode } from "react";
import { useNavigate } from "react-router";
import type { RoomSummary } from "../../core/types";
import { t } from "../../i18n";
import { useCore } from "../../store/core";
import { useCommand } from "../../store/use-command";
import { Button } from "../../ui/Button";
import { FormError } from "../../ui/FormError";
import { roomPath } from "./paths";

interface InviteActionsProps {
  readonly room: RoomSummary;
  readonly size: "small" | "normal";
}

export function InviteActions({ room: { roomId }, size }: InviteActionsProps): ReactNode {
  const core = useCore();
  const navigate = useNavigate();
  const accept = useCommand(async () => {
    await core.acceptInvite(roomId);
    await navigate(roomPath(roomId));
  });
  const decline = useCommand(() => core.declineInvite(roomId));
  return (
    <div className="flex flex-col gap-2">
      <div className="flex gap-2">
        <Button
          tone="primary"
          size={size}
          isBusy={accept.isBusy}
          disabled={decline.isBusy}
          onClick={() => void accept.run()}
        >
          {t.rooms.accept}
        </Button>
        <Button
          size={size}
          isBusy={decline.isBusy}
          disabled={accept.isBusy}
          onClick={() => void decline.run()}
        >
          {t.rooms.decline}
        </Button>
      </div>
      <FormError>{accept.failure ?? decline.failure}</FormError>
    </div>
  );
}
