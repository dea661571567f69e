import { Eye, EyeOff } from "lucide-react";
import { useState, type ComponentProps, type ReactNode } from "react";
import { t } from "../../i18n";
import { Field } from "../../ui/Field";
import { IconButton } from "../../ui/IconButton";

export function PasswordField(props: Omit<ComponentProps<typeof Field>, "trailing" | "type">): ReactNode {
  const [isShown, setShown] = useState(false);
  return (
    <Field
      {...props}
      type={isShown ? "text" : "password"}
      trailing={
        <IconButton
          label={isShown ? t.auth.hidePassword : t.auth.showPassword}
          icon={isShown ? <EyeOff /> : <Eye />}
          onClick={() => setShown(!isShown)}
        />
      }
    />
  );
}
