import { LockKeyhole, LockKeyholeOpen } from "lucide-react";
import type { ReactNode } from "react";
import { t } from "../../i18n";
import { classes } from "../../ui/classes";

export function EncryptionMark({ isEncrypted }: { readonly isEncrypted: boolean }): ReactNode {
  const Icon = isEncrypted ? LockKeyhole : LockKeyholeOpen;
  return (
    <span
      className={classes(
        "inline-flex shrink-0 items-center gap-1 text-xs font-medium whitespace-nowrap",
        isEncrypted ? "text-safe" : "text-text-3",
      )}
    >
      <Icon aria-hidden="true" className="size-3.5 shrink-0" />
      {isEncrypted ? t.rooms.isEncrypted : t.rooms.isNotEncrypted}
    </span>
  );
}
