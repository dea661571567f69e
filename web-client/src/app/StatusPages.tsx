import type { ReactNode } from "react";
import type { Problem } from "../core/errors";
import { t } from "../i18n";
import { abandonSession, takeOverSession } from "../store/session";
import { Button } from "../ui/Button";
import { EmptyState } from "../ui/EmptyState";
import { PageTitle } from "../ui/PageTitle";
import { Logo } from "../ui/Logo";

export function StartingPage(): ReactNode {
  return (
    <main className="flex h-full flex-col items-center justify-center gap-5">
      <PageTitle />
      <Logo className="size-14 animate-breathe" />
      <p role="status" className="text-text-2">
        {t.app.starting}
      </p>
    </main>
  );
}

export function ElsewherePage(): ReactNode {
  return (
    <main className="h-full">
      <EmptyState
        picture={<Logo className="size-14" />}
        title={t.app.elsewhereTitle}
        body={t.app.elsewhereBody}
      >
        <Button tone="primary" onClick={takeOverSession}>
          {t.app.moveHere}
        </Button>
      </EmptyState>
    </main>
  );
}

export function FailedPage({ problem }: { readonly problem: Problem }): ReactNode {
  return (
    <main className="h-full">
      <EmptyState picture={<Logo className="size-14" />} title={t.app.startFailed} body={t.problem(problem)}>
        <div className="flex gap-2">
          <Button tone="primary" onClick={() => location.reload()}>
            {t.app.tryAgain}
          </Button>
          <Button onClick={() => void abandonSession()}>{t.profile.signOut}</Button>
        </div>
      </EmptyState>
    </main>
  );
}
