import type { ComponentProps, ReactNode } from "react";
import { classes } from "./classes";
import { Spinner } from "./Spinner";

type Tone = "primary" | "quiet" | "danger" | "plain";

const TONES: Record<Tone, string> = {
  primary: "bg-accent text-on-accent hover:bg-accent-hover",
  danger: "bg-danger text-on-danger hover:opacity-90",
  quiet: "border border-line bg-surface-1 text-text-1 hover:bg-surface-3",
  plain: "text-text-1 hover:bg-surface-3",
};

interface ButtonProps extends ComponentProps<"button"> {
  readonly tone?: Tone;
  readonly size?: "small" | "normal";
  /** Shows that the action is under way and ignores further presses, without losing the focus. */
  readonly isBusy?: boolean;
  readonly icon?: ReactNode;
}

export function Button({
  tone = "quiet",
  size = "normal",
  isBusy = false,
  icon,
  className,
  children,
  onClick,
  type = "button",
  ...rest
}: ButtonProps): ReactNode {
  return (
    <button
      // oxlint-disable-next-line react/button-has-type
      type={type}
      aria-disabled={isBusy || undefined}
      className={classes(
        "inline-flex select-none items-center justify-center gap-2 rounded-sm font-medium transition-colors disabled:opacity-50",
        size === "small"
          ? "min-h-8 px-3 text-sm pointer-coarse:min-h-11"
          : "min-h-10 px-4 pointer-coarse:min-h-11",
        TONES[tone],
        className,
      )}
      onClick={(event) => {
        if (isBusy) event.preventDefault();
        else onClick?.(event);
      }}
      {...rest}
    >
      {isBusy ? <Spinner /> : icon}
      {children}
    </button>
  );
}
