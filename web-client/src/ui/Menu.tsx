import { DropdownMenu } from "radix-ui";
import { Check } from "lucide-react";
import type { ReactNode } from "react";
import { classes } from "./classes";

const ITEM =
  "flex min-h-9 cursor-default select-none items-center gap-2.5 rounded-[6px] px-2.5 text-sm outline-none data-highlighted:bg-surface-3 pointer-coarse:min-h-11 [&_svg]:size-4 [&_svg]:shrink-0";

interface MenuProps {
  readonly trigger: ReactNode;
  readonly align?: "start" | "end";
  readonly children: ReactNode;
}

/** Not modal, because locking the scroll would need a style tag; the layout never scrolls as a whole anyway. */
export function Menu({ trigger, align = "end", children }: MenuProps): ReactNode {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      {/* In place, not in a portal: it stays in the landmark it belongs to. */}
      <DropdownMenu.Content
        align={align}
        sideOffset={6}
        collisionPadding={8}
        className="z-50 min-w-52 animate-appear rounded-md border border-line bg-overlay p-1.5 shadow-overlay"
      >
        {children}
      </DropdownMenu.Content>
    </DropdownMenu.Root>
  );
}

interface MenuItemProps {
  readonly icon: ReactNode;
  readonly tone?: "normal" | "danger";
  readonly onSelect: () => void;
  readonly children: string;
}

export function MenuItem({ icon, tone = "normal", onSelect, children }: MenuItemProps): ReactNode {
  return (
    <DropdownMenu.Item className={classes(ITEM, tone === "danger" && "text-danger")} onSelect={onSelect}>
      {icon}
      {children}
    </DropdownMenu.Item>
  );
}

interface MenuChoiceProps<T extends string> {
  readonly label: string;
  readonly value: T;
  readonly options: readonly (readonly [value: T, label: string])[];
  readonly onChoose: (value: T) => void;
}

/** One of several values. */
export function MenuChoice<T extends string>({
  label,
  value,
  options,
  onChoose,
}: MenuChoiceProps<T>): ReactNode {
  return (
    <DropdownMenu.RadioGroup value={value} aria-label={label}>
      <DropdownMenu.Label className="px-2.5 pt-1.5 pb-1 text-xs text-text-3">{label}</DropdownMenu.Label>
      {options.map(([option, name]) => (
        <DropdownMenu.RadioItem
          key={option}
          value={option}
          className={ITEM}
          onSelect={(event) => {
            // The menu stays open: the effect is best judged at once.
            event.preventDefault();
            onChoose(option);
          }}
        >
          <span className="flex size-4 items-center">
            <DropdownMenu.ItemIndicator>
              <Check aria-hidden="true" />
            </DropdownMenu.ItemIndicator>
          </span>
          {name}
        </DropdownMenu.RadioItem>
      ))}
    </DropdownMenu.RadioGroup>
  );
}

export function MenuSeparator(): ReactNode {
  return <DropdownMenu.Separator className="mx-1 my-1.5 h-px bg-line" />;
}
