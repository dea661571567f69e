import { KeyRound } from "lucide-react";
import { useEffect, useState, type ReactNode, type SubmitEvent } from "react";
import { t } from "../../i18n";
import { useCore } from "../../store/core";
import { notify } from "../../store/notices";
import { useSnapshot } from "../../store/snapshot";
import { useCommand } from "../../store/use-command";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { FormError } from "../../ui/FormError";

function PasswordDialog({ onClose }: { readonly onClose: () => void }): ReactNode {
  const core = useCore();
  const [password, setPassword] = useState("");
  const [isWrong, setWrong] = useState(false);
  const confirm = useCommand(async () => {
    await core.confirmPassword(password);
    const isRefused = core.identity.get() === "needsPassword";
    setWrong(isRefused);
    if (!isRefused) onClose();
  });

  function submit(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    if (password !== "") void confirm.run();
  }

  return (
    <Dialog isOpen onClose={onClose} title={t.identity.title} description={t.identity.body}>
      <form className="flex flex-col gap-4" noValidate onSubmit={submit}>
        <Field
          type="password"
          label={t.auth.password}
          value={password}
          onChange={(event) => setPassword(event.target.value)}
          error={isWrong ? t.problem({ kind: "wrongPassword" }) : undefined}
          autoComplete="current-password"
        />
        <FormError>{confirm.failure}</FormError>
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{t.app.cancel}</Button>
          <Button type="submit" tone="primary" isBusy={confirm.isBusy}>
            {t.identity.confirm}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Asks for the password where the server wants it before it takes the cross-signing keys. */
export function IdentityBanner(): ReactNode {
  const state = useSnapshot(useCore().identity);
  const [isOpen, setOpen] = useState(false);

  useEffect(() => {
    if (state === "failed") notify(t.identity.failed, "danger");
  }, [state]);

  if (state !== "needsPassword") return undefined;
  return (
    <div className="flex items-center justify-center gap-3 bg-accent-soft px-4 py-1.5 text-sm">
      <KeyRound aria-hidden="true" className="size-4 shrink-0" />
      {t.identity.title}
      <Button size="small" onClick={() => setOpen(true)}>
        {t.identity.open}
      </Button>
      {isOpen && <PasswordDialog onClose={() => setOpen(false)} />}
    </div>
  );
}
