use crate::section::section;

section! {
    /// How long clients stay signed in that can refresh their access token. The token of a client that
    /// cannot is good until it logs out.
    pub struct Session = "session";

    /// Minutes after which an access token has to be refreshed; 0 for never.
    access_token_minutes: u32 = default("60");

    /// Days after which a client that was not seen has to sign in again; 0 for never.
    refresh_token_days: u32 = default("0");
}
