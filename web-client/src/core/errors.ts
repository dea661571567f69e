/** What went wrong, in the terms a person can act on; the words are in the message catalogue. */
export type Problem =
  | { readonly kind: "offline" }
  | { readonly kind: "notSecure" }
  | { readonly kind: "wrongPassword" }
  | { readonly kind: "accountSuspended" }
  | { readonly kind: "nameTaken" }
  | { readonly kind: "nameInvalid" }
  | { readonly kind: "weakPassword" }
  | { readonly kind: "registrationClosed" }
  | { readonly kind: "tokenRejected" }
  | { readonly kind: "unsupportedStages" }
  | { readonly kind: "forbidden" }
  | { readonly kind: "notFound" }
  | { readonly kind: "tooMany"; readonly retryAfterMs: number | undefined }
  /** Already in the reader's words. */
  | { readonly kind: "explained"; readonly text: string }
  | { readonly kind: "unexpected"; readonly detail: string };

/** An error whose cause has been understood. */
export class CoreError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem, options?: ErrorOptions) {
    super(problem.kind, options);
    this.name = "CoreError";
    this.problem = problem;
  }
}

/** The answer of a homeserver that refused a request. */
export interface ErrorAnswer {
  readonly status: number;
  readonly errcode: string | undefined;
  readonly message: string | undefined;
  readonly retryAfterMs: number | undefined;
}

const BY_ERRCODE: Readonly<Record<string, Problem>> = {
  M_USER_IN_USE: { kind: "nameTaken" },
  M_EXCLUSIVE: { kind: "nameTaken" },
  M_INVALID_USERNAME: { kind: "nameInvalid" },
  M_WEAK_PASSWORD: { kind: "weakPassword" },
  M_PASSWORD_TOO_SHORT: { kind: "weakPassword" },
  M_USER_DEACTIVATED: { kind: "accountSuspended" },
  M_USER_LOCKED: { kind: "accountSuspended" },
  M_USER_SUSPENDED: { kind: "accountSuspended" },
  M_REGISTRATION_DISABLED: { kind: "registrationClosed" },
  M_FORBIDDEN: { kind: "forbidden" },
  M_NOT_FOUND: { kind: "notFound" },
};

/** Understands an error answer by its `errcode` (spec: client-server v1.19 §5.2 standard error response). */
export function problemOf(answer: ErrorAnswer): Problem {
  if (answer.errcode === "M_LIMIT_EXCEEDED" || answer.status === 429) {
    return { kind: "tooMany", retryAfterMs: answer.retryAfterMs };
  }
  const known = answer.errcode === undefined ? undefined : BY_ERRCODE[answer.errcode];
  if (known !== undefined) return known;
  return { kind: "unexpected", detail: answer.message ?? `HTTP ${answer.status}` };
}

/** The problem behind anything that was thrown. */
export function problemFrom(error: unknown): Problem {
  if (error instanceof CoreError) return error.problem;
  return { kind: "unexpected", detail: error instanceof Error ? error.message : String(error) };
}
