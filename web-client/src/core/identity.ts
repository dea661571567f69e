/** The cross-signing identity of the account: made once, on the first device. */
import { MatrixError, type MatrixClient, type UIAuthCallback } from "matrix-js-sdk";
import { Source } from "./snapshot";
import type { IdentityState } from "./types";

/** Thrown where the server wants the password and nobody gave it yet. */
class PasswordNeeded extends Error {}

export class Identity {
  readonly state = new Source<IdentityState>("checking");
  readonly #client: MatrixClient;
  /** Known only right after signing in or up; never kept. */
  #password: string | undefined;

  constructor(client: MatrixClient, password: string | undefined) {
    this.#client = client;
    this.#password = password;
  }

  /** Makes the identity unless the account has one. A second device must never replace it. */
  async ensure(): Promise<void> {
    const crypto = this.#client.getCrypto();
    if (crypto === undefined) return;
    try {
      if (await crypto.isCrossSigningReady()) {
        this.state.set("ready");
      } else if (await crypto.userHasCrossSigningKeys(this.#client.getSafeUserId(), true)) {
        this.state.set("elsewhere");
      } else {
        await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: this.#authorise });
        this.state.set("ready");
      }
    } catch (error) {
      this.state.set(error instanceof PasswordNeeded ? "needsPassword" : "failed");
    } finally {
      this.#password = undefined;
    }
  }

  async confirmPassword(password: string): Promise<void> {
    this.#password = password;
    await this.ensure();
  }

  // spec: client-server v1.19 §5.4: first without authentication, then with what the answer asks for.
  readonly #authorise: UIAuthCallback<void> = async (makeRequest) => {
    try {
      await makeRequest(null);
    } catch (error) {
      if (!(error instanceof MatrixError) || error.httpStatus !== 401) throw error;
      if (this.#password === undefined) throw new PasswordNeeded();
      try {
        await makeRequest({
          type: "m.login.password",
          identifier: { type: "m.id.user", user: this.#client.getSafeUserId() },
          password: this.#password,
          session: error.data["session"],
        });
      } catch (refused) {
        if (refused instanceof MatrixError && [401, 403].includes(refused.httpStatus ?? 0)) {
          throw new PasswordNeeded();
        }
        throw refused;
      }
    }
  };
}
