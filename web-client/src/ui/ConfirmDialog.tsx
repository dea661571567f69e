import type { ReactNode } from "react";
import { t } from "../i18n";
import { useCommand } from "../store/use-command";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { FormError } from "./FormError";

interface ConfirmDialogProps {
  readonly title: string;
  readonly body: string;
  readonly action: string;
  readonly onConfirm: () => Promise<void>;
  readonly onClose: () => void;
}

/** Asks before something that cannot be taken back. */
export function ConfirmDialog({ title, body, action, onConfirm, onClose }: ConfirmDialogProps): ReactNode {
  const confirm = useCommand(onConfirm);
  return (
    <Dialog isOpen onClose={onClose} title={title} description={body}>
      <FormError>{confirm.failure}</FormError>
      <div className="mt-4 flex justify-end gap-2">
        <Button onClick={onClose}>{t.app.cancel}</Button>
        <Button tone="danger" isBusy={confirm.isBusy} onClick={() => void confirm.run()}>
          {action}
        </Button>
      </div>
    </Dialog>
  );
}
