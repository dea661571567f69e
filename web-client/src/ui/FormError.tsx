import { CircleAlert } from "lucide-react";
import type { ReactNode } from "react";

/** Why a form was refused; announced when it appears. */
export function FormError({ children }: { readonly children: string | undefined }): ReactNode {
  if (children === undefined) return undefined;
  return (
    <p
      role="alert"
      className="flex animate-appear items-start gap-2 rounded-sm bg-danger-soft px-3 py-2.5 text-sm text-danger"
    >
      <CircleAlert aria-hidden="true" className="mt-0.5 size-4 shrink-0" />
      {children}
    </p>
  );
}
