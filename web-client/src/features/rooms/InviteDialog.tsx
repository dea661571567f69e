import { useState, type ReactNode, type SubmitEvent } from "react";
import { CoreError } from "../../core/errors";
import type { RoomSummary } from "../../core/types";
import { t } from "../../i18n";
import { useCore } from "../../store/core";
import { notify } from "../../store/notices";
import { useCommand } from "../../store/use-command";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { FormError } from "../../ui/FormError";

// spec: client-server v1.19 appendices §4.2.1 user identifiers; old servers still have wider names.
const USER_ID = /^@[^:\s]+:[^\s]+$/;

/** The refusals of an invitation have more telling reasons than those of other commands. */
async function inviteReason(inviting: Promise<void>): Promise<void> {
  try {
    await inviting;
  } catch (error) {
    const kind = error instanceof CoreError ? error.problem.kind : undefined;
    if (kind === "forbidden") {
      throw new CoreError({ kind: "explained", text: t.rooms.inviteForbidden }, { cause: error });
    }
    if (kind === "notFound") {
      throw new CoreError({ kind: "explained", text: t.rooms.inviteNotFound }, { cause: error });
    }
    throw error;
  }
}

interface InviteDialogProps {
  readonly room: RoomSummary;
  readonly onClose: () => void;
}

export function InviteDialog({ room, onClose }: InviteDialogProps): ReactNode {
  const core = useCore();
  const [userId, setUserId] = useState("");
  const [isInvalid, setInvalid] = useState(false);
  const invite = useCommand(async (id: string) => {
    await inviteReason(core.invite(room.roomId, id));
    notify(t.rooms.invited(id));
    onClose();
  });

  function submit(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const id = userId.trim();
    const isValid = USER_ID.test(id);
    setInvalid(!isValid);
    if (isValid) void invite.run(id);
  }

  return (
    <Dialog isOpen onClose={onClose} title={t.rooms.inviteDialog(room.name)}>
      <form className="flex flex-col gap-5" noValidate onSubmit={submit}>
        <Field
          label={t.rooms.userId}
          hint={t.rooms.userIdHint}
          placeholder={t.rooms.userIdPlaceholder}
          value={userId}
          onChange={(event) => setUserId(event.target.value)}
          error={isInvalid ? t.rooms.userIdInvalid : undefined}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          required
        />
        <FormError>{invite.failure}</FormError>
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{t.app.cancel}</Button>
          <Button type="submit" tone="primary" isBusy={invite.isBusy}>
            {t.rooms.inviteAction}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
