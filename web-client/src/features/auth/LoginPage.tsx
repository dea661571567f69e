import { useState, type ReactNode, type SubmitEvent } from "react";
import { Link } from "react-router";
import { signIn } from "../../core/auth";
import { problemFrom } from "../../core/errors";
import { t } from "../../i18n";
import { beginSession, useSession } from "../../store/session";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { FormError } from "../../ui/FormError";
import { AuthLayout } from "./AuthLayout";
import { field } from "./form";
import { PasswordField } from "./PasswordField";
import { usePreload } from "./use-preload";
import { useServerName } from "./use-server-name";

interface Mistakes {
  readonly username?: string;
  readonly password?: string;
  readonly form?: string;
}

export function LoginPage(): ReactNode {
  const server = useServerName();
  const isEnded = useSession((session) => session.status === "signedOut" && session.isEnded);
  const [mistakes, setMistakes] = useState<Mistakes>({});
  const [isBusy, setBusy] = useState(false);
  usePreload();

  async function submit(event: SubmitEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const username = field(event.currentTarget, "username").trim();
    const password = field(event.currentTarget, "password");
    if (username === "") return setMistakes({ username: t.auth.usernameMissing });
    if (password === "") return setMistakes({ password: t.auth.passwordMissing });
    setMistakes({});
    setBusy(true);
    try {
      beginSession(await signIn(username, password), password);
    } catch (error) {
      setMistakes({ form: t.problem(problemFrom(error)) });
      setBusy(false);
    }
    return undefined;
  }

  return (
    <AuthLayout
      name={t.auth.signIn}
      title={t.auth.signInTitle}
      subtitle={t.auth.signInTo(server ?? location.host)}
    >
      <form className="flex flex-col gap-4" noValidate onSubmit={(event) => void submit(event)}>
        {isEnded && mistakes.form === undefined && (
          <p className="rounded-sm bg-warn-soft px-3 py-2.5 text-sm">{t.auth.ended}</p>
        )}
        <Field
          name="username"
          label={t.auth.username}
          error={mistakes.username}
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          required
        />
        <PasswordField
          name="password"
          label={t.auth.password}
          error={mistakes.password}
          autoComplete="current-password"
          required
        />
        <FormError>{mistakes.form}</FormError>
        <Button type="submit" tone="primary" isBusy={isBusy}>
          {t.auth.signIn}
        </Button>
      </form>
      <p className="mt-5 text-center text-sm text-text-2">
        {t.auth.noAccount}{" "}
        <Link className="font-medium text-accent-text underline underline-offset-2" to="/register">
          {t.auth.signUp}
        </Link>
      </p>
    </AuthLayout>
  );
}
