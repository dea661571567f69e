import type { ReactNode } from "react";

export function Logo({ className = "size-10" }: { readonly className?: string }): ReactNode {
  return <img src="/icon.svg" alt="" className={className} />;
}
