import { Compass } from "lucide-react";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { t } from "../i18n";
import { EmptyState } from "../ui/EmptyState";

export function NotFoundPage(): ReactNode {
  return (
    <EmptyState
      picture={<Compass aria-hidden="true" className="size-10 text-text-3" />}
      title={t.app.notFoundTitle}
      body={t.app.notFoundBody}
    >
      <Link className="font-medium text-accent-text underline underline-offset-2" to="/">
        {t.app.home}
      </Link>
    </EmptyState>
  );
}
