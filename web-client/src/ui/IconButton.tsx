import { Tooltip } from "radix-ui";
import type { ComponentProps, ReactNode } from "react";
import { classes } from "./classes";

interface IconButtonProps extends Omit<ComponentProps<"button">, "children"> {
  /** The name of the action, spoken and shown on hover. */
  readonly label: string;
  readonly icon: ReactNode;
}

export function IconButton({ label, icon, className, ...rest }: IconButtonProps): ReactNode {
  return (
    <Tooltip.Root>
      <Tooltip.Trigger
        type="button"
        aria-label={label}
        className={classes(
          "inline-flex size-9 shrink-0 items-center justify-center rounded-sm text-text-2 transition-colors hover:bg-surface-3 hover:text-text-1 aria-expanded:bg-surface-3 aria-pressed:bg-surface-3 aria-pressed:text-text-1 pointer-coarse:size-11 [&_svg]:size-[18px]",
          className,
        )}
        {...rest}
      >
        {icon}
      </Tooltip.Trigger>
      {/* In place, not in a portal: it stays in the landmark it belongs to. */}
      <Tooltip.Content
        sideOffset={6}
        className="z-50 animate-appear rounded-sm bg-text-1 px-2 py-1 text-xs text-surface-1"
      >
        {label}
      </Tooltip.Content>
    </Tooltip.Root>
  );
}
