import { useEffect, useState, type ReactNode, type SubmitEvent } from "react";
import { Link } from "react-router";
import { registrationTerms, signUp, type RegistrationTerms } from "../../core/auth";
import { problemFrom } from "../../core/errors";
import { t } from "../../i18n";
import { beginSession } from "../../store/session";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { FormError } from "../../ui/FormError";
import { AuthLayout } from "./AuthLayout";
import { field } from "./form";
import { PasswordField } from "./PasswordField";
import { usePreload } from "./use-preload";
import { useServerName } from "./use-server-name";

const PASSWORD_CHARACTERS_MIN = 8;
// spec: client-server v1.19 appendices §4.2.1 user identifiers
const LOCALPART = /^[a-z0-9._=/+-]+$/;

interface Mistakes {
  readonly username?: string;
  readonly password?: string;
  readonly token?: string;
  readonly form?: string;
}

interface Entries {
  readonly username: string;
  readonly password: string;
  readonly token: string | undefined;
}

function check({ username, password, token }: Entries): Mistakes | undefined {
  if (username === "") return { username: t.auth.usernameMissing };
  if (!LOCALPART.test(username)) return { username: t.problem({ kind: "nameInvalid" }) };
  if (password.length < PASSWORD_CHARACTERS_MIN) return { password: t.auth.passwordShort };
  if (token === "") return { token: t.auth.tokenMissing };
  return undefined;
}

/** Puts a refusal beside the field it is about. */
function mistakesFrom(error: unknown): Mistakes {
  const problem = problemFrom(error);
  const text = t.problem(problem);
  if (problem.kind === "nameTaken" || problem.kind === "nameInvalid") return { username: text };
  if (problem.kind === "weakPassword") return { password: text };
  if (problem.kind === "tokenRejected") return { token: text };
  return { form: text };
}

export function RegisterPage(): ReactNode {
  const server = useServerName();
  const [terms, setTerms] = useState<RegistrationTerms>({ needsToken: false });
  const [name, setName] = useState("");
  const [mistakes, setMistakes] = useState<Mistakes>({});
  const [isBusy, setBusy] = useState(false);
  usePreload();

  useEffect(() => {
    let isWanted = true;
    registrationTerms().then(
      (asked) => isWanted && setTerms(asked),
      (error: unknown) => isWanted && setMistakes(mistakesFrom(error)),
    );
    return () => {
      isWanted = false;
    };
  }, []);

  async function submit(event: SubmitEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const entries: Entries = {
      username: name,
      password: field(event.currentTarget, "password"),
      token: terms.needsToken ? field(event.currentTarget, "token").trim() : undefined,
    };
    const found = check(entries);
    setMistakes(found ?? {});
    if (found !== undefined) return;
    setBusy(true);
    try {
      beginSession(await signUp(entries), entries.password);
    } catch (error) {
      setMistakes(mistakesFrom(error));
      setBusy(false);
    }
  }

  return (
    <AuthLayout
      name={t.auth.signUp}
      title={t.auth.signUpTitle}
      subtitle={t.auth.signUpOn(server ?? location.host)}
    >
      <form className="flex flex-col gap-4" noValidate onSubmit={(event) => void submit(event)}>
        <Field
          name="username"
          label={t.auth.username}
          hint={server === undefined ? undefined : t.auth.yourId(name === "" ? "name" : name, server)}
          error={mistakes.username}
          value={name}
          onChange={(event) => setName(event.target.value.trim().toLowerCase())}
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          required
        />
        <PasswordField
          name="password"
          label={t.auth.password}
          hint={t.auth.passwordHint}
          error={mistakes.password}
          autoComplete="new-password"
          required
        />
        {terms.needsToken && (
          <Field
            name="token"
            label={t.auth.token}
            hint={t.auth.tokenHint}
            error={mistakes.token}
            autoComplete="off"
            spellCheck={false}
            required
          />
        )}
        <FormError>{mistakes.form}</FormError>
        <Button type="submit" tone="primary" isBusy={isBusy}>
          {t.auth.signUp}
        </Button>
      </form>
      <p className="mt-5 text-center text-sm text-text-2">
        {t.auth.haveAccount}{" "}
        <Link className="font-medium text-accent-text underline underline-offset-2" to="/login">
          {t.auth.signIn}
        </Link>
      </p>
    </AuthLayout>
  );
}
