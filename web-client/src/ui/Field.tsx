import { useId, type ComponentProps, type ReactNode } from "react";
import { classes } from "./classes";

interface FieldProps extends ComponentProps<"input"> {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly error?: string | undefined;
  /** A control inside the field, at its end. */
  readonly trailing?: ReactNode;
}

export function Field({ label, hint, error, trailing, className, ...rest }: FieldProps): ReactNode {
  const id = useId();
  const note = error ?? hint;
  return (
    <div className="flex flex-col gap-1.5">
      <label htmlFor={id} className="text-sm font-medium text-text-1">
        {label}
      </label>
      <div className="relative flex">
        <input
          id={id}
          aria-invalid={error !== undefined}
          aria-describedby={note === undefined ? undefined : `${id}-note`}
          className={classes(
            "min-h-11 w-full rounded-sm border bg-surface-1 px-3 text-text-1 transition-colors placeholder:text-text-3",
            error === undefined ? "border-line-strong hover:border-text-2" : "border-danger",
            trailing !== undefined && "pe-12",
            className,
          )}
          {...rest}
        />
        {trailing !== undefined && (
          <div className="absolute inset-y-0 end-1 flex items-center">{trailing}</div>
        )}
      </div>
      {note !== undefined && (
        <p
          id={`${id}-note`}
          className={classes("text-sm", error === undefined ? "text-text-3" : "text-danger")}
        >
          {note}
        </p>
      )}
    </div>
  );
}
