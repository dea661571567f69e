import type { ReactNode } from "react";
import { t } from "../../i18n";
import { PageTitle } from "../../ui/PageTitle";
import { Logo } from "../../ui/Logo";

interface AuthLayoutProps {
  /** For the browser's tab. */
  readonly name: string;
  readonly title: string;
  readonly subtitle: string;
  readonly children: ReactNode;
}

export function AuthLayout({ name, title, subtitle, children }: AuthLayoutProps): ReactNode {
  return (
    <div className="flex h-full flex-col overflow-y-auto bg-surface-2">
      <PageTitle>{name}</PageTitle>
      <main className="m-auto w-full max-w-[25rem] animate-rise px-5 py-10">
        <div className="mb-7 flex flex-col items-center gap-4 text-center">
          <Logo className="size-14" />
          <div>
            <h1 className="text-xl font-semibold tracking-tight">{title}</h1>
            <p className="mt-1.5 text-text-2">{subtitle}</p>
          </div>
        </div>
        <div className="rounded-lg border border-line bg-surface-1 p-6">{children}</div>
      </main>
      <footer className="px-5 pb-6 text-center text-sm text-text-3">{t.auth.promise}</footer>
    </div>
  );
}
