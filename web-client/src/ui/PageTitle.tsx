import type { ReactNode } from "react";
import { t } from "../i18n";

/** The title of the browser's tab; without a text, the product's name alone. */
export function PageTitle({ children }: { readonly children?: string }): ReactNode {
  return <title>{children === undefined ? t.app.name : `${children} · ${t.app.name}`}</title>;
}
