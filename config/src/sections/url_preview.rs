use crate::section::section;

section! {
    /// Previews of links in messages.
    pub struct UrlPreview = "url_preview";

    /// Whether the server fetches previews for its people.
    enabled: bool = default("true") reserved;
}
