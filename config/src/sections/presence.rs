use crate::section::section;

section! {
    /// Who is online.
    pub struct Presence = "presence";

    /// Whether presence is shown and shared.
    enabled: bool = default("true");
}
