import { Component, type ReactNode } from "react";
import { t } from "../i18n";
import { Button } from "../ui/Button";
import { EmptyState } from "../ui/EmptyState";
import { Logo } from "../ui/Logo";

interface Props {
  readonly children: ReactNode;
}

interface State {
  readonly hasCrashed: boolean;
}

/** The last resort: a page that says so instead of an empty one. */
export class ErrorBoundary extends Component<Props, State> {
  override state: State = { hasCrashed: false };

  static getDerivedStateFromError(): State {
    return { hasCrashed: true };
  }

  override render(): ReactNode {
    if (!this.state.hasCrashed) return this.props.children;
    return (
      <main className="h-full">
        <EmptyState picture={<Logo className="size-14" />} title={t.app.crashTitle} body={t.app.crashBody}>
          <Button tone="primary" onClick={() => location.reload()}>
            {t.app.reload}
          </Button>
        </EmptyState>
      </main>
    );
  }
}
