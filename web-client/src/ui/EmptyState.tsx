import type { ReactNode } from "react";
import { PageTitle } from "./PageTitle";

interface EmptyStateProps {
  readonly picture: ReactNode;
  readonly title: string;
  readonly body?: string;
  readonly children?: ReactNode;
}

/** A pane with one thing to say and, mostly, one thing to do. */
export function EmptyState({ picture, title, body, children }: EmptyStateProps): ReactNode {
  return (
    <div className="flex h-full flex-col items-center justify-center gap-2 overflow-y-auto p-6 text-center">
      <PageTitle>{title}</PageTitle>
      <div className="mb-2">{picture}</div>
      <h1 className="text-xl font-semibold tracking-tight text-balance break-words">{title}</h1>
      {body !== undefined && <p className="max-w-sm text-text-2">{body}</p>}
      {children !== undefined && <div className="mt-4 flex flex-col items-center gap-3">{children}</div>}
    </div>
  );
}
