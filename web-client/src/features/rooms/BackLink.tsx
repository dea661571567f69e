import { ArrowLeft } from "lucide-react";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { t } from "../../i18n";

/** From a room back to the list, where only one pane fits. */
export function BackLink(): ReactNode {
  return (
    <Link
      to="/"
      aria-label={t.app.back}
      className="inline-flex size-9 items-center justify-center rounded-sm text-text-2 hover:bg-surface-3 pointer-coarse:size-11 wide:hidden"
    >
      <ArrowLeft aria-hidden="true" className="size-[18px]" />
    </Link>
  );
}
