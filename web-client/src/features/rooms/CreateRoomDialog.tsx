import { Globe, Lock } from "lucide-react";
import { Switch } from "radix-ui";
import { useId, useState, type ReactNode, type SubmitEvent } from "react";
import { useNavigate } from "react-router";
import { t } from "../../i18n";
import { useCore } from "../../store/core";
import { useCommand } from "../../store/use-command";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { FormError } from "../../ui/FormError";
import { roomPath } from "./paths";

const ACCESS = [
  { value: "private", label: t.rooms.private, Icon: Lock },
  { value: "public", label: t.rooms.public, Icon: Globe },
] as const;

type Access = (typeof ACCESS)[number]["value"];

interface AccessFieldProps {
  readonly value: Access;
  readonly onChange: (value: Access) => void;
}

function AccessField({ value, onChange }: AccessFieldProps): ReactNode {
  return (
    <fieldset>
      <legend className="mb-1.5 text-sm font-medium">{t.rooms.access}</legend>
      <div className="flex flex-col gap-2">
        {ACCESS.map((option) => (
          <label
            key={option.value}
            className="flex min-h-11 items-center gap-3 rounded-sm border border-line px-3 transition-colors has-checked:border-accent has-checked:bg-accent-soft has-focus-visible:outline-2 has-focus-visible:outline-offset-2 has-focus-visible:outline-accent"
          >
            <input
              type="radio"
              name="access"
              className="size-4 accent-accent outline-none"
              checked={value === option.value}
              onChange={() => onChange(option.value)}
            />
            <span className="flex-1">{option.label}</span>
            <option.Icon aria-hidden="true" className="size-4 text-text-2" />
          </label>
        ))}
      </div>
    </fieldset>
  );
}

interface EncryptionFieldProps {
  readonly isOn: boolean;
  readonly onChange: (isOn: boolean) => void;
}

function EncryptionField({ isOn, onChange }: EncryptionFieldProps): ReactNode {
  const id = useId();
  return (
    <div className="flex items-start gap-4">
      <div className="flex-1">
        <label htmlFor={id} className="text-sm font-medium">
          {t.rooms.encrypted}
        </label>
        <p id={`${id}-hint`} className="text-sm text-text-3">
          {t.rooms.encryptedHint}
        </p>
      </div>
      <Switch.Root
        id={id}
        aria-describedby={`${id}-hint`}
        checked={isOn}
        onCheckedChange={onChange}
        className="relative mt-0.5 h-6 w-11 shrink-0 rounded-full bg-line-strong transition-colors data-[state=checked]:bg-accent"
      >
        <Switch.Thumb className="block size-5 translate-x-0.5 rounded-full bg-surface-1 transition-transform data-[state=checked]:translate-x-5.5" />
      </Switch.Root>
    </div>
  );
}

export function CreateRoomDialog({ onClose }: { readonly onClose: () => void }): ReactNode {
  const core = useCore();
  const navigate = useNavigate();
  const [name, setName] = useState("");
  const [isMissing, setMissing] = useState(false);
  const [access, setAccess] = useState<Access>("private");
  const [isEncrypted, setEncrypted] = useState(true);
  const create = useCommand(async () => {
    const roomId = await core.createRoom({ name: name.trim(), isPublic: access === "public", isEncrypted });
    onClose();
    await navigate(roomPath(roomId));
  });

  function submit(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault();
    const isEmpty = name.trim() === "";
    setMissing(isEmpty);
    if (!isEmpty) void create.run();
  }

  return (
    <Dialog isOpen onClose={onClose} title={t.rooms.createTitle}>
      <form className="flex flex-col gap-5" noValidate onSubmit={submit}>
        <Field
          label={t.rooms.name}
          placeholder={t.rooms.namePlaceholder}
          value={name}
          onChange={(event) => setName(event.target.value)}
          error={isMissing ? t.rooms.nameMissing : undefined}
          maxLength={200}
          autoComplete="off"
          required
        />
        <AccessField value={access} onChange={setAccess} />
        <EncryptionField isOn={isEncrypted} onChange={setEncrypted} />
        <FormError>{create.failure}</FormError>
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{t.app.cancel}</Button>
          <Button type="submit" tone="primary" isBusy={create.isBusy}>
            {t.rooms.createAction}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
