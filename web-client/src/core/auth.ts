/**
 * Signing in and up with plain requests, so that the first pages need none of the SDK.
 * The page is served by the homeserver itself: every path is on the same origin.
 */
import { CoreError, problemOf, type ErrorAnswer } from "./errors";
import type { Credentials } from "./types";

const CLIENT_API = "/_matrix/client/v3";
const DEVICE_NAME = "Hearth in a browser";

type Json = Record<string, unknown>;

interface Answer {
  readonly status: number;
  readonly body: Json;
}

/** The stages this client can pass on its own or with one more field. */
export interface RegistrationTerms {
  readonly needsToken: boolean;
}

export interface NewAccount {
  readonly username: string;
  readonly password: string;
  /** Where the server asks for one. */
  readonly token: string | undefined;
}

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function request(method: "GET" | "POST", path: string, body?: Json): Promise<Answer> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      ...(body === undefined
        ? {}
        : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
  } catch (cause) {
    throw new CoreError({ kind: "offline" }, { cause });
  }
  const parsed: unknown = await response.json().catch(() => undefined);
  if (!isJson(parsed)) {
    if (response.status >= 502) throw new CoreError({ kind: "offline" });
    throw new CoreError({ kind: "unexpected", detail: `HTTP ${response.status}` });
  }
  return { status: response.status, body: parsed };
}

function text(body: Json, field: string): string | undefined {
  const value = body[field];
  return typeof value === "string" ? value : undefined;
}

function errorAnswer({ status, body }: Answer): ErrorAnswer {
  const retryAfter = body["retry_after_ms"];
  return {
    status,
    errcode: text(body, "errcode"),
    message: text(body, "error"),
    retryAfterMs: typeof retryAfter === "number" ? retryAfter : undefined,
  };
}

function credentials(answer: Answer): Credentials {
  const userId = text(answer.body, "user_id");
  const deviceId = text(answer.body, "device_id");
  const accessToken = text(answer.body, "access_token");
  if (userId === undefined || deviceId === undefined || accessToken === undefined) {
    throw new CoreError({ kind: "unexpected", detail: "user_id, device_id or access_token is missing" });
  }
  return { userId, deviceId, accessToken };
}

/** Signs in with a local name or a full user id. spec: client-server v1.19 §5.6 login */
export async function signIn(username: string, password: string): Promise<Credentials> {
  const answer = await request("POST", `${CLIENT_API}/login`, {
    type: "m.login.password",
    identifier: { type: "m.id.user", user: username },
    password,
    initial_device_display_name: DEVICE_NAME,
  });
  if (answer.status === 200) return credentials(answer);
  const problem = problemOf(errorAnswer(answer));
  throw new CoreError(problem.kind === "forbidden" ? { kind: "wrongPassword" } : problem);
}

const PASSABLE = new Set(["m.login.dummy", "m.login.registration_token"]);

/** The stages of the shortest flow this client can pass. */
function passableStages(body: Json): readonly string[] | undefined {
  const flows = Array.isArray(body["flows"]) ? body["flows"] : [];
  return flows
    .map((flow: unknown) => (isJson(flow) && Array.isArray(flow["stages"]) ? flow["stages"] : undefined))
    .filter((stages): stages is string[] => stages !== undefined && stages.every((s) => PASSABLE.has(s)))
    .toSorted((a, b) => a.length - b.length)[0];
}

function registrationProblem(answer: Answer): CoreError {
  const problem = problemOf(errorAnswer(answer));
  const isClosed = problem.kind === "forbidden" || answer.status === 404;
  return new CoreError(isClosed ? { kind: "registrationClosed" } : problem);
}

function requireStages(answer: Answer): readonly string[] {
  if (answer.status !== 401) throw registrationProblem(answer);
  const stages = passableStages(answer.body);
  if (stages === undefined) throw new CoreError({ kind: "unsupportedStages" });
  return stages;
}

/** Asks the server what it wants for a new account. Throws `registrationClosed` or `unsupportedStages`. */
export async function registrationTerms(): Promise<RegistrationTerms> {
  const stages = requireStages(await request("POST", `${CLIENT_API}/register`, {}));
  return { needsToken: stages.includes("m.login.registration_token") };
}

/** Creates an account and signs it in, stage by stage. spec: client-server v1.19 §5.4 user-interactive API */
export async function signUp(account: NewAccount): Promise<Credentials> {
  const form = {
    username: account.username,
    password: account.password,
    initial_device_display_name: DEVICE_NAME,
  };
  let answer = await request("POST", `${CLIENT_API}/register`, form);
  if (answer.status === 200) return credentials(answer);
  const session = text(answer.body, "session");
  for (const type of requireStages(answer)) {
    const auth =
      type === "m.login.registration_token" ? { type, session, token: account.token } : { type, session };
    // Each stage depends on the answer to the one before.
    // oxlint-disable-next-line no-await-in-loop
    answer = await request("POST", `${CLIENT_API}/register`, { ...form, auth });
    if (answer.status === 200) return credentials(answer);
    if (answer.status !== 401) throw registrationProblem(answer);
    if (text(answer.body, "errcode") !== undefined) throw new CoreError({ kind: "tokenRejected" });
  }
  throw registrationProblem(answer);
}

/** The name of this homeserver, as other servers know it, where it tells on the address of the page. */
export async function serverName(): Promise<string | undefined> {
  const answer = await request("GET", "/_matrix/key/v2/server").catch(() => undefined);
  return answer && text(answer.body, "server_name");
}
