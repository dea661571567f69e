import type { MessageBody } from "../../core/types";
import { t } from "../../i18n";

/** A message in plain words, for names and announcements. */
export function bodyText(body: MessageBody): string {
  switch (body.kind) {
    case "text":
      return body.text;
    case "unsupported":
      return t.timeline.unsupported(body.description);
    case "undecryptable":
      return t.timeline.undecryptable(body.reason);
    case "decrypting":
      return t.timeline.decrypting;
    case "deleted":
      return t.timeline.deleted;
  }
}
