use crate::section::section;

section! {
    /// Pictures and files.
    pub struct Media = "media";

    /// Whether media may be read without an access token, over the deprecated `/_matrix/media/v3`.
    unauthenticated_endpoints: bool = default("false") reserved;
}
